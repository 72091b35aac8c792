"""What ComfyUI is told about the guest: by the guard, not by the guest; forwarded headers only from configured networks.

Pitfalls P5 (trusted too widely), P6 (underscore aliases, identity headers), P7 (Connection: strips a header of ours).
"""

import pytest

from harness.guard import Guard

FORGED = {
    "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http", "X-Forwarded-Port": "1",
    "X-Real-IP": "203.0.113.9", "Forwarded": "for=203.0.113.9;host=evil.example", "X-Forwarded-Prefix": "/evil", "X-Forwarded-Server": "evil",
    "X-Original-URL": "/evil", "X-Forwarded-User": "admin", "Remote-User": "admin", "X-Remote-User": "admin", "X-Auth-Request-User": "admin",
    "comfy-user": "admin",
}
UNDERSCORED = {"X_Forwarded_For": "203.0.113.9", "X_API_Key": "x", "comfy_user": "admin", "Content_Length": "7", "Remote_User": "admin"}


def seen_by_comfyui(guard, headers, h2=False, **more):
    mark = guard.upstream.mark()
    answer = guard.get("/_standin/env", headers={**headers, **guard.bearer}, h2=h2, **more)
    assert answer.status == 200
    (seen,) = guard.upstream.since(mark)
    return seen


@pytest.fixture(scope="module")
def trusting():
    with Guard(config={"proxy": {"trusted": ["127.0.0.0/8"]}}) as running:
        yield running


def test_forged_headers_of_a_guest_are_dropped_or_rewritten(guard, h2):
    seen = seen_by_comfyui(guard, FORGED, h2)
    for name, value in seen.headers:
        assert value not in ("203.0.113.9", "admin") and "evil" not in value, (name, value)
    assert seen.all("x-forwarded-for") in ([], ["127.0.0.1"])
    assert seen.all("x-forwarded-proto") in ([], ["https"])
    assert seen.all("comfy-user") == []


def test_names_with_an_underscore_are_dropped(guard, h2):
    """A WSGI-like application would read X_Forwarded_For as X-Forwarded-For."""
    assert not [name for name, _ in seen_by_comfyui(guard, UNDERSCORED, h2).headers if "_" in name]


def test_trusted_network_is_believed_and_the_chain_grows(trusting, h2):
    seen = seen_by_comfyui(trusting, {"X-Forwarded-For": "198.51.100.7"}, h2)
    assert seen.get("x-forwarded-for").replace(" ", "").split(",")[0] == "198.51.100.7"
    assert seen.all("comfy-user") == []


def test_guest_behind_a_trusted_proxy_cannot_lengthen_the_chain_to_the_left(trusting):
    """The right-most address that is not trusted is the guest; what stands left of it is the guest's own word."""
    trusting.get("/queue", headers={"X-Forwarded-For": "6.6.6.6, 198.51.100.7, 127.0.0.9"})
    seen = seen_by_comfyui(trusting, {"X-Forwarded-For": "6.6.6.6, 198.51.100.7, 127.0.0.9"})
    assert "6.6.6.6" not in (seen.get("x-forwarded-for") or "")


def test_hop_by_hop_headers_end_here(guard):
    """P7: `Connection` may name only what the guest itself sent; what we add comes after."""
    sent = {"Connection": "close, X-Forwarded-For, X-Forwarded-Proto, Host, X-Mine, Cookie", "X-Mine": "1", "Keep-Alive": "timeout=9",
            "Proxy-Authorization": "Basic eDp5", "Proxy-Connection": "keep-alive", "TE": "trailers", "Upgrade": "h2c", "X-Stays": "1"}
    seen = seen_by_comfyui(guard, sent)
    for name in ("x-mine", "keep-alive", "proxy-authorization", "proxy-connection", "te", "upgrade"):
        assert seen.all(name) == [], name
    assert seen.get("x-stays") == "1"
    plain = seen_by_comfyui(guard, {})
    assert seen.all("x-forwarded-for") == plain.all("x-forwarded-for")
    assert seen.all("x-forwarded-proto") == plain.all("x-forwarded-proto")
    assert seen.all("host") == plain.all("host") and len(seen.all("host")) == 1


def test_connection_cannot_strip_the_credential_check(guard):
    assert guard.get("/queue", headers={"Connection": "close, Authorization", **guard.bearer}).status in (200, 401)
    assert guard.get("/queue", headers={"Connection": "close, Authorization", "Authorization": "Bearer x", "X-API-Key": guard.key}).status == 401


def test_comfyui_hears_a_canonical_host_and_no_origin(guard, h2):
    """P23: so that its own guard stays on and never refuses a guest that was let in."""
    sent = {"Origin": guard.url, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Referer": guard.url + "/?api_key=" + guard.key}
    seen = seen_by_comfyui(guard, sent, h2)
    assert seen.all("host") == [f"127.0.0.1:{guard.upstream.port}"]
    assert seen.all("origin") == [] and not [name for name, _ in seen.headers if name.lower().startswith("sec-fetch")]
    assert guard.key not in (seen.get("referer") or "")


def test_answers_tell_no_versions(guard, h2):
    """COMFYUI.md: `Server: Python/3.11 aiohttp/3.x` is for nobody."""
    for target in ("/queue", "/health", "/no/such"):
        server = guard.get(target, key=True, h2=h2).headers.get("server", "")
        assert "aiohttp" not in server and "Python" not in server


def test_private_answers_are_private(guard, h2):
    """ComfyUI marks by ending: /api/userdata/pic.png would be public for a day in every cache on the way."""
    guard.request("POST", "/api/userdata/pic.png?overwrite=true", content=b"png", key=True)
    control = guard.get("/api/userdata/pic.png", key=True, h2=h2).headers["cache-control"]
    assert "private" in control and "public" not in control and "max-age=86400" in control
    missing = guard.get("/api/userdata/none.png", key=True, h2=h2)
    assert missing.status == 404 and "public" not in missing.headers.get("cache-control", "")
    assert "public" not in guard.get("/queue", key=True, h2=h2).headers.get("cache-control", "")

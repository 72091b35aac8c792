"""Other sites' pages: CORS is answered by the guard for allow-listed origins only, its 401s included, and ComfyUI's guard stays on.

Pitfalls P23 and P9 (the part of it that needs no cookie: a header or a query key needs no Origin).
"""

import urllib.error
import urllib.request

import pytest

from harness.guard import Guard

LISTED, FOREIGN = "https://app.example", "https://evil.example"


@pytest.fixture(scope="module")
def listing():
    with Guard(config={"auth": {"allowed_origins": [LISTED]}}) as running:
        yield running


def preflight(guard, origin, target="/prompt", h2=False):
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type,x-api-key"}
    return guard.request("OPTIONS", target, headers=headers, h2=h2)


def test_listed_origin_may_ask_and_read(listing, h2):
    mark = listing.upstream.mark()
    answer = preflight(listing, LISTED, h2=h2)
    assert answer.status in (200, 204)
    assert answer.headers["access-control-allow-origin"] == LISTED
    assert "POST" in answer.headers["access-control-allow-methods"]
    allowed = answer.headers["access-control-allow-headers"].lower()
    assert all(name in allowed for name in ("authorization", "content-type", "x-api-key"))
    assert "origin" in answer.headers["vary"].lower()
    assert listing.upstream.since(mark) == []
    got = listing.get("/queue", headers={"Origin": LISTED}, key=True, h2=h2)
    assert got.status == 200 and got.headers["access-control-allow-origin"] == LISTED


def test_refusals_are_readable_for_a_listed_origin(listing, h2):
    answer = listing.get("/queue", headers={"Origin": LISTED}, h2=h2)
    assert answer.status == 401 and answer.headers["access-control-allow-origin"] == LISTED


@pytest.mark.parametrize("origin", [FOREIGN, "null", "", "https://app.example.evil.example", "http://app.example", "https://app.example:444",
                                    "https://evil.example/https://app.example", "HTTPS://APP.EXAMPLE.", "https://app.example/"])
def test_no_other_origin_is_told_it_may(listing, origin):
    for answer in (preflight(listing, origin), listing.get("/queue", headers={"Origin": origin}), listing.get("/health", headers={"Origin": origin}),
                   listing.get("/queue", headers={"Origin": origin}, key=True)):
        assert "access-control-allow-origin" not in answer.headers, (origin, answer.status)
        assert "access-control-allow-credentials" not in answer.headers


def test_nothing_is_listed_by_default(guard):
    for answer in (preflight(guard, LISTED), guard.get("/queue", headers={"Origin": LISTED})):
        assert "access-control-allow-origin" not in answer.headers


def test_options_without_a_key_reaches_no_handler(guard):
    mark = guard.upstream.mark()
    for target in ("/prompt", "/queue", "/api/userdata/x.json", "/"):
        preflight(guard, FOREIGN, target)
        guard.request("OPTIONS", target)
    assert [seen for seen in guard.upstream.since(mark) if seen.handler] == []


@pytest.mark.parametrize("origin", [FOREIGN, "null", "http://127.0.0.1:8188", "https://localhost"])
def test_program_with_a_key_is_served_whatever_its_origin(guard, h2, origin):
    """A key in a header cannot be sent by a foreign page without CORS; ComfyUI's own guard would answer 403 here."""
    headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site", "Content-Type": "application/json"}
    assert guard.request("POST", "/queue", headers=headers, content=b'{"clear": true}', key=True, h2=h2).status == 200


def test_comfyuis_own_guard_is_on(guard):
    """Past the proxy the stand-in refuses a foreign origin, as ComfyUI does: it was not turned off to make this work."""
    call = urllib.request.Request(guard.upstream.url + "/queue", data=b"{}", headers={"Origin": FOREIGN})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(call, timeout=10)
    assert "--enable-cors-header" not in open(f"/proc/{guard.pids()['comfyui']}/cmdline").read()

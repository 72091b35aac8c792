"""Who is led to the login page, who is told 401, and where one lands after signing in: by kind of caller, through the real gateway.

Pitfalls P8 (open redirect by `next`) and P17 (a login page for programs and WebSockets); the guide's `GET /?api_key=`.
"""

import json
import re
from urllib.parse import quote, unquote

import pytest

from harness.guard import Guard

CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"
SAFARI = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
NAVIGATION = {"Accept": CHROMIUM, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "none"}
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}

# (what, method, headers, how a protected place answers). "led": to the login page; "told": 401 in JSON.
CALLERS = [
    ("a browser's address bar", "GET", NAVIGATION, "led"),
    ("a link on another site", "GET", {**NAVIGATION, "Sec-Fetch-Site": "cross-site", "Referer": "https://evil.example/"}, "led"),
    ("an older browser", "GET", {"Accept": SAFARI}, "led"),
    ("curl", "GET", {"Accept": "*/*"}, "told"),
    ("a client without Accept", "GET", {}, "told"),
    ("a JSON client", "GET", {"Accept": "application/json"}, "told"),
    ("fetch from a page", "GET", {"Accept": "*/*", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, "told"),
    ("fetch that would take HTML", "GET", {"Accept": CHROMIUM, "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, "told"),
    ("XMLHttpRequest of old", "GET", {"Accept": SAFARI, "X-Requested-With": "XMLHttpRequest"}, "told"),
    ("an <img>", "GET", {"Accept": "image/avif,image/webp,*/*;q=0.8", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, "told"),
    ("an <iframe>", "GET", {**NAVIGATION, "Sec-Fetch-Dest": "iframe"}, "told"),
    ("a form that posts", "POST", {**NAVIGATION, "Content-Type": "application/x-www-form-urlencoded", "Content-Length": "0"}, "told"),
    ("a DELETE that takes HTML", "DELETE", NAVIGATION, "told"),
    ("HTML refused by its weight", "GET", {"Accept": "text/html;q=0, application/json"}, "told"),
]


@pytest.mark.parametrize("path", ["/queue", "/api/queue", "/view?filename=a.png&type=output", "/history/x.json", "/api/userdata/workflows%2Fx.json"])
@pytest.mark.parametrize("what, method, headers, answer", CALLERS, ids=[row[0] for row in CALLERS])
def test_protected_place_by_kind_of_caller(guard, h2, path, what, method, headers, answer):
    mark = guard.upstream.mark()
    got = guard.request(method, path, headers=headers, h2=h2)
    if answer == "led":
        page, _, next_ = got.headers["location"].partition("?next=")
        assert (got.status, page, unquote(next_)) == (303, "/auth_login.html", path)
        assert "no-store" in got.headers["cache-control"]
    else:
        assert got.status == 401 and got.kind == "application/json" and "location" not in got.headers
        assert got.json()["error"] == "unauthorized" and got.json()["message"]
        assert got.headers["www-authenticate"].startswith("Bearer")
    assert guard.upstream.since(mark) == []


@pytest.mark.parametrize("headers", [NAVIGATION, {"Accept": SAFARI}], ids=["Sec-Fetch", "older"])
def test_root_is_the_login_page_for_a_browser(guard, h2, headers):
    got = guard.get("/", headers=headers, h2=h2)
    assert got.status == 200 and got.kind == "text/html" and b'action="/auth_session"' in got.body
    assert "no-store" in got.headers["cache-control"]
    assert "script-src 'sha256-" in got.headers["content-security-policy"] and "frame-ancestors 'self'" in got.headers["content-security-policy"]


def test_root_is_401_for_a_program(guard, h2):
    got = guard.get("/", headers={"Accept": "application/json"}, h2=h2)
    assert got.status == 401 and got.kind == "application/json"


@pytest.mark.parametrize("target", ["/prompt", "/api/queue"])
def test_websocket_upgrade_is_never_led_to_a_page(guard, target):
    got = guard.request("GET", target, headers={**UPGRADE, "Accept": CHROMIUM})
    assert got.status in (400, 401) and "location" not in got.headers


# `next`, and where the browser goes after signing in.
PLAIN = ["/", "/queue", "/queue?a=1&b=2", "/view?filename=a%20b.png", "/api/userdata?dir=workflows", "/?workflow=x"]
HOSTILE = [
    "https://evil.example", "//evil.example", "///evil.example", "/\\evil.example", "\\/evil.example", "\\\\evil.example", "/\t/evil.example", "\t//evil.example",
    " //evil.example", "/%09/evil.example", "/%2Fevil.example", "/%252Fevil.example", "/%5Cevil.example", "/%255Cevil.example", "/\r\nLocation: https://evil.example",
    "/%0d%0aSet-Cookie:a=b", "javascript:alert(1)", "data:text/html,x", "http:evil.example", "https:/evil.example", "/./..//evil.example", "/a/..//evil.example",
    "/..//evil.example", "/.//evil.example", "/;//evil.example/..", "@evil.example", "/auth_session", "/auth_login.html?next=//evil.example", "evil.example",
    "?next=/", "", "/\u2215evil.example", "/\u3000evil", "/queue\x00", "/" + "a" * 5000,
]
TO_SITE = re.compile(r"/(?![/\\])[!-~]*")


@pytest.fixture(scope="module")
def own_guard():
    with Guard() as running:
        yield running


def sign_in(guard, next_, form: bool):
    if form:
        body = f"key={guard.key}&next={quote(next_, safe='', errors='surrogatepass')}".encode()
        kind = "application/x-www-form-urlencoded"
    else:
        body, kind = json.dumps({"key": guard.key, "remember": False, "next": next_}).encode(), "application/json"
    return guard.request("POST", "/auth_session", headers={"Content-Type": kind, "Origin": guard.url}, content=body)


def landing(guard, next_, form) -> str:
    got = sign_in(guard, next_, form)
    assert got.status == (303 if form else 200), got.body
    return got.headers["location"] if form else got.json()["next"]


@pytest.mark.parametrize("form", [True, False], ids=["form", "JSON"])
@pytest.mark.parametrize("next_", PLAIN)
def test_plain_next_is_where_one_lands(own_guard, next_, form):
    assert landing(own_guard, next_, form) == next_


@pytest.mark.parametrize("form", [True, False], ids=["form", "JSON"])
@pytest.mark.parametrize("next_", HOSTILE, ids=[ascii(one)[:40] for one in HOSTILE])
def test_hostile_next_lands_on_this_site(own_guard, next_, form):
    where = landing(own_guard, next_, form)
    assert TO_SITE.fullmatch(where) and "evil" not in where.partition("?")[0], where
    assert where == "/", where


@pytest.mark.parametrize("next_", HOSTILE, ids=[ascii(one)[:40] for one in HOSTILE])
def test_login_page_holds_no_hostile_next(own_guard, next_):
    got = own_guard.get("/auth_login.html?next=" + quote(next_, safe=""), headers=NAVIGATION)
    (held,) = re.findall(rb'name="next" value="([^"]*)"', got.body) if got.status == 200 else [b"/"]
    assert held == b"/" and got.status in (200, 414)


def test_next_keeps_no_credential(own_guard):
    for form in (True, False):
        assert landing(own_guard, f"/queue?api_key={own_guard.key}&a=1&token=x", form) == "/queue?a=1"


def test_key_in_the_address_of_a_browser_opens_a_session_and_leaves_the_address(own_guard, h2):
    got = own_guard.get(f"/?api_key={own_guard.key}&workflow=x", headers=NAVIGATION, h2=h2)
    assert got.status == 303 and got.headers["location"] == "/?workflow=x"
    assert own_guard.key not in str(got.headers)
    cookie = got.headers["set-cookie"]
    assert cookie.startswith("__Host-comfyui_session=") and "max-age" not in cookie.lower()
    assert all(part in cookie for part in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"))
    assert own_guard.get("/queue", headers={"Cookie": cookie.partition(";")[0]}, h2=h2).status == 200


@pytest.mark.parametrize("name", ["api_key", "token"])
def test_wrong_key_in_the_address_opens_nothing(own_guard, name):
    got = own_guard.get(f"/?{name}={'0' * 64}", headers=NAVIGATION)
    assert "set-cookie" not in got.headers and got.status in (200, 303, 401)
    assert "0" * 64 not in got.headers.get("location", "") and b"0" * 64 not in got.body


def test_program_with_a_key_in_the_address_is_served_without_a_session(own_guard, h2):
    got = own_guard.get(f"/queue?api_key={own_guard.key}", headers={"Accept": "application/json"}, h2=h2)
    assert got.status == 200 and "set-cookie" not in got.headers


# Login itself: a page of another site must not sign its visitor in to a session of its making.
@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}])
def test_login_from_another_site_is_refused(own_guard, h2, headers):
    body = f"key={own_guard.key}".encode()
    got = own_guard.request("POST", "/auth_session", headers={"Content-Type": "application/x-www-form-urlencoded", **headers}, content=body, h2=h2)
    assert "set-cookie" not in got.headers
    assert (got.status, got.headers.get("location", "")) == (303, "/auth_login.html?error=cross_site") or got.status == 403

"""Sessions as a program sees them: the cookie, its token, the list and the ends on the command line, and what survives a kill.

Pitfalls P9 (cookie-borne upgrades), P12 (replay after the end) and P13 (cookies compared carelessly).
"""

import hashlib
import json
import stat

import pytest

from harness.guard import Guard, strong_key
from harness.wait import Stopwatch, until

NAME = "__Host-comfyui_session"
FOREIGN = "https://evil.example"


@pytest.fixture(scope="module")
def guard():
    with Guard() as running:
        yield running


class Session:
    def __init__(self, guard, remember=False, h2=False):
        body = json.dumps({"key": guard.key, "remember": remember, "next": "/"}).encode()
        headers = {"Content-Type": "application/json", "Origin": guard.url}
        answer = guard.request("POST", "/auth_session", headers=headers, content=body, h2=h2)
        assert answer.status == 200, answer.body
        self.told, self.set_cookie = answer.json(), answer.headers["set-cookie"]
        self.cookie = {"Cookie": self.set_cookie.partition(";")[0]}
        self.id = self.cookie["Cookie"].removeprefix(f"{NAME}=")
        self.guard = guard

    @property
    def token(self) -> dict[str, str]:
        return {**self.cookie, "Authorization": f"Bearer {self.told['token']}"}

    def status(self) -> int:
        return self.guard.get("/queue", headers=self.cookie).status

    def upgrade(self, target: str, origin: str | None):
        """The connection after the head of an upgrade that rests on the cookie alone.

        Not by the client of `websockets`: it reads and writes one TLS object in two threads at once, and loses a request now and then.
        """
        named = f"Origin: {origin}\r\n" if origin else ""
        asked = (f"GET {target} HTTP/1.1\r\nHost: {self.guard.host}:{self.guard.port}\r\n{named}Cookie: {self.cookie['Cookie']}\r\nConnection: Upgrade\r\n"
                 "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        return self.guard.raw().send(asked)

    def socket(self):
        """ComfyUI's own socket, as its page opens it; its first message holds a client id."""
        opened, got = self.upgrade("/ws", self.guard.url), b""
        while b'"sid"' not in got:
            part = opened.socket.recv(65536)
            assert part, got
            got += part
        assert got.startswith(b"HTTP/1.1 101 ")
        return opened


def ends_within_a_second(opened, watch) -> None:
    with opened:
        opened.rest()
    assert watch() < 1.0


def listed(guard) -> list[dict]:
    done = guard.run_command("sessions", "list", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_cookie_and_answer_are_as_promised(guard, h2):
    for remember in (False, True):
        one = Session(guard, remember, h2)
        assert len(one.id) == 64 and one.set_cookie.startswith(f"{NAME}=") and "domain" not in one.set_cookie.lower()
        assert all(part in one.set_cookie for part in ("Path=/", "Secure", "HttpOnly", "SameSite=Lax"))
        assert ("Max-Age=2592000" in one.set_cookie) == remember and ("Max-Age" in one.set_cookie) == remember
        assert one.told["remember"] is remember and one.told["token"] not in (one.id, guard.key)
        who = guard.get("/auth_session", headers=one.cookie, h2=h2)
        assert who.status == 200 and {**who.json(), "signed_in": True} == who.json() and who.json()["token"] == one.told["token"]
        assert "no-store" in who.headers["cache-control"]


@pytest.mark.parametrize("proof", [{"token": True}, {"Origin": "SELF"}, {"Sec-Fetch-Site": "same-origin"}], ids=str)
def test_change_with_proof_of_our_own_page_is_done(guard, h2, proof):
    one = Session(guard)
    headers = {**(one.token if "token" in proof else one.cookie), **{name: value.replace("SELF", guard.url) for name, value in proof.items() if name != "token"}}
    got = guard.request("POST", "/queue", headers={**headers, "Content-Type": "application/json"}, content=b'{"clear": true}', h2=h2)
    assert got.status == 200


@pytest.mark.parametrize("claim", [{}, {"Origin": FOREIGN}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
                                   {"Origin": "SELF.evil.example"}, {"Origin": "http://127.0.0.1"}, {"Origin": "http://localhost", "Host": "localhost"},
                                   {"Origin": "https://localhost:444", "Host": "localhost"}, {"Origin": "https://localhost", "Host": "127.0.0.1"},
                                   {"Sec-Fetch-Site": "none"}, {"Referer": "SELF/"}], ids=str)
@pytest.mark.parametrize("method, path", [("POST", "/queue"), ("POST", "/prompt"), ("DELETE", "/userdata/x"), ("PUT", "/queue")])
def test_change_that_rests_on_the_cookie_alone_is_refused(guard, method, path, claim):
    one, mark = Session(guard), guard.upstream.mark()
    headers = {**one.cookie, **{name: value.replace("SELF", guard.url) for name, value in claim.items()}}
    assert guard.request(method, path, headers=headers, content=b"{}").status == 403
    assert guard.upstream.since(mark) == [] and one.status() == 200


@pytest.mark.parametrize("origin", [FOREIGN, "null", None, "https://127.0.0.1"])
def test_upgrade_that_rests_on_the_cookie_needs_our_own_origin(guard, origin):
    one, mark = Session(guard), guard.upstream.mark()
    for target in ("/ws", "/ws?clientId=x", "/_standin/push?count=1"):
        with one.upgrade(target, origin) as connection:
            assert connection.answer().status == 403
    assert guard.upstream.since(mark) == []


def cookies_with(one: Session) -> list[tuple[str, str]]:
    other = "0" * 64
    return [
        ("a prefix of it", f"{NAME}={one.id[:-1]}"), ("a suffix", f"{NAME}={one.id[1:]}"), ("it and more", f"{NAME}={one.id}0"), ("empty", f"{NAME}="),
        ("upper case", f"{NAME}={one.id.upper()}"), ("another name", f"comfyui_session={one.id}"), ("a longer name", f"x{NAME}={one.id}"),
        ("two that disagree", f"{NAME}={one.id}; {NAME}={other}"), ("two, the other first", f"{NAME}={other}; {NAME}={one.id}"),
        ("inside another's value", f"a={NAME}={one.id}"), ("the token", f"{NAME}={one.told['token']}"), ("the key", f"{NAME}={one.guard.key}"),
    ]


def test_only_the_exact_cookie_is_the_session(guard, h2):
    one = Session(guard)
    for what, cookie in cookies_with(one):
        assert guard.get("/queue", headers={"Cookie": cookie}, h2=h2).status == 401, what
    assert guard.get("/queue", headers={"Cookie": f"a=b; {NAME}={one.id}; c=d"}, h2=h2).status == 200


def test_token_alone_opens_nothing_and_none_replaces_another(guard):
    one, two = Session(guard), Session(guard)
    assert guard.get("/queue", headers={"Authorization": f"Bearer {one.told['token']}"}).status == 401
    assert guard.get("/queue", headers={**two.cookie, "Authorization": f"Bearer {one.told['token']}"}).status == 401


def test_logout_ends_stream_socket_and_cookie_at_once(fresh):
    guard = fresh()
    one, stays = Session(guard, True), Session(guard, True)
    opened, other = one.socket(), stays.socket()
    watch = Stopwatch()
    assert guard.request("DELETE", "/auth_session", headers=one.token).status == 204
    ends_within_a_second(opened, watch)
    assert one.status() == 401 and stays.status() == 200
    other.socket.settimeout(1.0)
    with pytest.raises(TimeoutError):
        other.rest()
    guard.stop()
    guard.start()
    assert one.status() == 401 and stays.status() == 200


def test_command_line_lists_and_ends_sessions(fresh):
    guard = fresh()
    assert listed(guard) == []
    several = [Session(guard, remember) for remember in (True, False, True)]
    shown = listed(guard)
    assert sorted(one["remember"] for one in shown) == [False, True, True] and {one["address"] for one in shown} == {"127.0.0.1"}
    table = guard.run_command("sessions", "list").stdout.decode()
    assert all(one["id"] in table for one in shown)
    opened, (first, *rest) = several[0].socket(), several
    name = next(one["id"] for one in shown if one["id"] == digest(first.id))
    watch = Stopwatch()
    done = guard.run_command("sessions", "end", name)
    assert done.returncode == 0, done.stderr
    ends_within_a_second(opened, watch)
    assert first.status() == 401 and [one.status() for one in rest] == [200, 200]
    assert guard.run_command("sessions", "end", "0" * 12).returncode != 0
    others = [one.socket() for one in rest]
    watch = Stopwatch()
    assert guard.run_command("sessions", "end-all").returncode == 0
    for one in others:
        ends_within_a_second(one, watch)
    assert [one.status() for one in several] == [401] * 3 and listed(guard) == []


def digest(session_id: str) -> str:
    return hashlib.sha256(bytes.fromhex(session_id)).hexdigest()[:12]


def test_disk_holds_digests_only(fresh):
    guard = fresh()
    one = Session(guard, True)
    file = guard.dir / "state/sessions.json"
    text = file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert digest(one.id) in text
    for secret in (one.id, one.told["token"], guard.key):
        assert secret not in text and secret not in guard.log()


@pytest.mark.parametrize("role", ["gateway", "supervisor"])
def test_kill_in_between_loses_no_session(fresh, role):
    guard = fresh()
    kept = [Session(guard, True), Session(guard, False)]
    guard.kill(role)
    assert [one.status() for one in kept] == [200, 200]


def test_new_key_ends_all_sessions_and_their_sockets(fresh):
    guard = fresh()
    one = Session(guard, True)
    opened = one.socket()
    guard.set_key(strong_key())
    guard.reload()
    ends_within_a_second(opened, Stopwatch())
    assert one.status() == 401
    guard.stop()
    guard.start()
    assert one.status() == 401

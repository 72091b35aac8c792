"""The status page's endpoints: for whom they are open, what they say, and that only who may restarts ComfyUI or signs everybody out.

Pitfalls P9 (a foreign page uses the session), P11 (nobody is let in without a key), P17 (programs are told 401, browsers are led).
"""

import os
import re
import signal

import pytest

from harness.guard import Guard
from harness.wait import until

READ = ["/guard", "/guard/", "/guard/status.json", "/guard/history.json"]
ACT = ["/guard/restart", "/guard/sign_out_everywhere"]
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "none"}
FOREIGN = "https://evil.example"


class Session:
    """A browser's session: its cookie, and the token that only a page of the guard's own can read."""

    def __init__(self, guard):
        answer = guard.request("POST", "/auth_session", content=b'{"key": "%s"}' % guard.key.encode(), headers={"Content-Type": "application/json"})
        assert answer.status == 200, answer.body
        self.cookie = {"Cookie": answer.headers["set-cookie"].partition(";")[0]}
        self.token = {"Authorization": f"Bearer {answer.json()['token']}"}
        self.origin = {"Origin": guard.url}
        self.page = {**self.cookie, **self.token, **self.origin}


def post(guard, path: str, headers=None, **more):
    return guard.request("POST", path, headers=headers, **more)


@pytest.fixture(scope="module")
def quiet():
    """Shared by tests that change nothing."""
    with Guard() as running:
        yield running


# --- who is let in --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", READ)
def test_without_a_credential_programs_are_refused_and_browsers_led_to_the_login(quiet, h2, path):
    refused = quiet.get(path, h2=h2)
    assert refused.status == 401 and refused.json()["error"] == "unauthorized" and refused.kind == "application/json"
    led = quiet.get(path, headers=BROWSER, h2=h2)
    assert led.status == 303 and led.headers["location"] == "/auth_login.html?next=" + path.replace("/", "%2F").replace(".", "%2E")
    assert quiet.get(path, headers={"Authorization": "Bearer " + "0" * 64}, h2=h2).status == 401
    assert quiet.get(path, headers={"Cookie": "__Host-comfyui_session=" + "0" * 64}, h2=h2).status == 401


@pytest.mark.parametrize("path", ACT)
def test_without_a_credential_nobody_acts(quiet, path):
    pid = quiet.pids()["comfyui"]
    for headers in [{}, BROWSER, {"Origin": quiet.url}, {"Authorization": "Bearer " + "0" * 64}]:
        answer = post(quiet, path, headers)
        assert answer.status == 401 and answer.kind == "application/json"
    assert quiet.pids()["comfyui"] == pid


@pytest.mark.parametrize("by", ["key", "session", "query"])
def test_key_and_session_open_it(quiet, h2, by):
    headers = {"key": quiet.bearer, "session": Session(quiet).cookie, "query": {}}[by]
    query = f"?api_key={quiet.key}" if by == "query" else ""
    moved = quiet.get("/guard" + query, headers=headers, h2=h2)
    assert moved.status == 308 and moved.headers["location"] == "/guard/"
    page = quiet.get("/guard/" + query, headers=headers, h2=h2)
    assert page.status == 200 and page.kind == "text/html" and quiet.key not in page.body.decode()
    status = quiet.get("/guard/status.json" + query, headers=headers, h2=h2)
    assert status.status == 200 and status.json()["state"] == "ok" and status.json()["healthy"] is True
    history = quiet.get("/guard/history.json" + query, headers=headers, h2=h2)
    assert history.status == 200 and set(history.json()) == {"since", "hour", "minute"}


def test_link_with_the_key_opens_a_session_and_leaves_the_address(quiet):
    answer = quiet.get(f"/guard/?api_key={quiet.key}", headers=BROWSER)
    assert answer.status == 303 and answer.headers["location"] == "/guard/" and "__Host-comfyui_session=" in answer.headers["set-cookie"]


def test_nothing_of_it_reaches_comfyui(quiet):
    mark = quiet.upstream.mark()
    for path in READ:
        quiet.get(path, key=True)
    assert [one.target for one in quiet.upstream.since(mark) if "/guard" in one.target] == []


def test_what_only_looks_like_it_is_a_place_of_comfyuis(quiet):
    """Another spelling is no way around the method or the token: it needs a key, and then ComfyUI has nothing there."""
    for path in ("/guard%2Frestart", "//guard/restart", "/guard/./restart", "/guard/restart/", "/api/guard/restart", "/GUARD/restart", "/guard/page.js"):
        assert quiet.get(path).status == 401
        assert quiet.get(path, key=True).status == 404, path


def test_methods(quiet):
    for path in READ:
        assert quiet.request("HEAD", path, key=True).body == b""
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            answer = quiet.request(method, path, key=True)
            assert answer.status == 405 and answer.headers["allow"] == "GET, HEAD"
    pid = quiet.pids()["comfyui"]
    for path in ACT:
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            answer = quiet.request(method, path, key=True)
            assert answer.status == 405 and answer.headers["allow"] == "POST"
        for override in ("X-HTTP-Method-Override", "X-Method-Override"):
            assert quiet.get(path, key=True, headers={override: "POST"}).status == 405
        assert quiet.get(path + "?_method=POST", key=True).status == 405
    assert quiet.pids()["comfyui"] == pid


# --- what comes back ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", READ)
def test_nobody_keeps_it_and_no_other_type_is_seen_in_it(quiet, path):
    answer = quiet.get(path, key=True)
    assert answer.headers["cache-control"] == "no-store"
    assert path == "/guard" or answer.headers["x-content-type-options"] == "nosniff"
    assert "etag" not in answer.headers and "last-modified" not in answer.headers


def test_policy_of_the_page_allows_its_own_script_and_style_and_nothing_else(quiet):
    answer = quiet.get("/guard/", key=True)
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy.pop("default-src") == "'none'"
    assert policy.pop("connect-src") == policy.pop("form-action") == policy.pop("frame-ancestors") == "'self'"
    assert policy.pop("base-uri") == "'none'" and policy.pop("img-src") == "data:"
    assert re.fullmatch(r"'sha256-[^ ']+'", policy.pop("script-src")) and re.fullmatch(r"'sha256-[^ ']+' 'sha256-[^ ']+'", policy.pop("style-src"))
    assert policy == {}
    assert not re.search(r"(src|href|action)=\"https?:|//[a-z]+\.", answer.body.decode().replace("http://www.w3.org/2000/svg", ""))


@pytest.mark.parametrize(("language", "title"), [("en", "Status of ComfyUI"), ("zh-CN", "ComfyUI 状态"), ("ja", "ComfyUI の状態"), ("ko", "ComfyUI 상태")])
def test_page_speaks_the_readers_language(quiet, language, title):
    answer = quiet.get("/guard/", key=True, headers={"Accept-Language": language})
    assert f"<title>{title}</title>" in answer.body.decode() and f'<html lang="{language}">' in answer.body.decode()


def test_document_agrees_with_health(quiet):
    status, health = (quiet.get(path, key=True).json() for path in ("/guard/status.json", "/health"))
    assert (status["comfyui"]["pending"], status["comfyui"]["running"]) == (health["queue"]["pending"], health["queue"]["running"])
    assert status["comfyui"]["device"] == health["device"]["name"] and status["comfyui"]["process"] == "running"
    assert int(status["guard"]["certificate_ends"]) == health["detail"]["certificate_ends"]
    assert status["guard"]["authentication"] is True and quiet.key not in str(status)


def test_history_goes_on_by_itself_and_has_a_point_a_second(quiet):
    def grown():
        found = quiet.get("/guard/history.json", key=True).json()["minute"]
        return len(found) >= 4 and found
    minute = until(grown, 10, "four seconds of history")
    assert all(0.5 < later["at"] - earlier["at"] < 2.5 for earlier, later in zip(minute, minute[1:], strict=False))
    assert minute[-1]["queue"] == 0 and minute[-1]["gpus"] == []


# --- acting ---------------------------------------------------------------------------------------------------------


def test_session_without_its_token_or_from_elsewhere_acts_on_nothing(fresh):
    guard = fresh()
    session, pid = Session(guard), guard.pids()["comfyui"]
    other = Session(guard)
    refused = {
        "cookie alone": session.cookie,
        "cookie and our own origin": {**session.cookie, **session.origin},
        "cookie and fetch metadata": {**session.cookie, "Sec-Fetch-Site": "same-origin"},
        "a foreign origin, though the token is right": {**session.cookie, **session.token, "Origin": FOREIGN},
        "no origin that it would name": {**session.cookie, **session.token, "Origin": "null"},
        "a foreign origin": {**session.cookie, "Origin": FOREIGN},
        "two origins": None,
    }
    for path in ACT:
        for what, headers in refused.items():
            if headers is None:
                sent = [*session.page.items(), ("Origin", FOREIGN)]
                with guard.client() as client:
                    answer_status = client.post(path, headers=sent).status_code
            else:
                answer_status = post(guard, path, headers).status
            assert answer_status == 403, f"{path}: {what}"
        # Another session's token is taken for a key, and is none.
        assert post(guard, path, {**session.cookie, **session.origin, **other.token}).status == 401
        # In the address it is no proof.
        token = session.token["Authorization"].removeprefix("Bearer ")
        assert post(guard, f"{path}?api_key={token}", {**session.cookie, **session.origin}).status in (401, 403)
        form = {"Content-Type": "application/x-www-form-urlencoded", **session.cookie, **session.origin}
        assert post(guard, path, form, content=f"token={token}".encode()).status == 403
    assert guard.pids()["comfyui"] == pid and guard.get("/queue", headers=session.cookie).status == 200
    assert "a guest restarts" not in guard.log() and "ended all sessions" not in guard.log()


@pytest.mark.parametrize("by", ["key", "session"])
def test_restart_ends_comfyui_and_starts_it_again(fresh, by):
    guard = fresh(comfyui_arguments=["--start-delay", "1"])
    session, before = Session(guard), guard.pids()
    answer = post(guard, "/guard/restart", guard.bearer if by == "key" else session.page)
    assert answer.status == 202 and answer.json() == {"restarting": True} and answer.headers["cache-control"] == "no-store"
    told = until(lambda: (one := guard.get("/health")).status == 503 and one.json()["status"], 5, "503 meanwhile")
    assert told in ("restarting", "starting")
    until(guard.healthy, 20, "ComfyUI serves again")
    after = guard.pids()
    assert after.pop("comfyui") != before.pop("comfyui") and after == before
    guard.until_log("a guest restarts ComfyUI")
    assert "peer=127.0.0.1" in next(line for line in guard.log().splitlines() if "a guest restarts" in line)
    assert "next: Terminate" not in guard.log(), "it ended on SIGINT"
    assert guard.get("/queue", headers=session.cookie).status == 200, "nobody is signed out by it"
    assert "started again in" not in guard.log(), "it was no crash"


def test_one_restart_in_ten_seconds(fresh):
    guard = fresh()
    first = guard.pids()["comfyui"]
    assert post(guard, "/guard/restart", key=True).status == 202
    again = post(guard, "/guard/restart", Session(guard).page)
    assert again.status == 429 and again.json()["error"] == "too_soon" and 1 <= int(again.headers["retry-after"]) <= 10
    until(lambda: guard.pids().get("comfyui") not in (None, first), 15, "another ComfyUI")
    until(guard.healthy, 15, "health")
    second = guard.pids()["comfyui"]
    until(lambda: post(guard, "/guard/restart", key=True).status == 202, int(again.headers["retry-after"]) + 1, "the pause is over", every=0.2)
    until(lambda: guard.pids().get("comfyui") not in (None, second), 15, "another ComfyUI")
    assert guard.log().count("a guest restarts ComfyUI") == 2


def test_comfyui_that_was_given_up_is_started_by_a_restart(fresh):
    guard = fresh(wait="answers", comfyui_arguments=["--no-such-flag"])
    until(lambda: guard.get("/health").json()["status"] == "restarting", 15, "it crashes")
    assert guard.get("/guard/status.json", key=True).json()["state"] == "restarting", "the page is there when ComfyUI is not"
    assert guard.get("/guard/", key=True).status == 200
    count = guard.log().count("ComfyUI started")
    assert post(guard, "/guard/restart", key=True).status == 202
    until(lambda: guard.log().count("ComfyUI started") > count, 1, "it is tried at once, not after its pause")


def test_comfyui_that_ignores_sigint_is_restarted_all_the_same(fresh):
    guard = fresh(config={"comfyui": {"stop_timeout": "3s"}})
    assert guard.request("POST", "/_standin/stubborn", key=True).status == 200
    pid = guard.pids()["comfyui"]
    assert post(guard, "/guard/restart", key=True).status == 202
    until(lambda: guard.pids().get("comfyui") not in (None, pid), 8, "another ComfyUI, by SIGKILL")
    until(guard.healthy, 15, "health")


def test_guard_that_is_told_to_end_during_a_restart_ends(fresh):
    guard = fresh(comfyui_arguments=["--stop-delay", "2"])
    assert post(guard, "/guard/restart", key=True).status == 202
    until(lambda: guard.get("/health").status == 503, 5, "it is ending")
    assert guard.stop() == 0
    assert guard.log().count("ComfyUI started") == 1


def test_comfyui_of_others_is_not_restarted(fresh):
    owner = fresh()
    guard = fresh(config={"comfyui": {"external": f"127.0.0.1:{owner.upstream.port}", "directory": None, "python": None, "port": None,
                                      "stop_timeout": None, "arguments": None}})
    answer = post(guard, "/guard/restart", key=True)
    assert answer.status == 409 and answer.json()["error"] == "not_ours"
    assert guard.get("/guard/status.json", key=True).json()["comfyui"]["process"] == "external"


def test_sign_out_everywhere_ends_every_session_and_lets_keys_be(fresh):
    guard = fresh()
    mine, others, pid = Session(guard), [Session(guard) for _ in range(3)], guard.pids()["comfyui"]
    assert all(guard.get("/queue", headers=one.cookie).status == 200 for one in [mine, *others])
    with guard.client() as held:
        assert held.get("/queue", headers=others[0].cookie).status_code == 200
        answer = post(guard, "/guard/sign_out_everywhere", mine.page)
        assert answer.status == 204 and "Max-Age=0" in answer.headers["set-cookie"] and "__Host-comfyui_session=;" in answer.headers["set-cookie"]
        assert {guard.get("/queue", headers=one.cookie).status for one in [mine, *others]} == {401}
        assert held.get("/queue", headers=others[0].cookie).status_code == 401
    assert guard.get("/queue", key=True).status == 200 and guard.pids()["comfyui"] == pid
    guard.until_log("a guest has ended all sessions")
    assert guard.run_command("sessions", "list", "--json").stdout.strip() in (b"[]", b"")
    guard.stop()
    guard.start()
    assert {guard.get("/queue", headers=one.cookie).status for one in [mine, *others]} == {401}, "nor after a restart"


def test_sign_out_everywhere_cuts_streams_of_sessions_within_a_second(fresh):
    guard = fresh()
    mine, other = Session(guard), Session(guard)
    with guard.raw() as stream:
        stream.send(f"GET /_standin/trickle?count=0&interval=0.05 HTTP/1.1\r\nHost: {guard.host}:{guard.port}\r\nCookie: {other.cookie['Cookie']}\r\n\r\n")
        assert stream.begin().status == 200
        stream.socket.settimeout(1.5)
        assert post(guard, "/guard/sign_out_everywhere", mine.page).status == 204
        stream.rest()


def test_without_authentication_only_the_guards_own_page_acts(fresh):
    guard = fresh(config={"auth": {"enabled": False}})
    assert guard.get("/guard/").status == 200 and guard.get("/guard/status.json").json()["guard"]["authentication"] is False
    pid = guard.pids()["comfyui"]
    for headers in ({"Origin": FOREIGN}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        assert post(guard, "/guard/restart", headers).status == 403
    assert guard.pids()["comfyui"] == pid
    assert post(guard, "/guard/restart", {"Origin": guard.url}).status == 202
    until(lambda: guard.pids().get("comfyui") not in (None, pid), 15, "another ComfyUI")


def test_without_a_key_nobody_sees_it(fresh):
    guard = fresh(key=None, wait="answers")
    for path in READ:
        assert guard.get(path).status == 503 and guard.get(path).json()["error"] == "no_key"
    for path in ACT:
        assert post(guard, path).status == 503


def test_page_is_there_while_comfyui_hangs(fresh):
    guard = fresh()
    pid = guard.pids()["comfyui"]
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: guard.get("/guard/status.json", key=True).json()["state"] == "unresponsive", 20, "the page says so")
        latest = lambda: guard.get("/guard/history.json", key=True).json()["minute"][-1]
        until(lambda: latest()["queue"] is None, 3, "what is not known is a gap")
        assert guard.get("/guard/", key=True).status == 200
    finally:
        os.kill(pid, signal.SIGCONT)


def test_whatever_comfyui_prints_a_new_gateway_hears_of_everything(fresh):
    """Characters of four bytes in every line that is kept: what the gateway is told has to fit its messages all the same."""
    running = fresh()
    line = "\U0001F600".encode() * 900 + b"\n"
    assert running.request("POST", "/_standin/log?times=600", content=line, key=True).status == 204
    until(lambda: len(running.get("/guard/status.json", key=True).json()["comfyui"]["last_lines"]) == 30, 10, "the lines are told")
    running.kill("gateway")
    until(lambda: len(running.get("/guard/status.json", key=True).json()["comfyui"]["last_lines"]) == 30, 10, "the next gateway is told too")
    assert "left out" not in running.log()

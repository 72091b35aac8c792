"""Signing in, staying in, signing out: what the browser holds at each step, and what a stolen cookie is worth afterwards.

Pitfalls P11 (no session, no API), P12 (logout that can be replayed) and P16 (the key in storage).
"""

import re

import pytest

from harness.guard import Guard, strong_key
from harness.wait import until

TOKEN = "comfyui_api_key"


@pytest.fixture(scope="module")
def guard():
    with Guard() as running:
        yield running


def replay(guard, cookie: dict) -> int:
    """The status of a protected call that rests on this cookie alone."""
    return guard.get("/queue", headers={"Cookie": f"{cookie['name']}={cookie['value']}"}).status


def test_without_a_session_the_root_is_the_login_page_and_the_api_is_shut(guard, profile):
    mark = guard.upstream.mark()
    seen = profile(guard).run("visit")
    found = seen["found"]
    assert (found["status"], found["shows"]) == (200, "login")
    assert set(found["api"].values()) == {401}
    assert found["kept"]["local"] == found["kept"]["session"] == {} and found["cookies"] == []
    assert [one.line for one in guard.upstream.since(mark)] == []


def test_wrong_key_is_refused_and_stores_nothing(guard, profile):
    seen = profile(guard).run("visit", type="0" * 64, refused=True, remember=True)
    found = seen["found"]
    assert found["shows"] == "login" and found["said"] and found["invalid"] == "true"
    assert found["kept"]["local"] == found["kept"]["session"] == {} and found["cookies"] == []
    assert set(found["api"].values()) == {401}


def test_remembered_session_is_still_in_after_the_browser_was_closed(guard, profile):
    folder = profile(guard)
    first = folder.run("visit", type=guard.key, remember=True)["found"]
    assert first["shows"] == "graph" and TOKEN not in first["kept"]["session"] and TOKEN in first["kept"]["local"]
    again = folder.run("visit")
    found = again["found"]
    assert found["before"] == found["shows"] == "graph" and again["refused"] == []
    assert found["kept"]["local"][TOKEN] == first["kept"]["local"][TOKEN]
    assert set(found["api"].values()) <= {200, 404}
    on_disk = b"".join(path.read_bytes() for path in folder.folder.rglob("*") if path.is_file() and path.stat().st_size < 32 << 20)
    assert guard.key.encode() not in on_disk and guard.key.encode("utf-16-le") not in on_disk
    assert TOKEN.encode() in on_disk or TOKEN.encode("utf-16-le") in on_disk


def test_session_that_is_not_remembered_is_asked_again(guard, profile):
    folder = profile(guard)
    first = folder.run("visit", type=guard.key)["found"]
    assert first["shows"] == "graph" and TOKEN in first["kept"]["session"] and TOKEN not in first["kept"]["local"]
    found = folder.run("visit")["found"]
    assert found["shows"] == "login" and found["cookies"] == []
    assert TOKEN not in found["kept"]["session"] and TOKEN not in found["kept"]["local"]
    assert set(found["api"].values()) == {401}


@pytest.mark.parametrize("remember", [False, True], ids=["for now", "remembered"])
@pytest.mark.parametrize("how", ["url", "control", "script"])
def test_signing_out_leaves_nothing_and_ends_everything(fresh, profile, how, remember):
    guard = fresh()
    seen = profile(guard).run("signout", how=how, remember=remember)
    found = seen["found"]
    holder = "local" if remember else "session"
    assert re.fullmatch("[0-9a-f]{64}", found["before"][holder][TOKEN])
    assert TOKEN not in found["after"]["local"] and TOKEN not in found["after"]["session"]
    assert found["cookies"] == [] and found["said"]
    assert found["closedAfter"] < 1000
    assert replay(guard, found["cookie"]) == 401
    guard.stop()
    guard.start()
    assert replay(guard, found["cookie"]) == 401


@pytest.mark.parametrize("killed", ["gateway", "supervisor"])
def test_kill_loses_no_remembered_session(fresh, profile, killed):
    """The tree's root dies without a word and is started anew, or the gateway alone dies and is replaced."""
    guard = fresh()
    folder = profile(guard)
    (cookie,) = folder.run("visit", type=guard.key, remember=True)["found"]["cookies"]
    guard.kill(killed)
    seen = folder.run("visit")
    assert seen["found"]["before"] == "graph" and seen["refused"] == []
    assert replay(guard, cookie) == 200


def test_new_key_ends_every_session(fresh, profile):
    guard = fresh()
    folder = profile(guard)
    (cookie,) = folder.run("visit", type=guard.key, remember=True)["found"]["cookies"]
    assert replay(guard, cookie) == 200
    guard.set_key(strong_key())
    guard.reload()
    until(lambda: replay(guard, cookie) == 401, 5, "the session ends with its key")
    assert folder.run("visit")["found"]["shows"] == "login"


def test_key_in_the_address_opens_a_session_and_leaves_the_address(guard, profile):
    seen = profile(guard).run("visit", path=f"/?api_key={guard.key}")
    found = seen["found"]
    assert found["before"] == "graph" and found["kept"]["address"] == guard.url + "/" and seen["refused"] == []
    assert guard.key not in str(found), "the key stayed in the page, a storage or a cookie"
    assert [one for one in seen["requests"] if guard.key in str(one)][1:] == [], "only what the person typed holds it"
    (cookie,) = found["cookies"]
    assert cookie["httpOnly"] and replay(guard, cookie) == 200
    assert guard.key not in guard.upstream.raw_record() and guard.key not in guard.log()

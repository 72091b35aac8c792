"""The control socket: who may ask, and that broken, slow and silent askers disturb nobody."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys

import pytest

from harness import places, procs
from harness.cage import needs_own_user
from harness.guard import Guard
from harness.wait import Stopwatch, until

# As another user: what connect(2) says, and the answer if there is one.
ASK_AS = """
import os, socket, sys
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
asker = socket.socket(socket.AF_UNIX)
try:
    asker.connect(sys.argv[2])
    asker.sendall(b'{"command":"restart"}\\n')
    print(asker.recv(65536).decode())
except PermissionError:
    print("EACCES")
except ConnectionError as error:
    print(asker.recv(65536).decode() or error)
"""


def place(guard) -> str:
    return str(guard.dir / "state/control")


def ask(guard, request: bytes, within: float = 10.0) -> bytes:
    with socket.socket(socket.AF_UNIX) as asker:
        asker.settimeout(within)
        asker.connect(place(guard))
        answer = b""
        try:
            asker.sendall(request)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            while part := asker.recv(65536):
                answer += part
        except ConnectionResetError:
            pass
        return answer


def status(guard) -> dict:
    return json.loads(ask(guard, b'{"command":"status"}\n'))["status"]


def ask_as(guard, uid: int) -> str:
    return subprocess.run([sys.executable, "-c", ASK_AS, str(uid), place(guard)], capture_output=True, text=True, timeout=20, check=True).stdout.strip()


def test_it_is_the_guards_users_alone(guard):
    found = os.stat(place(guard))
    assert stat.S_ISSOCK(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_uid == os.stat(guard.dir / "state").st_uid
    assert status(guard)["guard"]["pid"] == guard.process.pid


@needs_own_user
@pytest.mark.parametrize("user", [places.NETWORK_USER, places.COMFYUI_USER, "nobody"])
def test_no_other_user_gets_in_not_even_if_the_mode_is_widened(fresh, user):
    import pwd

    uid, running = pwd.getpwnam(user).pw_uid, fresh()
    before = running.pids()["comfyui"]
    assert ask_as(running, uid) == "EACCES"
    os.chmod(place(running), 0o666)
    assert "only root and the guard's own user" in ask_as(running, uid)
    assert running.pids()["comfyui"] == before and running.healthy()
    assert ask_as(running, pwd.getpwnam(places.SERVICE_USER).pw_uid).startswith('{"done":')


@needs_own_user
def test_a_custom_node_cannot_reach_it(fresh):
    """The cage at its widest: what keeps ComfyUI out are the users, not the level."""
    running = fresh(config={"comfyui": {"sandbox": "off"}})
    source = f"import socket\nsocket.socket(socket.AF_UNIX).connect({place(running)!r})"
    said = running.request("POST", "/_standin/node", content=source.encode(), key=True).json()
    assert said.get("refused") == "EACCES", said


BROKEN = {
    "nothing": b"", "no newline": b'{"command":"status"}', "not JSON": b"status\n", "not a request": b'{"command":"stop"}\n', "bytes": bytes(range(256)) + b"\n",
    "4 KiB": b" " * 4096 + b'{"command":"status"}\n', "a megabyte": b"x" * 1_000_000, "half a line, then gone": b'{"comm',
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_request_gets_an_error_and_disturbs_nobody(guard, what):
    answer = ask(guard, BROKEN[what])
    assert answer.startswith(b'{"error":') and answer.endswith(b"\n"), answer
    assert status(guard)["healthy"] and guard.healthy()


def test_silent_askers_are_sent_away_and_hold_up_neither_guests_nor_others(guard):
    clock, silent = Stopwatch(), []
    for _ in range(40):
        asker = socket.socket(socket.AF_UNIX)
        # Without a limit of time the kernel lets it wait for a place in the queue.
        asker.connect(place(guard))
        asker.settimeout(10)
        silent.append(asker)
    answer = Stopwatch()
    assert guard.get("/health").status == 200 and answer() < 1
    for asker in silent:
        assert asker.recv(4096).startswith(b'{"error":')
        asker.close()
    assert clock() < 6
    assert status(guard)["healthy"]
    assert len([what for what in procs.descriptors(guard.process.pid).values() if "socket" in what]) < 30


def test_one_who_does_not_read_holds_nobody_up(fresh):
    """A follower that stands still while ComfyUI writes far more than fits between the two."""
    running = fresh()
    follower = socket.socket(socket.AF_UNIX)
    follower.connect(place(running))
    follower.sendall(b'{"command":"logs","follow":true}\n')
    until(lambda: status(running)["healthy"], 5)
    for body, times in ((b"x" * 100 + b"\n", 20_000), (b"the last line\n", 1)):
        assert running.request("POST", f"/_standin/log?times={times}", content=body, key=True, timeout=60).status == 204
    running.until_log("the last line", 30)
    clock = Stopwatch()
    assert status(running)["healthy"] and running.healthy() and clock() < 2
    follower.settimeout(10)
    lines = follower.makefile("rb")
    said = []
    while not said or "the last line" not in said[-1].get("line", ""):
        said.append(json.loads(next(lines)))
    lost = sum(one.get("lost", 0) for one in said)
    heard = sum(one.get("line") == "x" * 100 for one in said)
    assert lost > 0 and heard > 0 and lost + heard <= 20_000 + 100, (lost, heard)
    follower.close()


def test_a_second_guard_on_the_same_state_does_not_start(fresh):
    running = fresh()
    second = Guard(config={"state": {"directory": str(running.dir / "state")}}, wait=None)
    with pytest.raises(AssertionError), second:
        second.until_ready(10)
    assert second.process.returncode == 69
    assert "another comfy-guard uses the state directory" in second.log()
    assert running.healthy() and status(running)["healthy"]


def test_it_goes_with_the_guard_and_a_dead_guards_is_replaced(fresh):
    running = fresh()
    running.pids()
    os.kill(running.process.pid, signal.SIGKILL)
    running.process.wait(10)
    until(lambda: not running.left_over(), 15, "the whole tree is gone")
    assert os.path.exists(place(running)), "what a killed guard leaves"
    running.start()
    assert status(running)["healthy"]
    running.stop()
    assert not os.path.exists(place(running))

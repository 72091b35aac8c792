"""A kernel without Landlock is told of and served on; one without system call filters is refused: nothing runs unconfined in silence."""

import platform
import sys

import pytest

from harness import no_such_call, places, procs
from harness.guard import Guard

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="system calls have other numbers here")

LAUNCHER = [sys.executable, str(places.ROOT / "tests/harness/no_such_call.py")]


def test_without_landlock_it_serves_and_says_so(fresh):
    running = fresh(launcher=[*LAUNCHER, str(no_such_call.LANDLOCK_CREATE_RULESET)])
    assert running.get("/queue", key=True).status == 200
    log = running.log()
    assert "this kernel has no Landlock" in log
    for role in ("gateway", "sensor"):
        assert [line for line in log.splitlines() if f"sandbox of the {role}: seccomp" in line and "no Landlock" in line], role
        assert procs.status(running.pids()[role])["Seccomp"] == "2"


def test_without_system_call_filters_it_does_not_start():
    guard = Guard(launcher=[*LAUNCHER, str(no_such_call.SECCOMP)], wait=None)
    with guard:
        assert guard.process.wait(20) == 71
        log = guard.log()
        assert "refuses the system call filter" in log and "CONFIG_SECCOMP_FILTER" in log
        assert "ComfyUI started" not in log and not procs.descendants(guard.process.pid)

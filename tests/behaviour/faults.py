"""kill -9 of each part in turn under load, and stopping: nobody is refused, nobody else is touched, nothing is left behind.

DESIGN section 1 (listening sockets stay open in the supervisor) and P28 (leaves processes behind).
"""

import os
import signal
import socket
import threading
import time

import pytest

from harness import procs
from harness.wait import Stopwatch, until


class Load:
    """Guests that open a new connection for every request, and count what happened to each."""

    def __init__(self, guard, guests: int = 4):
        self.guard, self.refused, self.statuses, self.broken, self.last_good = guard, 0, [], 0, time.monotonic()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._guest) for _ in range(guests)]

    def _guest(self):
        while not self._stop.is_set():
            try:
                socket.create_connection((self.guard.host, self.guard.port), 5).close()
            except ConnectionRefusedError:
                self.refused += 1
            except OSError:
                self.broken += 1
            try:
                self.statuses.append(self.guard.get("/prompt", key=True, timeout=10).status)
                self.last_good = time.monotonic()
            except Exception:
                self.broken += 1

    def __enter__(self):
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for one in self._threads:
            one.join(30)


def others(pids: dict[str, int], without: str) -> dict[str, int]:
    return {role: pid for role, pid in pids.items() if role != without}


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 2).close()
    except ConnectionRefusedError:
        return False
    return True


def kill(guard, role: str) -> dict[str, int]:
    before = guard.pids()
    os.kill(before[role], signal.SIGKILL)
    return before


def test_gateway_killed_nobody_is_refused_and_it_is_back_within_a_second(fresh):
    running = fresh()
    with Load(running) as load:
        until(lambda: len(load.statuses) > 20, 20, "load")
        for _ in range(3):
            before = kill(running, "gateway")
            clock = Stopwatch()
            until(lambda: running.healthy(), 5, "service again")
            assert clock() < 1.0
            after = until(lambda: (now := running.pids()).get("gateway", before["gateway"]) != before["gateway"] and now, 5, "a new gateway")
            assert others(after, "gateway") == others(before, "gateway")
    assert load.refused == 0
    assert set(load.statuses) == {200}


def test_key_is_still_known_to_the_new_gateway(fresh):
    running = fresh()
    kill(running, "gateway")
    until(running.healthy, 5, "service again")
    assert running.get("/queue", key=True).status == 200
    assert running.get("/queue").status == 401
    assert running.get("/queue", headers={"X-API-Key": "0" * 64}).status == 401


def test_gateway_killed_again_and_again_comes_back(fresh):
    running = fresh()
    for _ in range(10):
        gateway = until(lambda: running.pids().get("gateway"), 20, "a gateway")
        os.kill(gateway, signal.SIGKILL)
        until(lambda old=gateway: running.pids().get("gateway", old) != old, 20, "its successor")
    until(running.healthy, 30, "service after ten deaths")


def test_sensor_killed_nobody_notices(fresh):
    running = fresh()
    with Load(running) as load:
        until(lambda: len(load.statuses) > 20, 20, "load")
        before = kill(running, "sensor")
        after = until(lambda: (now := running.pids()).get("sensor", before["sensor"]) != before["sensor"] and now, 10, "a new sensor")
        assert others(after, "sensor") == others(before, "sensor")
        count = len(load.statuses)
        until(lambda: len(load.statuses) > count + 20, 20, "load goes on")
    assert load.refused == load.broken == 0 and set(load.statuses) == {200}


def test_comfyui_killed_is_back_after_its_own_start_time(fresh):
    running = fresh(comfyui_arguments=["--start-delay", "1"])
    with Load(running) as load:
        until(lambda: len(load.statuses) > 20, 20, "load")
        before = kill(running, "comfyui")
        clock = Stopwatch()
        until(lambda: not running.healthy(), 3, "/health tells of the death")
        until(running.healthy, 20, "ComfyUI serves again")
        assert clock() < 6.0
        after = running.pids()
        assert others(after, "comfyui") == others(before, "comfyui") and after["comfyui"] != before["comfyui"]
    assert load.refused == load.broken == 0
    assert set(load.statuses) <= {200, 502, 503} and {200} < set(load.statuses)


@pytest.mark.parametrize("signal_", [signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_to_the_gateway_does_not_end_the_service(fresh, signal_):
    """A role that dies or hangs for whatever reason is replaced; SIGSTOP is the hang."""
    running = fresh()
    before = running.pids()
    os.kill(before["gateway"], signal_)
    until(running.healthy, 40, "service again")
    assert others(running.pids(), "gateway") == others(before, "gateway")


def test_supervisor_killed_takes_everything_with_it(fresh):
    """The kernel tells the children (PR_SET_PDEATHSIG); a guard without its supervisor would be an open door."""
    running = fresh()
    pids = running.pids()
    os.kill(pids["supervisor"], signal.SIGKILL)
    running.process.wait(5)
    until(lambda: not [role for role, pid in pids.items() if procs.alive(pid)], 15, "every child is gone")


@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGINT])
def test_stop_ends_everything_within_its_time(fresh, signal_):
    running = fresh()
    pids = running.pids()
    assert {"supervisor", "gateway", "sensor", "comfyui"} <= set(pids)
    clock = Stopwatch()
    running.process.send_signal(signal_)
    assert running.process.wait(15) == 0
    assert clock() < 12
    assert running.left_over() == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((running.host, running.port), 2)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((running.host, running.upstream.port), 2)


@pytest.mark.parametrize("extra", ["stubborn", "orphan"])
def test_what_comfyui_leaves_behind_is_ended_too(fresh, extra):
    """A ComfyUI deaf to SIGINT and SIGTERM, and a grandchild that put itself into a session of its own."""
    running = fresh(config={"comfyui": {"stop_timeout": "3s"}})
    answer = running.request("POST", f"/_standin/{extra}", key=True)
    assert answer.status == 200, answer.body
    left = [answer.json()["pid"]] if extra == "orphan" else []
    running.known |= set(left)
    clock = Stopwatch()
    running.stop(within=20)
    assert clock() < 12
    assert not [pid for pid in left if procs.alive(pid)]


def test_orphans_of_a_crashed_comfyui_are_gone_before_the_next_starts(fresh):
    """P28: what a custom node left behind must not hold the port or the GPU when ComfyUI comes back."""
    running = fresh()
    told = running.request("POST", "/_standin/orphan", key=True).json()
    before = kill(running, "comfyui")
    until(lambda: running.pids().get("comfyui", before["comfyui"]) != before["comfyui"] and running.healthy(), 20, "ComfyUI is back")
    assert not procs.alive(told["pid"])


def test_restart_that_the_user_asked_for_is_not_a_crash(fresh):
    """P22: exit 0 and execv, ComfyUI-Manager's two ways to restart, come back at once and count as no failure."""
    running = fresh()
    for _ in range(3):
        before = running.pids()
        running.request("GET", "/manager/reboot", key=True)
        until(lambda: not listens(running.upstream.port), 10, "its port closes")
        until(lambda: running.get("/queue", key=True).status == 200, 20, "it is back")
        assert others(running.pids(), "comfyui") == others(before, "comfyui")
    assert "crash" not in running.log().lower()

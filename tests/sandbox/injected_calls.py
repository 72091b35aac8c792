"""The running processes themselves are made to do what they never would: the kernel refuses, or ends them and the guard goes on."""

import errno
import os
import signal
import socket
import struct

import pytest

from harness import inject, procs
from harness.guard import Guard
from harness.wait import until

pytestmark = pytest.mark.skipif(not inject.SUPPORTED, reason="calls are injected by root on x86-64 only")

AF_UNIX, AF_INET, AF_PACKET, STREAM, AT_HERE = 1, 2, 17, 1, -100


def guests_thread(guard) -> int:
    """A thread of the gateway that serves guests: not the one that closed the sandbox."""
    pid = guard.pids()["gateway"]
    names = {int(task): procs.read(pid, f"task/{task}/comm").decode() for task in os.listdir(f"/proc/{pid}/task")}
    return next(task for task, name in names.items() if name.startswith("guests-"))


THREADS = {"gateway": lambda guard: guard.pids()["gateway"], "guests' thread": guests_thread,
           "sensor": lambda guard: guard.pids()["sensor"], "supervisor": lambda guard: guard.pids()["supervisor"]}


def address(port: int) -> bytes:
    return struct.pack("<H", AF_INET) + struct.pack(">H", port) + socket.inet_aton("127.0.0.1") + bytes(8)


def is_up(guard) -> bool:
    return guard.get("/queue", key=True).status == 200


@pytest.fixture(scope="module")
def serving():
    with Guard() as running:
        yield running
        until(running.healthy, 10, "it serves after all this")


@pytest.mark.parametrize("who", THREADS)
def test_an_innocent_call_is_done(serving, who):
    """The method works: this call is let through, and answers with what only that process is."""
    thread = THREADS[who](serving)
    process = serving.pids()["gateway"] if who == "guests' thread" else thread
    assert inject.call(thread, "getpid") == process
    assert is_up(serving)


@pytest.mark.parametrize("who", ["gateway", "guests' thread", "sensor"])
def test_the_key_cannot_be_opened(serving, who):
    """Not even where its permissions would let everybody."""
    mode = serving.key_file.stat().st_mode
    for path in (str(serving.key_file), "/etc/passwd"):
        assert inject.call(THREADS[who](serving), "openat", AT_HERE, path.encode() + b"\0", os.O_RDONLY) == -errno.EACCES, path
    assert serving.key_file.stat().st_mode == mode and is_up(serving)


def test_the_gateway_reaches_comfyui_and_no_other_port(serving):
    pid = serving.pids()["gateway"]
    with socket.create_server(("127.0.0.1", 0)) as other:
        number = inject.call(pid, "socket", AF_INET, STREAM, 0)
        assert number >= 0
        assert inject.call(pid, "connect", number, address(other.getsockname()[1]), 16) == -errno.EACCES
        assert inject.call(pid, "connect", number, address(serving.upstream.port), 16) == 0
        assert inject.call(pid, "close", number) == 0
    assert serving.pids()["gateway"] == pid and is_up(serving)


DEADLY = [("gateway", "execve", (b"/bin/true\0", 0, 0)), ("gateway", "socket", (AF_UNIX, STREAM, 0)), ("guests' thread", "socket", (AF_PACKET, 3, 0)),
          ("guests' thread", "ptrace", (16, 1, 0, 0)), ("gateway", "io_uring_setup", (1, 0)), ("sensor", "ptrace", (16, 1, 0, 0)), ("sensor", "unshare", (0x10000000,))]


@pytest.mark.parametrize(("who", "name", "arguments"), DEADLY, ids=lambda value: value if isinstance(value, str) else "")
def test_a_deadly_call_ends_the_role_and_comfyui_does_not_notice(serving, who, name, arguments):
    before, seen = serving.pids(), len(serving.log())
    role = "sensor" if who == "sensor" else "gateway"
    assert inject.call(THREADS[who](serving), name, *arguments) == signal.SIGSYS
    until(lambda: serving.pids().get(role, before[role]) != before[role], 10, f"another {role}")
    until(serving.healthy, 10, "it serves again")
    after = serving.pids()
    assert after["comfyui"] == before["comfyui"] and after["supervisor"] == before["supervisor"]
    assert "SIGSYS" in serving.log()[seen:]
    assert is_up(serving)


def test_an_abort_of_the_gateway_is_told_as_one(serving):
    """What a panic ends in has to pass the sandbox, or the log would speak of an attack."""
    pid, seen = serving.pids()["gateway"], len(serving.log())
    assert inject.call(pid, "tgkill", pid, pid, signal.SIGABRT) == 0
    serving.until_log("SIGABRT", since=seen)
    until(serving.healthy, 10, "it serves again")


REFUSED = [("sensor", "socket", (AF_INET, STREAM, 0), errno.EPERM), ("sensor", "execve", (b"/bin/true\0", 0, 0), errno.EPERM),
           ("sensor", "clone3", (8, 64), errno.ENOSYS), ("supervisor", "ptrace", (16, 1, 0, 0), errno.EPERM), ("supervisor", "mount", (8, 8, 8, 0, 0), errno.EPERM),
           ("supervisor", "io_uring_setup", (1, 0), errno.EPERM), ("supervisor", "unshare", (0x10000000,), errno.EPERM), ("supervisor", "clone3", (8, 64), errno.ENOSYS)]


@pytest.mark.parametrize(("who", "name", "arguments", "answer"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_a_refused_call_gets_its_errno_and_the_process_goes_on(serving, who, name, arguments, answer):
    before = serving.pids()
    assert inject.call(THREADS[who](serving), name, *arguments) == -answer
    assert is_up(serving) and serving.pids() == before

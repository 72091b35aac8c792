"""Processes as /proc shows them: who is whose child, what each holds, what each costs."""

import os
import re
import signal
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on (index 0 is field 3 of proc(5)); empty if it is gone."""
    text = read(pid, "stat").decode("latin-1")
    return text.rpartition(")")[2].split() if text else []


def alive(pid: int) -> bool:
    fields = stat(pid)
    return bool(fields) and fields[0] not in "ZX"


def parent(pid: int) -> int:
    fields = stat(pid)
    return int(fields[1]) if fields else 0


def everyone() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def descendants(pid: int) -> list[int]:
    """Children, their children and so on, living ones only."""
    children: dict[int, list[int]] = {}
    for other in everyone():
        if alive(other):
            children.setdefault(parent(other), []).append(other)
    found, rest = [], [pid]
    while rest:
        below = children.get(rest.pop(), [])
        found += below
        rest += below
    return found


def command(pid: int) -> str:
    """The command line as `ps` shows it."""
    return read(pid, "cmdline").replace(b"\0", b" ").decode("utf-8", "replace").strip()


def environment(pid: int) -> dict[str, str]:
    pairs = (item.partition(b"=") for item in read(pid, "environ").split(b"\0") if item)
    return {name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, _, value in pairs}


def status(pid: int) -> dict[str, str]:
    """/proc/PID/status by name."""
    return dict(re.findall(r"^(\w+):[ \t]*(.*)$", read(pid, "status").decode("latin-1"), re.M))


def status_of_thread(pid: int, thread: int) -> dict[str, str]:
    """The same of one thread: capabilities and filters belong to threads."""
    return dict(re.findall(r"^(\w+):[ \t]*(.*)$", read(pid, f"task/{thread}/status").decode("latin-1"), re.M))


def kilobytes(pid: int, name: str) -> int:
    """A memory figure of /proc/PID/status (VmHWM: the peak) in KiB."""
    return int(status(pid)[name].split()[0])


def reset_peak(pid: int) -> None:
    """Starts VmHWM afresh from the present size (proc(5), clear_refs); without root, whose alone that is here, the peak stays."""
    if os.geteuid() == 0:
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def cpu_seconds(pid: int) -> float:
    fields = stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS


def cpu_nanoseconds(pid: int) -> int:
    """The same to the nanosecond, summed over its living threads (/proc/PID/task/TID/schedstat)."""
    return sum(int(read(pid, f"task/{thread}/schedstat").split()[0]) for thread in os.listdir(f"/proc/{pid}/task"))


def descriptors(pid: int) -> dict[int, str]:
    """Open descriptors and what each is."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            continue
    return found


def mentioning(text: str) -> list[int]:
    """Living processes whose command line names `text` (a test's own folder): also those that left the tree."""
    return [pid for pid in everyone() if pid != os.getpid() and text in command(pid) and alive(pid)]


def end(pids) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue

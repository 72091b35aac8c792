"""What /proc says of each process equals the table in docs/sandbox.md, which is what an administrator reads."""

import grp
import os
import pwd
import re

import pytest

from harness import places, procs

PROCESSES = ["supervisor", "gateway", "sensor", "ComfyUI"]
CAPABILITIES = {5: "KILL", 6: "SETGID", 7: "SETUID"}

pytestmark = pytest.mark.skipif(not places.AS_ROOT, reason="the table is about a start by root")


def table() -> dict[tuple[str, str], str]:
    """(row, process) to cell, of the first table whose columns are the processes."""
    lines = (places.ROOT / "docs/sandbox.md").read_text().splitlines()
    begin = lines.index("| | " + " | ".join(PROCESSES) + " |")
    cells = {}
    for line in lines[begin + 2:]:
        if not line.startswith("|"):
            break
        name, *values = (cell.strip() for cell in line.strip("|").split("|"))
        cells |= {(name, process): value for process, value in zip(PROCESSES, values, strict=True)}
    return cells


TABLE = table()
ROWS = list(dict.fromkeys(row for row, _ in TABLE))


def capabilities(mask: str) -> str:
    bits = [number for number in range(64) if int(mask, 16) >> number & 1]
    return " ".join(CAPABILITIES.get(number, str(number)) for number in bits) or "none"


def limit(pid: int, name: str) -> str:
    values = re.search(rf"^{name}\s+(\S+)\s+(\S+)", procs.read(pid, "limits").decode(), re.M).groups()
    assert values[0] == values[1], (name, values)
    return values[0]


def groups(pid: int, user: str, configured: list[str]) -> str:
    found = set(procs.status(pid)["Groups"].split())
    own = {str(pwd.getpwnam(user).pw_gid)}
    if not found:
        return "none"
    if found == own:
        return "none but its own"
    wanted = {str(group.gr_gid) for group in grp.getgrall() if group.gr_name in configured}
    return "`comfyui.groups`" if found == wanted else f"{found}"


def reader(pid: int) -> str:
    """Whose the process' files in /proc are is who may read its memory: root's, if it is not dumpable."""
    owner = os.stat(f"/proc/{pid}/environ").st_uid
    return "root" if owner == 0 else "root, its own user"


def may_raise_limits() -> bool:
    return bool(int(procs.status(os.getpid())["CapEff"], 16) >> 24 & 1)


def seen(pid: int, row: str, process: str) -> str:
    state = procs.status(pid)
    if row == "user":
        ids = set(state["Uid"].split())
        assert len(ids) == 1, ids
        return pwd.getpwuid(int(ids.pop())).pw_name
    if row == "supplementary groups":
        return groups(pid, TABLE["user", process], ["video", "render"])
    if row == "reads and traces it":
        return reader(pid)
    if row.startswith("Cap"):
        return capabilities(state[row])
    if row.startswith("Max "):
        return limit(pid, row)
    return state[row]


def test_the_table_has_what_it_is_there_for():
    assert set(ROWS) >= {"user", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters"}


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("row", ROWS)
def test_proc_says_what_the_table_says(guard, row, process):
    pid = guard.pids()[process.lower()]
    expected = TABLE[row, process]
    if expected == "as started" or expected.endswith("if root may set it") and not may_raise_limits():
        expected = limit(os.getpid(), row)
    elif expected.endswith("if root may set it"):
        expected = expected.split()[0]
    elif row == "Seccomp_filters":
        # Those that this test itself runs under are below every process.
        expected = str(int(expected) + int(procs.status(os.getpid())["Seccomp_filters"]))
    assert seen(pid, row, process) == expected


@pytest.mark.parametrize("process", ["gateway"])
def test_every_thread_is_held_as_the_process_is(guard, process):
    pid = guard.pids()[process]
    names = ("CapPrm", "CapEff", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters")
    threads = {task: procs.status_of_thread(pid, task) for task in map(int, os.listdir(f"/proc/{pid}/task"))}
    assert len(threads) > 1
    for state in threads.values():
        assert [state[name] for name in names] == [threads[pid][name] for name in names]


def confinements(guard, process: str) -> list[str]:
    return [line for line in guard.log().splitlines() if f"sandbox of the {process}:" in line]


def test_the_log_says_once_for_each_process_what_holds_it(fresh):
    running = fresh()
    for process in ("supervisor", "sensor", "gateway"):
        (line,) = confinements(running, process)
        assert re.search(r"seccomp \d+ calls", line)
        if process != "supervisor":
            assert re.search(r"Landlock ABI \d+ \(files|no Landlock", line)


@pytest.mark.parametrize("process", ["supervisor", "gateway"])
def test_memory_with_keys_stays_out_of_swap_where_the_limit_allows(guard, process):
    """And where it does not, the log does not claim it."""
    pid = guard.pids()[process]
    allowed = limit(pid, "Max locked memory") == "unlimited"
    line = confinements(guard, process)[-1]
    assert ("memory locked" in line, "memory not locked" in line) == (allowed, not allowed)
    locked, resident = procs.kilobytes(pid, "VmLck"), procs.kilobytes(pid, "RssAnon")
    assert locked >= resident if allowed else locked == 0

"""Nothing of ComfyUI outlives its end, or gets out of its limits: by parentage and RLIMIT_NPROC, and by a cgroup of its own where there is one.

What needs a controller (memory, pids) runs where the cgroups have it: on a machine that systemd has booted with version 2.
"""

import os

import pytest

from harness import procs
from harness.cage import BOMB, BY_CAGE, LEAVERS, LEVELS, Delegated, caged, cgroup2, comfyuis, delegated, needs_own_user
from harness.guard import Guard
from harness.wait import until

pytestmark = needs_own_user
needs_cgroup = pytest.mark.skipif(cgroup2() is None, reason="no cgroup of version 2 is mounted")


def node(guard, source: str) -> dict:
    return guard.request("POST", "/_standin/node", content=source.encode(), key=True, timeout=60).json()


@pytest.mark.parametrize("level", LEVELS)
def test_nothing_outlives_a_stop(level):
    with caged(level, {"stop_timeout": "4s"}) as cage:
        for source in LEAVERS.values():
            cage.does(source + "\nresult = 1")
        left = until(lambda: len(found := comfyuis(cage.guard)) >= 5 and found, 10, "those that left")
        cage.guard.stop(within=20)
        assert not [pid for pid in left if procs.alive(pid)]


def test_a_fork_bomb_ends_at_the_limit_and_with_the_stop():
    """RLIMIT_NPROC where there is no cgroup: it counts all of the user's, so the limit leaves room for other tests."""
    with caged("standard", {"stop_timeout": "4s", "limits": {"tasks": 400}}) as cage:
        born = cage.does(BOMB.format(most=2000))
        assert 100 < born < 400
        left = comfyuis(cage.guard)
        assert len(left) > 100
        assert cage.guard.get("/health").status in (200, 503)
        cage.guard.stop(within=20)
        assert not [pid for pid in left if procs.alive(pid)]


@needs_cgroup
@pytest.mark.parametrize("marked", [True, False], ids=["root, marked", "service user, owned"])
def test_comfyui_lives_in_its_own_group(marked):
    with delegated(marked) as guard:
        pids = guard.pids()
        assert set(guard.group.members("guard")) == {pids["supervisor"], pids["gateway"], pids["sensor"]}
        assert pids["comfyui"] in guard.group.members("comfyui")
        assert guard.group.members(".") == []
        os.kill(pids["comfyui"], 9)
        until(lambda: guard.pids().get("comfyui", pids["comfyui"]) != pids["comfyui"], 20, "a new ComfyUI")
        assert guard.pids()["comfyui"] in guard.group.members("comfyui")


@needs_cgroup
@pytest.mark.parametrize("level", LEVELS)
def test_comfyui_cannot_leave_its_group(level):
    with delegated(config={"sandbox": level}) as guard:
        top, own = guard.group.path, guard.pids()["comfyui"]
        for path in (top, top / "guard", cgroup2()):
            for name in ("cgroup.procs", "cgroup.threads", "cgroup.subtree_control"):
                assert node(guard, f"open('{path}/{name}', 'r+').write('{own}')").get("refused") in BY_CAGE | {"EROFS"}, (path, name)
        for act in (f"os.mkdir('{top}/comfyui/mine')", f"os.rmdir('{top}/guard')", f"open('{top}/comfyui/cgroup.kill', 'w').write('1')",
                    f"open('{top}/guard/cgroup.kill', 'w').write('1')", f"open('{top}/guard/cgroup.freeze', 'w').write('1')", f"os.chmod('{top}/comfyui/cgroup.procs', 0o666)"):
            assert node(guard, f"import os\n{act}").get("refused") in BY_CAGE | {"EROFS"}, act
        assert own in guard.group.members("comfyui")


@needs_cgroup
def test_a_stop_kills_the_whole_group():
    """Also those that are being forked while they are killed, which no list of processes would hold."""
    with delegated(config={"sandbox": "standard", "limits": {"tasks": 1000}}) as guard:
        for source in LEAVERS.values():
            assert node(guard, source + "\nresult = 1") == {"result": 1}
        storm = "import subprocess\nsubprocess.Popen(['setsid', '--fork', 'sh', '-c', 'trap \"\" INT TERM HUP; f() { sleep 0.01; setsid sh -c \"exec sleep 1\" & f; }; f'])\nresult = 1"
        assert node(guard, storm) == {"result": 1}
        until(lambda: len(guard.group.members("comfyui")) > 20, 10, "a storm")
        guard.stop(within=15)
        assert not guard.group.populated()


@needs_cgroup
def test_what_a_crashed_comfyui_left_is_gone_before_the_next_one():
    with delegated() as guard:
        for source in LEAVERS.values():
            node(guard, source + "\nresult = 1")
        before = guard.group.members("comfyui")
        assert len(before) >= 5
        os.kill(guard.pids()["comfyui"], 9)
        until(lambda: guard.group.members("comfyui") and not set(before) & set(guard.group.members("comfyui")), 20, "only the new one")
        until(guard.healthy, 20, "ComfyUI is back")


@needs_cgroup
def test_a_group_that_was_not_handed_over_is_left_alone():
    group = Delegated(marked=True)
    try:
        os.removexattr(group.path, "user.delegate")
        with Guard(before=lambda guard: setattr(guard, "launcher", group.launcher)) as guard:
            assert "was not handed over" in guard.log()
            assert set(guard.pids().values()) <= set(group.members("."))
            assert not (group.path / "comfyui").exists()
    finally:
        group.remove()


@needs_cgroup
def test_a_group_with_others_in_it_is_left_alone():
    group = Delegated(marked=True)
    try:
        shared = ["sh", "-c", f'echo $$ >{group.path}/cgroup.procs && {{ sleep 60 & exec "$@"; }}', "sh"]
        with Guard(before=lambda guard: setattr(guard, "launcher", shared)) as guard:
            assert "other processes are in the cgroup" in guard.log()
            assert not (group.path / "comfyui").exists()
    finally:
        group.remove()


@needs_cgroup
def test_a_limit_that_nothing_holds_is_named():
    with delegated(config={"limits": {"memory": "4GB", "cpus": 1.5}}) as guard:
        for key, controller in (("memory", "memory"), ("cpus", "cpu")):
            held = controller in guard.group.controllers
            assert (f"comfyui.limits.{key}" in guard.log()) == (not held), (key, guard.log())
        for controller, name, value in (("memory", "memory.max", str(4 << 30)), ("memory", "memory.oom.group", "1"), ("cpu", "cpu.max", "150000 100000"), ("pids", "pids.max", "4096")):
            if controller in guard.group.controllers:
                assert (guard.group.path / "comfyui" / name).read_text().strip() == value


def needs_controller(guard, name: str) -> None:
    if name not in guard.group.controllers:
        pytest.skip(f"this machine's cgroups have no {name} controller: a virtual machine has")


@needs_cgroup
def test_too_much_memory_kills_comfyui_as_a_whole_and_nobody_else():
    with delegated(config={"limits": {"memory": "512MB"}}) as guard:
        needs_controller(guard, "memory")
        before = guard.pids()
        left = until(lambda: node(guard, LEAVERS["double fork"] + "\nresult = 1") and guard.group.members("comfyui"), 10, "another member")
        answers = []
        with pytest.raises(Exception):
            answer = guard.request("POST", "/_standin/node", content=b"room = [b'x' * (1 << 20) for _ in range(4096)]", key=True, timeout=60)
            assert answer.status < 500, "ComfyUI was killed while it answered"
        until(lambda: answers.append(guard.get("/health").status) or 503 in answers, 10, "/health tells of the death")
        until(guard.healthy, 30, "ComfyUI is back")
        after = guard.pids()
        assert {role: pid for role, pid in after.items() if role != "comfyui"} == {role: pid for role, pid in before.items() if role != "comfyui"}
        assert not [pid for pid in left if procs.alive(pid)]


@needs_cgroup
def test_a_fork_bomb_ends_at_the_limit_of_the_group():
    with delegated(config={"limits": {"tasks": 100}}) as guard:
        needs_controller(guard, "pids")
        born = node(guard, BOMB.format(most=2000))["result"]
        assert 50 < born < 100
        assert guard.get("/health").status in (200, 503)
        guard.stop(within=15)
        assert not guard.group.populated()

"""ComfyUI's limits, where the kernel has controllers: what runs into them is ComfyUI alone, and the gateway never stops."""

import json

import pytest

from appliance.boxes.load import Load
from harness.wait import until

GROUP = "/sys/fs/cgroup/system.slice/comfy-guard.service/comfyui"
LIMITS = "/etc/comfy-guard/conf.d/50-limits.toml"
MEMORY, TASKS = 300_000_000, 100

# In a session of its own, so that nobody waits for it.
DETACHED = """
import os
if os.fork():
    os._exit(0)
os.setsid()
for number in (0, 1, 2):
    os.dup2(os.open(os.devnull, os.O_RDWR), number)
"""
FORK_BOMB = DETACHED + """
while True:
    try:
        os.fork()
    except OSError:
        pass
"""
EXHAUST = DETACHED + """
kept = []
while True:
    kept.append(bytearray(os.urandom(1 << 20)))
"""

pytestmark = pytest.mark.machine


@pytest.fixture(scope="module")
def limited(machine):
    """The machine with limits for ComfyUI."""
    machine.put(LIMITS, f'[comfyui.limits]\nmemory = "{MEMORY}B"\ncpus = 1.5\ntasks = {TASKS}\n')
    machine.run("systemctl", "restart", "comfy-guard")
    machine.until_served(machine.key)
    yield machine
    machine.run("rm", LIMITS)
    machine.run("systemctl", "restart", "comfy-guard")
    machine.until_served(machine.key)


def test_limits_are_the_control_groups(limited):
    page = 4096
    assert int(limited.get(f"{GROUP}/memory.max")) == MEMORY // page * page
    assert limited.get(f"{GROUP}/memory.oom.group").strip() == "1"
    assert limited.get(f"{GROUP}/cpu.max").split() == ["150000", "100000"]
    assert limited.get(f"{GROUP}/pids.max").strip() == str(TASKS)
    assert str(limited.pids()["comfyui"]) in limited.get(f"{GROUP}/cgroup.procs").split()


def test_status_and_metrics_tell_what_the_group_uses(limited):
    usage = json.loads(limited.out("comfy-guard", "status", "--json"))["comfyui"]["usage"]
    current = int(limited.get(f"{GROUP}/memory.current"))
    assert usage["memory_limit_bytes"] == MEMORY // 4096 * 4096 and current / 2 < usage["memory_bytes"] < current * 2, (usage, current)
    assert usage["tasks"] >= 1 and usage["cpu_seconds"] > 0 and usage["read_bytes"] is not None and usage["written_bytes"] is not None, usage
    page = limited.guest(limited.key).get("/metrics", key=True).body.decode()
    told = dict(line.rsplit(" ", 1) for line in page.splitlines() if line.startswith("comfy_guard_comfyui_"))
    assert float(told["comfy_guard_comfyui_memory_limit_bytes"]) == usage["memory_limit_bytes"], sorted(told)
    assert float(told["comfy_guard_comfyui_cpu_seconds_total"]) >= usage["cpu_seconds"], sorted(told)


def test_fork_bomb_stops_at_the_limit_and_guests_are_answered(limited):
    guest, before = limited.guest(limited.key), limited.pids()
    assert limited.order(FORK_BOMB)["rc"] == 0
    refused = until(lambda: int(dict(line.split() for line in limited.get(f"{GROUP}/pids.events").splitlines())["max"]), 60, "the limit is felt", every=0.5)
    assert refused > 0
    assert int(limited.get(f"{GROUP}/pids.current")) <= TASKS
    with Load(guest, "/health", threads=1, pause=0.2) as load:
        until(lambda: sum(load.seen.values()) >= 5, 120, "answers meanwhile", every=0.5)
    assert set(load.seen) <= {200, 503}, load.seen
    after = limited.pids()
    assert {role: after[role] for role in ("supervisor", "gateway", "sensor")} == {role: before[role] for role in ("supervisor", "gateway", "sensor")}
    # And a stop ends all of it: nothing forks faster than its group is killed.
    limited.run("systemctl", "stop", "comfy-guard.socket", "comfy-guard.service", within=45)
    assert limited.of_the_guard() == []
    limited.run("systemctl", "start", "comfy-guard.service")
    limited.until_served(limited.key)


def test_exhausted_memory_kills_comfyui_alone_and_it_comes_back(limited):
    guest, before = limited.guest(limited.key), limited.pids()
    with Load(guest, "/health", threads=2, pause=0.1) as load:
        assert limited.order(EXHAUST)["rc"] == 0
        until(lambda: limited.pids().get("comfyui") not in (None, before["comfyui"]), 120, "another ComfyUI", every=0.5)
        until(guest.healthy, 120, "guests are served again", every=0.2)
    after = limited.pids()
    assert {role: after[role] for role in ("supervisor", "gateway", "sensor")} == {role: before[role] for role in ("supervisor", "gateway", "sensor")}
    assert set(load.seen) == {200, 503}, load.seen
    assert limited.unit("ActiveState", "Result") == {"ActiveState": "active", "Result": "success"}
    # The kernel ended it for its own limit, not for the machine's.
    assert "oom-kill:constraint=CONSTRAINT_MEMCG" in limited.run("journalctl", "-k", "--no-pager").stdout
    assert guest.get("/queue", key=True).status == 200

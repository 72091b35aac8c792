"""A supervisor that hangs or dies: systemd starts another, the port stays open, and nothing of the old ComfyUI is left."""

import time

from appliance.boxes.load import Load
from harness.wait import Stopwatch, until

# Leaves its session, its group and its parent, hears no signal that can be ignored, and would run for an hour.
LEFT_BEHIND = """
import os, signal, sys
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
for number in (1, 2):
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)
os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(3600)", "left-behind"])
"""


def leave_behind(box) -> None:
    """ComfyUI starts what its end should not end."""
    assert box.order(LEFT_BEHIND)["rc"] == 0
    until(lambda: left_behind(box), 5, "the process left behind runs")


def left_behind(box) -> list[str]:
    return [args for args in box.of_the_guard() if args.endswith("left-behind")]


def test_nothing_outlives_a_stop(box):
    """Pitfall P28: double fork, a session of its own, no ear for signals."""
    leave_behind(box)
    box.run("systemctl", "stop", "comfy-guard.socket", "comfy-guard.service", within=40)
    assert box.of_the_guard() == []
    assert box.unit("Result")["Result"] == "success"
    box.run("systemctl", "start", "comfy-guard.service")
    box.until_served(box.key)


def test_killed_supervisor_comes_back_the_port_stays_and_leftovers_are_gone(box):
    before, guest = box.pids(), box.guest(box.key)
    leave_behind(box)
    with Load(guest, "/health", pause=0.1 * box.patience) as load:
        box.run("kill", "-9", before["supervisor"])
        # Seen by what changes: /health says 200 until the kill is felt.
        until(lambda: box.pids().get("supervisor") not in (None, before["supervisor"]), 15 * box.patience, "another supervisor", every=0.2)
        box.until_served(box.key)
    after = box.pids()
    assert not set(before.values()) & set(after.values()), (before, after)
    assert left_behind(box) == []
    # What was being answered at that moment is cut off; no connection is refused, and none is left without an answer.
    assert load.seen["refused"] == 0, load.seen
    assert {kind for kind in load.seen if isinstance(kind, int)} <= {200, 503}, load.seen


def test_killed_gateway_and_comfyui_are_the_guards_own_affair(container):
    """systemd has nothing to do: the supervisor starts them again."""
    box = container
    restarts = box.unit("NRestarts")
    for role in ("gateway", "sensor", "comfyui"):
        before = box.pids()
        box.run("kill", "-9", before[role])
        until(lambda: box.pids().get(role) not in (None, before[role]), 10 * box.patience, f"another {role}", every=0.1)
        box.until_served(box.key)
        after = box.pids()
        assert {name for name in before if after[name] != before[name]} == {role}
    assert box.unit("NRestarts") == restarts


def test_hung_supervisor_is_started_again_by_the_watchdog(new_serving):
    box = new_serving()
    assert 0 < int(box.unit("WatchdogUSec")["WatchdogUSec"].removesuffix("s")) <= 30
    box.put("/etc/systemd/system/comfy-guard.service.d/watchdog.conf", "[Service]\nWatchdogSec=6s\n")
    box.run("systemctl", "daemon-reload")
    box.run("systemctl", "restart", "comfy-guard")
    box.until_served(box.key)
    before, watch = box.pids(), Stopwatch()
    # Fed while all is well: it outlives the time by a good deal.
    time.sleep(8)
    assert box.pids() == before
    watch = Stopwatch()
    box.run("kill", "-STOP", before["supervisor"])
    until(lambda: box.pids().get("supervisor") not in (None, before["supervisor"]), 20, "another supervisor", every=0.2)
    assert watch() < 6 + 2 + 4, watch()
    assert "watchdog" in box.journal("-u", "comfy-guard").lower()
    box.until_served(box.key)
    assert not set(before.values()) & set(box.pids().values())

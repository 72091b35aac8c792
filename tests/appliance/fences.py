"""Landlock and AppArmor on an installed box: in force, said so, and each seen to refuse what nothing else refuses."""

import json
import re

import pytest

# Root's, and open to everybody: no mode of a file stands in the way.
BY_APPARMOR = "/boot/open-to-all"
# ComfyUI's own by mode and by the unit's rules, and in none of the folders that the configuration lets it write to.
BY_LANDLOCK = "/opt/comfyui/not-writable"

AS_COMFYUI = ["setpriv", "--reuid", "comfyui", "--regid", "comfyui", "--clear-groups"]


SAID = {
    "supervisor": r"sandbox of the supervisor: seccomp \d+ calls, {memory}",
    "sensor": r"sandbox of the sensor: seccomp \d+ calls, Landlock ABI \d+ \(files",
    "gateway": r"sandbox of the gateway: seccomp \d+ calls, Landlock ABI \d+ \(files.*, {memory}",
    "ComfyUI": r"ComfyUI's cage: standard; seccomp: \d+ calls refused; Landlock ABI \d+ \(files",
}


def test_the_log_says_what_is_in_force(box):
    said = box.journal("-o", "cat", f"_SYSTEMD_INVOCATION_ID={box.unit('InvocationID')['InvocationID']}")
    memory = "memory locked" if box.may_lock_memory() else "memory not locked"
    assert {process for process, words in SAID.items() if not re.search(words.replace("{memory}", memory), said)} == set(), said


@pytest.mark.machine
def test_on_a_machine_memory_is_locked(machine):
    """What the container may lack: without this the line above could say "not locked" everywhere."""
    assert machine.may_lock_memory()


def test_landlock_refuses_comfyui_what_modes_allow(box):
    box.sh(f"mkdir -p {BY_LANDLOCK} && chown comfyui: {BY_LANDLOCK}")
    box.run(*AS_COMFYUI, "touch", f"{BY_LANDLOCK}/by-mode")
    told = box.order(f"open({BY_LANDLOCK + '/mine'!r}, 'w').close(); print('DID')")
    assert "PermissionError" in told["err"] and "DID" not in told["out"], told
    # And what it is meant to write to goes on working.
    assert box.order("open('/opt/comfyui/output/mine', 'w').close(); print('DID')")["out"] == "DID\n"
    box.sh(f"rm -r {BY_LANDLOCK} /opt/comfyui/output/mine")


@pytest.mark.machine
def test_apparmor_is_enforced_on_every_process(machine):
    profiles = json.loads(machine.out("aa-status", "--json"))
    assert profiles["profiles"]["comfy-guard"] == "enforce"
    for role, pid in machine.pids().items():
        assert machine.get(f"/proc/{pid}/attr/current").strip() == "comfy-guard (enforce)", role
    # Commands that root types are not bound by it.
    assert machine.out("sh", "-c", "cat /proc/self/attr/current") == "unconfined"


@pytest.mark.machine
def test_apparmor_refuses_comfyui_what_modes_allow(machine):
    machine.put(BY_APPARMOR, "text")
    machine.run(*AS_COMFYUI, "cat", BY_APPARMOR)
    told = machine.order(f"print(open({BY_APPARMOR!r}).read(), 'DID')")
    assert "PermissionError" in told["err"], told
    denied = machine.run("journalctl", "-k", "--no-pager").stdout + machine.run("journalctl", "--no-pager", "_TRANSPORT=audit").stdout
    assert f'apparmor="DENIED" operation="open" profile="comfy-guard" name="{BY_APPARMOR}"' in denied.replace(" class=\"file\"", "")
    # A day's work of the guard and ComfyUI is not in that list.
    others = [line for line in denied.splitlines() if 'apparmor="DENIED"' in line and BY_APPARMOR not in line]
    assert others == []
    machine.run("rm", BY_APPARMOR)

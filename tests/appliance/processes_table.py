"""What the kernel says of each process on an installed box equals the table in docs/sandbox.md (pitfall P28's ground).

The same table is compared with a guard that root starts by hand in tests/sandbox; here a unit starts it, with a filter of its own.
"""

import json

from sandbox.kernels_view import PROCESSES, ROWS, TABLE, capabilities

# What the box's kernel says of these processes: status, limits, names of user and groups, whose the files in /proc are.
LOOK = """
import grp, json, os, pwd, re
def look(pid):
    status = dict(re.findall(r"^(\\w+):[ \\t]*(.*)$", open(f"/proc/{{pid}}/status").read(), re.M))
    limits = {{name.strip(): [soft, hard] for name, soft, hard in re.findall(r"^(Max .{{20}})\\s*(\\S+)\\s+(\\S+)", open(f"/proc/{{pid}}/limits").read(), re.M)}}
    return {{"status": status, "limits": limits, "users": sorted({{pwd.getpwuid(int(number)).pw_name for number in status["Uid"].split()}}),
            "groups": sorted(grp.getgrgid(int(number)).gr_name for number in status["Groups"].split()),
            "owner": pwd.getpwuid(os.stat(f"/proc/{{pid}}/environ").st_uid).pw_name}}
print(json.dumps({{role: look(pid) for role, pid in {pids!r}.items()}}))
"""
# comfyui.groups, of which those are set that the box has.
CONFIGURED = {"video", "render"}
UNIT = "/sys/fs/cgroup/system.slice/comfy-guard.service"


def cell(row: str, one: dict, user: str) -> str:
    """What the table should say in this row of a process that looks so."""
    if row == "user":
        return " ".join(one["users"])
    if row == "supplementary groups":
        groups = set(one["groups"])
        return "none" if not groups else "none but its own" if groups == {user} else "`comfyui.groups`" if groups <= CONFIGURED else str(groups)
    if row == "reads and traces it":
        return "root" if one["owner"] == "root" else "root, its own user"
    if row.startswith("Cap"):
        return capabilities(one["status"][row])
    if row.startswith("Max "):
        soft, hard = one["limits"][row]
        return soft if soft == hard else f"{soft} of {hard}"
    return one["status"][row]


def test_the_kernel_says_what_the_table_says(box):
    pids = box.pids()
    looks = json.loads(box.python(LOOK.format(pids=pids)))
    # The unit's own filters come first and are in every process; the table counts the guard's.
    by_unit = int(looks["supervisor"]["status"]["Seccomp_filters"]) - int(TABLE["Seccomp_filters", "supervisor"])
    assert by_unit > 0
    told, may_lock = box.unit("LimitNPROC")["LimitNPROC"], box.may_lock_memory()
    # Where ComfyUI's group counts its tasks, no limit of the process' own is needed.
    counted = "pids" in box.get(f"{UNIT}/cgroup.controllers").split()
    found, expected = {}, {}
    for process in PROCESSES:
        for row in ROWS:
            want = TABLE[row, process]
            if (row, process) == ("Max processes", "ComfyUI") and counted:
                want = "as started"
            if want == "as started":
                want = "unlimited" if told == "infinity" else told
            elif want.endswith("if root may set it"):
                # LimitMEMLOCK=infinity in the unit, which a container's host may not allow.
                want = want.split()[0] if may_lock else looks["supervisor"]["limits"][row][1]
            elif row == "Seccomp_filters":
                want = str(int(want) + by_unit)
            expected[row, process] = want
            found[row, process] = cell(row, looks[process.lower()], TABLE["user", process])
    assert found == expected


def test_nobody_else_is_a_user_of_the_guards(box):
    """Three users, four processes: one more would be one that no table tells of."""
    users = [user for _, _, user, _ in box.processes()]
    assert [users.count(name) for name in ("comfy-guard", "comfy-guard-net", "comfyui")] == [1, 2, 1]

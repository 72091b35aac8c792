"""A hostile custom node against the guard on an installed box (pitfall P28): what it must not reach, tried from inside ComfyUI.

Where root can do the same, it does so first: an attack that fails for a reason of its own would prove nothing.
"""

import json

from appliance.boxes import packages
from behaviour.sessions import Session
from harness.guard import strong_key
from harness.wait import until

KEY = "/etc/comfy-guard/key"
TLS = "/var/lib/comfy-guard/tls"
SESSIONS = "/var/lib/comfy-guard/sessions.json"
UNIT = "/sys/fs/cgroup/system.slice/comfy-guard.service"

READ = "print(open({0!r}, 'rb').read(1) and 'DID')"
APPEND = "open({0!r}, 'ab').close(); print('DID')"
MAKE = "import os; os.close(os.open({0!r}, os.O_CREAT | os.O_WRONLY)); os.unlink({0!r}); print('DID')"
LIST = "import os; os.listdir({0!r}); print('DID')"

FILES = {
    "read the key's hash": READ.format(KEY),
    "read the TLS key": READ.format(f"{TLS}/leaf-key.pem"),
    "read the authority's key": READ.format(f"{TLS}/ca-key.pem"),
    "read the sessions": READ.format(SESSIONS),
    "list the state directory": LIST.format("/var/lib/comfy-guard"),
    "list the runtime directory": LIST.format("/run/comfy-guard"),
    "write the key": APPEND.format(KEY),
    "write the configuration": APPEND.format("/etc/comfy-guard/config.toml"),
    "add to the configuration": MAKE.format("/etc/comfy-guard/conf.d/99-mine.toml"),
    "add a drop-in": MAKE.format("/etc/systemd/system/mine.conf"),
    "add a program": MAKE.format("/usr/bin/mine"),
    "write to the state directory": MAKE.format("/var/lib/comfy-guard/mine"),
}

# {pid} is each of the guard's processes in turn.
PROCESSES = {
    "read its memory": "open('/proc/{pid}/mem', 'rb').close(); print('DID')",
    "read its environment": "print('DID' if open('/proc/{pid}/environ', 'rb').read() is not None else '')",
    "read its open files": "import os; os.listdir('/proc/{pid}/fd'); print('DID')",
    "signal it": "import os; os.kill({pid}, 0); print('DID')",
    "trace it": """
import ctypes, os
library = ctypes.CDLL(None, use_errno=True)
SEIZE, DETACH = 0x4206, 17
if library.ptrace(SEIZE, {pid}, None, None) == 0:
    print("DID")
else:
    print(os.strerror(ctypes.get_errno()))
""",
    "read its memory by another call": """
import ctypes, os
class Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
library, kept = ctypes.CDLL(None, use_errno=True), ctypes.create_string_buffer(8)
# Where its program's name is kept: any mapped place would do, and this one is in every process.
start = int(open("/proc/self/maps").readline().split("-")[0], 16)
for line in open("/proc/{pid}/maps") if os.access("/proc/{pid}/maps", os.R_OK) and os.getuid() == 0 else ["%x-" % start]:
    start = int(line.split("-")[0], 16)
    break
here, there = Piece(ctypes.addressof(kept), 8), Piece(start, 8)
got = library.process_vm_readv({pid}, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
print("DID" if got == 8 else os.strerror(ctypes.get_errno()))
""",
}

JOIN = "open({0!r}, 'w').write('0'); print('DID')"
GROUPS = {
    "the root group": JOIN.format("/sys/fs/cgroup/cgroup.procs"),
    "another slice": JOIN.format("/sys/fs/cgroup/user.slice/cgroup.procs"),
    "the guard's own group": JOIN.format(f"{UNIT}/guard/cgroup.procs"),
    "the unit's group": JOIN.format(f"{UNIT}/cgroup.procs"),
    "a group of its own making": "import os; os.mkdir('/sys/fs/cgroup/mine'); print('DID'); os.rmdir('/sys/fs/cgroup/mine')",
}

BIND = """
import socket
one = socket.socket(socket.{0}, socket.SOCK_STREAM)
one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
one.bind(({1!r}, 443))
one.listen()
print("DID")
"""
BINDS = {"everywhere": BIND.format("AF_INET6", "::"), "IPv4": BIND.format("AF_INET", "0.0.0.0"), "loopback": BIND.format("AF_INET", "127.0.0.1")}


def reached(told: dict[str, str]) -> dict[str, str]:
    """Acts that succeeded, and those that failed for a reason that has nothing to do with a right."""
    refusals = ("Permission", "permitted", "Read-only", "No such process", "No such file", "denied")
    return {act: said for act, said in told.items() if not any(word in said for word in refusals)}


def test_the_guards_files_are_out_of_reach(box):
    Session(box.guest(box.key))
    assert set(box.root_each(FILES).values()) == {"DID"}
    assert reached(box.order_each(FILES)) == {}


def test_the_guards_processes_are_out_of_reach(box):
    pids = box.pids()
    acts = {f"{role}: {act}": code.replace("{pid}", str(pids[role])) for act, code in PROCESSES.items() for role in ("supervisor", "gateway", "sensor")}
    by_root = box.root_each(acts)
    assert set(by_root.values()) == {"DID"}, by_root
    assert reached(box.order_each(acts)) == {}
    assert box.pids() == pids


def test_comfyui_stays_in_its_control_group(box):
    inside = box.order("print(open('/proc/self/cgroup').read())")["out"]
    assert inside.strip().splitlines()[-1].endswith("/system.slice/comfy-guard.service/comfyui"), inside
    by_root = box.root_each({name: act for name, act in GROUPS.items() if name != "the unit's group"})
    assert set(by_root.values()) == {"DID"}, by_root
    assert reached(box.order_each(GROUPS)) == {}


def test_the_guards_port_is_not_shared(box):
    assert reached(box.order_each(BINDS)) == {}
    # With the right to low ports the attack would work: it is not the kernel's general refusal that is seen.
    assert "in use" in box.root_each(BINDS)["everywhere"]


def test_the_user_comfyui_cannot_become_another(box):
    told = box.order("""
import json, os
seen = {}
for name, act in {"setuid": lambda: os.setuid(0), "setgid": lambda: os.setgid(0), "setgroups": lambda: os.setgroups([0])}.items():
    try:
        act(); seen[name] = "DID"
    except OSError as error:
        seen[name] = error.strerror
# What has its owner's rights by mode is run without them.
seen["su"] = os.popen("/usr/bin/passwd --status root 2>&1; id -u").read()
print(json.dumps(seen))
""")
    seen = json.loads(told["out"])
    assert {seen[name] for name in ("setuid", "setgid", "setgroups")} == {"Operation not permitted"}, seen
    assert seen["su"].splitlines()[-1] == box.out("id", "-u", "comfyui"), seen


def test_a_full_disk_of_comfyuis_making_stops_no_guest_and_loses_no_key(new_container):
    """One disk for ComfyUI's pictures, the key and the state directory, filled to its last byte from inside ComfyUI."""
    box = new_container()
    packages.add_repository(box)
    packages.install(box)
    packages.give_comfyui_its_folders(box)
    box.sh("""mkdir /small && mount -t tmpfs -o size=3M,mode=755 small /small
        for place in /etc/comfy-guard /var/lib/comfy-guard /opt/comfyui/output; do
            cp -a $place /small/$(basename $place) && mount --bind /small/$(basename $place) $place; done""")
    box.key = strong_key()
    guest, before = box.serve(box.key), box.sh(f"cat {KEY}").stdout
    Session(guest)
    pids = box.pids()
    box.order("""
import os, contextlib
kept = open("/opt/comfyui/output/filler", "wb", buffering=0)
with contextlib.suppress(OSError):
    while True:
        kept.write(b"x" * 4096)
with contextlib.suppress(OSError):
    while True:
        kept.write(b"x")
os.truncate("/opt/comfyui/output/filler", kept.tell() - 8192)
""")
    until(lambda: box.exists("/opt/comfyui/output/filler"), 10)
    # To the last byte, by root: the answer of the order above needed a little room itself.
    box.sh("cat /dev/zero > /small/rest 2>/dev/null || true")
    assert box.sh("df --output=avail /small | tail -1").stdout.strip() == "0"
    # Guests are served, sessions in memory go on, a new key is refused with the reason, and the old one stays whole.
    assert guest.get("/queue", key=True).status == 200
    done = box.run("comfy-guard", "set-key", "--stdin", stdin=strong_key(), check=False)
    assert done.returncode == 73 and "space" in done.stderr.lower(), done
    assert box.sh(f"cat {KEY}").stdout == before
    answer = guest.request("POST", "/auth_session", content=json.dumps({"key": box.key, "remember": True, "next": "/"}).encode(),
                           headers={"Content-Type": "application/json", "Origin": guest.url})
    assert answer.status == 500 and answer.json()["error"] == "session_not_kept", (answer.status, answer.body)
    assert box.pids() == pids
    box.sh("rm /small/rest /opt/comfyui/output/filler")
    Session(guest)
    box.run("systemctl", "restart", "comfy-guard")
    assert box.until_served(box.key).get("/queue", key=True).status == 200

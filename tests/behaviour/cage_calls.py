"""System calls and the network from inside ComfyUI's cage: what is refused and how, and what has to go on working."""

import itertools
import json
import os
import shutil
import socket
import subprocess
from contextlib import contextmanager

import pytest

from harness import places
from harness.cage import BY_CAGE, CALL, landlock, needs_landlock, needs_own_user

pytestmark = needs_own_user

# --- system calls -----------------------------------------------------------------------------------------------------

# By number (x86-64), with arguments that the kernel itself would look at; those marked "else" do something else without the cage.
DENIED = {
    "ptrace": (101, 0), "process_vm_readv": (310, 1, 0, 0, 0, 0, 0), "process_vm_writev": (311, 1, 0, 0, 0, 0, 0), "pidfd_getfd": (438, -1, 0, 0), "kcmp": (312, 1, 1, 99, 0, 0),
    "mount": (165, 0, 0, 0, 0, 0), "umount2": (166, 0, 0), "pivot_root": (155, 0, 0), "chroot": (161, 0), "fsopen": (430, 0, 0), "fsconfig": (431, -1, 0, 0, 0, 0),
    "fsmount": (432, -1, 0, 0), "fspick": (433, -1, 0, 0), "open_tree": (428, -1, 0, 0), "move_mount": (429, -1, 0, -1, 0, 0), "mount_setattr": (442, -1, 0, 0, 0, 0),
    "unshare": (272, 0), "unshare of users": (272, 0x10000000), "setns": (308, -1, 0), "clone of users": (56, 0x10000000 | 17, 0, 0, 0, 0), "clone of mounts": (56, 0x20000 | 17, 0, 0, 0, 0),
    "bpf": (321, 0, 0, 0), "perf_event_open": (298, 0, 0, -1, -1, 0), "userfaultfd": (323, 1), "io_uring_setup": (425, 1, 0), "io_uring_enter": (426, -1, 0, 0, 0, 0, 0),
    "io_uring_register": (427, -1, 0, 0, 0), "add_key": (248, 0, 0, 0, 0, 0), "request_key": (249, 0, 0, 0, 0), "keyctl": (250, 0, 0, 0, 0, 0), "init_module": (175, 0, 0, 0),
    "finit_module": (313, -1, 0, 0), "delete_module": (176, 0, 0), "kexec_load": (246, 0, 0, 0, 0), "kexec_file_load": (320, -1, -1, 0, 0, 0), "reboot": (169, 0, 0, 0, 0),
    "swapon": (167, 0, 0), "swapoff": (168, 0), "settimeofday": (164, 0, 0), "clock_settime": (227, 0, 0), "adjtimex": (159, 0), "clock_adjtime": (305, 0, 0), "sethostname": (170, 0, 0),
    "setdomainname": (171, 0, 0), "syslog": (103, 10, 0, 0), "acct": (163, 0), "quotactl": (179, 0, 0, 0, 0), "quotactl_fd": (443, -1, 0, 0, 0), "vhangup": (153,),
    "open_by_handle_at": (304, -1, 0, 0), "fanotify_init": (300, 0, 0), "fanotify_mark": (301, -1, 0, 0, 0, 0), "iopl": (172, 0), "ioperm": (173, 0, 1, 0), "modify_ldt": (154, 9, 0, 0),
    "ustat": (136, 0, 0), "sysfs": (139, 3), "personality": (135, 0x0040000), "TIOCSTI": (16, -1, 0x5412, 0), "TIOCLINUX": (16, -1, 0x541C, 0),
    "AF_PACKET": (41, 17, 2, 0), "AF_VSOCK": (41, 40, 1, 0), "AF_ALG": (41, 38, 5, 0), "AF_KEY": (41, 15, 3, 2), "AF_BLUETOOTH": (41, 31, 3, 1), "AF_CAN": (41, 29, 3, 1),
    "netfilter": (41, 16, 3, 12), "audit": (41, 16, 3, 9), "uevents": (41, 16, 3, 15),
}  # fmt: skip
# What the kernel does or says otherwise when nobody refuses; what it says about the rest is EPERM too.
FREE = ["unshare", "setns", "pidfd_getfd", "add_key", "keyctl", "sysfs", "personality", "TIOCSTI", "uevents", "process_vm_readv"]

x86_64 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86-64")


@x86_64
@pytest.mark.parametrize("level", ["standard", "strict"])
def test_every_denied_call_is_refused(level, request):
    cage = request.getfixturevalue(level)
    table = {name: list(arguments) for name, arguments in DENIED.items()}
    said = cage.does(CALL + f"result = {{name: call(*arguments) for name, arguments in {table!r}.items()}}")
    assert {name: errno for name, errno in said.items() if errno != "EPERM"} == {}
    assert cage.does(CALL + "result = call(435, 0, 0)") == "ENOSYS"  # clone3: the C library falls back to clone


@x86_64
def test_the_calls_are_not_refused_to_comfyuis_user_elsewhere():
    """Outside of the guard: what it starts has its filter, at "off" too."""
    table = {name: list(DENIED[name]) for name in FREE}
    source = CALL + f"import json\nprint(json.dumps({{name: call(*arguments) for name, arguments in {table!r}.items()}}))"
    line = ["setpriv", "--reuid", places.COMFYUI_USER, "--regid", places.COMFYUI_USER, "--clear-groups", "--no-new-privs", str(places.standin()[1]), "-c", source]
    said = json.loads(subprocess.run(line, capture_output=True, check=True, timeout=20).stdout)
    assert {name: errno for name, errno in said.items() if errno == "EPERM"} == {}


# --- the network ------------------------------------------------------------------------------------------------------


@contextmanager
def a_listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_the_way_out_is_open_at_standard_and_closed_at_strict(standard, strict):
    with a_listener() as port:
        for cage, acts in itertools.product((standard, strict), (CONNECT, FAST_OPEN, DATAGRAM, MPTCP)):
            said = cage.node(acts.format(port=port))
            if cage is strict:
                assert said.get("refused") in BY_CAGE, (acts, said)
            elif acts in (CONNECT, DATAGRAM):
                assert said.get("result") == "out", said
    assert strict.guard.get("/queue", key=True).status == 200


CONNECT = "import socket\nsocket.create_connection(('127.0.0.1', {port}), 5).close()\nresult = 'out'"
FAST_OPEN = "import socket\nsocket.socket().sendto(b'x', 0x20000000, ('127.0.0.1', {port}))\nresult = 'out'"
DATAGRAM = "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))\nresult = 'out'"
MPTCP = "import socket\none = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)\none.connect(('127.0.0.1', {port}))\nresult = 'out'"


def test_strict_opens_no_other_port(strict, standard):
    source = "import socket\none = socket.create_server(('127.0.0.1', 0))\nresult = 'open'"
    assert standard.does(source) == "open"
    if landlock() >= 4:
        assert strict.refused(source) == "EACCES"


# --- what has to go on working ------------------------------------------------------------------------------------------

WORKS = {
    "a program": "import subprocess\nresult = subprocess.run(['echo', 'yes'], capture_output=True, text=True).stdout.strip()",
    "a pipeline of the shell": "import subprocess\nresult = subprocess.run('echo no | sed s/no/yes/', shell=True, capture_output=True, text=True).stdout.strip()",
    "a pool of forks": "import multiprocessing as m\nwith m.get_context('fork').Pool(2) as pool:\n    result = 'yes' if pool.map(abs, [-1, -2]) == [1, 2] else 'no'",
    "a pool of new Pythons": "import sys, subprocess\nresult = subprocess.run([sys.executable, '-c', 'import multiprocessing as m\\nif __name__ == \"__main__\":\\n with m.get_context(\"spawn\").Pool(2) as p:\\n  print(\"yes\" if p.map(abs, [-1]) == [1] else 0)'], capture_output=True, text=True).stdout.strip()",
    "semaphores and shared memory": "import multiprocessing as m\nfrom multiprocessing import shared_memory as s\nlock, box = m.Semaphore(1), s.SharedMemory(create=True, size=1 << 20)\nwith lock:\n    box.buf[0] = 7\n    result = 'yes' if box.buf[0] == 7 else 'no'\nbox.close()\nbox.unlink()",
    "code made at run time": "import mmap, ctypes\ncode = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)\ncode.write(b'\\xb8\\x07\\0\\0\\0\\xc3')\nresult = 'yes' if ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))() == 7 else 'no'",
    "a library made at run time": "import ctypes, glob, shutil\nshutil.copy(glob.glob('/lib/*/libc.so.6')[0], '/tmp/comfy-guard-cage-lib.so')\nresult = 'yes' if ctypes.CDLL('/tmp/comfy-guard-cage-lib.so').abs(-1) == 1 else 'no'",
    "threads": "import threading\nmade = []\nseveral = [threading.Thread(target=made.append, args=(n,)) for n in range(50)]\n[one.start() for one in several]\n[one.join() for one in several]\nresult = 'yes' if len(made) == 50 else 'no'",
    "asyncio's programs": "import asyncio\nasync def run():\n    child = await asyncio.create_subprocess_exec('echo', 'yes', stdout=-1)\n    return (await child.communicate())[0].decode().strip()\nresult = asyncio.new_event_loop().run_until_complete(run())",
    "locked and placed memory": "import ctypes\nlibc = ctypes.CDLL(None)\nroom = ctypes.create_string_buffer(1 << 16)\nresult = 'yes' if libc.mlock(room, 1 << 16) == 0 and libc.syscall(238, 0, 0, 0) == 0 else 'no'",
    "priorities and processors": "import os\nos.sched_setaffinity(0, os.sched_getaffinity(0))\nos.nice(0)\nresult = 'yes'",
    "local sockets": "import socket\na, b = socket.socketpair()\na.send(b'yes')\nresult = b.recv(9).decode()",
    "links and moves in a folder": "import os, tempfile\nd = tempfile.mkdtemp(dir={base!r} + '/output')\nos.makedirs(d + '/a'); os.makedirs(d + '/b')\nopen(d + '/a/f', 'w').close()\nos.rename(d + '/a/f', d + '/b/f')\nos.link(d + '/b/f', d + '/a/g')\nos.symlink('f', d + '/b/h')\nos.truncate(d + '/b/f', 10)\nresult = 'yes'",
    "a move from one folder to another": "import os\nopen({base!r} + '/temp/m', 'w').close()\nos.replace({base!r} + '/temp/m', {base!r} + '/output/m')\nresult = 'yes'",
    "its own name": "open('/proc/self/comm', 'w').write('node')\nresult = 'yes'",
    "the list of interfaces": "import socket\nresult = 'yes' if socket.if_nameindex() else 'no'",
    "a database in user": "import sqlite3\none = sqlite3.connect({base!r} + '/user/test.db')\none.execute('pragma journal_mode = wal')\none.execute('create table if not exists t (a)')\none.commit()\nresult = 'yes'",
}


@pytest.mark.parametrize("name", WORKS)
@pytest.mark.parametrize("level", ["standard", "strict"])
def test_what_comfyui_does_works(level, name, request):
    if name in ("code made at run time", "locked and placed memory") and os.uname().machine != "x86_64":
        pytest.skip("machine code of x86-64")
    if name == "a move from one folder to another" and landlock() < 2:
        pytest.skip("this Landlock refuses moves between folders")
    cage = request.getfixturevalue(level)
    assert cage.does(WORKS[name].replace("{base!r}", repr(str(cage.base)))) == "yes"


WHEEL = """
import subprocess, sys, zipfile
wheel = {base!r} + '/temp/node_part-1.0-py3-none-any.whl'
with zipfile.ZipFile(wheel, 'w') as file:
    file.writestr('node_part.py', 'answer = 42')
    file.writestr('node_part-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: node-part\\nVersion: 1.0\\n')
    file.writestr('node_part-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    file.writestr('node_part-1.0.dist-info/RECORD', '')
done = subprocess.run([sys.executable, '-m', 'pip', 'install', '--no-index', '--no-deps', '--disable-pip-version-check', *{where!r}, wheel], capture_output=True, text=True)
result = [done.returncode, done.stderr[-300:]]
"""


@needs_landlock
def test_a_node_is_installed_with_what_it_needs(standard):
    """As ComfyUI-Manager does it: a clone below custom_nodes, packages beside it. The venv itself is closed until it is configured."""
    target = standard.base / "custom_nodes/node-packages"
    code, told = standard.does(WHEEL.format(base=str(standard.base), where=["--target", str(target)]))
    assert code == 0, told
    assert (target / "node_part.py").read_text() == "answer = 42"
    if shutil.which("git"):
        line = "import subprocess\nresult = subprocess.run({line!r}, shell=True, capture_output=True, text=True).stderr + '.'"
        make = f"cd {standard.base}/temp && git init -q origin && cd origin && git -c user.name=a -c user.email=a commit -q --allow-empty -m one"
        clone = f"git clone -q {standard.base}/temp/origin {standard.base}/custom_nodes/cloned && git -C {standard.base}/custom_nodes/cloned pull -q"
        assert standard.does(line.format(line=make)) == "."
        assert standard.does(line.format(line=clone)) == "."
        assert (standard.base / "custom_nodes/cloned/.git").is_dir()

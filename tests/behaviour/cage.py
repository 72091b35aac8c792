"""What a hostile custom node tries: the guard's secrets, its processes, its port, privileges, and files that are not ComfyUI's.

P28. Each act runs in ComfyUI's own process. Acts that plain file modes refuse already are tried at every level; those that only the cage
refuses are also tried at "off", where they succeed: a test that cannot fail proves nothing.
"""

import os
import shutil

import pytest

from harness import places, procs
from harness.cage import BY_CAGE, CALL, a_folder, caged, landlock, needs_landlock, needs_own_user
from harness.guard import Guard
from harness.wait import until

pytestmark = needs_own_user

# --- the guard's secrets and processes, at every level ---------------------------------------------------------------


def test_secrets_cannot_be_read(any_level):
    guard = any_level.guard
    secrets = [guard.key_file, *(path for path in (guard.dir / "state").rglob("*") if path.is_file() and path.name != "ca.pem")]
    assert any("key" in path.name for path in secrets[1:])
    for path in secrets:
        assert any_level.refused(f"open({str(path)!r}).read()") == "EACCES", path
        assert any_level.refused(f"import os; os.open({str(path)!r}, os.O_WRONLY)") == "EACCES", path
        assert any_level.refused(f"import os; os.unlink({str(path)!r})") == "EACCES", path


@pytest.mark.parametrize("role", ["supervisor", "gateway", "sensor"])
def test_the_guards_processes_cannot_be_touched(any_level, role):
    pid = any_level.guard.pids()[role]
    for name in ("mem", "environ", "maps", "auxv", "io"):
        assert any_level.refused(f"open('/proc/{pid}/{name}', 'rb').read(1)") in BY_CAGE, name
    for name in ("fd", "map_files", "fdinfo"):
        assert any_level.refused(f"import os; os.listdir('/proc/{pid}/{name}')") in BY_CAGE, name
    for name in ("root", "cwd", "exe"):
        assert any_level.refused(f"import os; os.readlink('/proc/{pid}/{name}')") in BY_CAGE, name
    for number in (0, 9, 15, 19):
        assert any_level.refused(f"import os; os.kill({pid}, {number})") == "EPERM", number
    assert any_level.refused(f"import os, signal; signal.pidfd_send_signal(os.pidfd_open({pid}), 9)") == "EPERM"
    assert any_level.does(CALL + f"result = call(101, 16, {pid}, 0, 0)") == "EPERM"  # ptrace(PTRACE_ATTACH)
    assert any_level.does(CALL + f"result = call(101, 0x4206, {pid}, 0, 0)") == "EPERM"  # ptrace(PTRACE_SEIZE)
    assert any_level.does(CALL + READ_OTHER.format(pid=pid)) == "EPERM"
    assert any_level.refused(f"import resource; resource.prlimit({pid}, resource.RLIMIT_NOFILE, (0, 0))") == "EPERM"
    assert any_level.refused(f"import os; os.sched_setaffinity({pid}, [0])") == "EPERM"
    assert procs.alive(pid)


READ_OTHER = """
class Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
room = ctypes.create_string_buffer(8)
here, there = Piece(ctypes.addressof(room), 8), Piece(0x400000, 8)
result = call(310, {pid}, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
"""


def test_the_guards_port_cannot_be_taken(any_level):
    port = any_level.guard.port
    for family, address in (("AF_INET", "127.0.0.1"), ("AF_INET", "0.0.0.0"), ("AF_INET6", "::")):
        for option in ("SO_REUSEADDR", "SO_REUSEPORT"):
            source = (f"import socket as s\none = s.socket(s.{family}, s.SOCK_STREAM)\none.setsockopt(s.SOL_SOCKET, s.{option}, 1)\n"
                      f"one.bind(({address!r}, {port}))\none.listen()")
            assert any_level.refused(source) in {"EADDRINUSE", "EACCES"}, (address, option)


def test_no_privilege_can_be_gained(any_level):
    assert any_level.does("import re; result = re.findall(r'^(?:Cap(?:Inh|Prm|Eff|Amb)):\\s*(\\w+)', open('/proc/self/status').read(), re.M)") == ["0" * 16] * 4
    assert any_level.does("import re; result = re.search(r'NoNewPrivs:\\s*(\\d)', open('/proc/self/status').read())[1]") == "1"
    for source in ("os.setuid(0)", "os.setgroups([0])", "os.setresuid(0, 0, 0)", "os.nice(-5)", "os.mknod('/tmp/comfy-guard-node', 0o60600, 0)"):
        assert any_level.refused(f"import os; {source}") in BY_CAGE, source
    # A setuid program is started without its privilege.
    assert any_level.does("import subprocess; result = subprocess.run(['/bin/su', '-c', 'id -u'], capture_output=True, stdin=subprocess.DEVNULL).returncode") != 0


def test_limits_are_comfyuis_own(any_level):
    """Not those that the guard raised for itself."""
    soft, hard = any_level.does("import resource as r; result = [r.getrlimit(n) for n in (r.RLIMIT_CORE, r.RLIMIT_MEMLOCK)]")
    assert soft == [0, 0] and hard == [8 << 20, 8 << 20]
    files, most = any_level.does("import resource as r; result = r.getrlimit(r.RLIMIT_NOFILE)")
    assert files == min(65536, most)


def test_the_guards_precedence_stays_with_the_guard():
    """What a unit's Nice= and OOMScoreAdjust= give is not for what is guarded."""
    # Less than one's own score takes a capability that root may lack in a container.
    with caged("standard", launcher=["sh", "-c", 'echo -500 >/proc/self/oom_score_adj; renice -n -5 -p $$ >&2; exec "$@"', "sh"]) as cage:
        supervisor = cage.guard.pids()["supervisor"]
        assert procs.read(supervisor, "oom_score_adj").strip() in (b"-500", b"0") and procs.stat(supervisor)[16] == "-5"
        assert cage.does("result = open('/proc/self/oom_score_adj').read().strip()") == "0"
        assert cage.does("import os; result = os.getpriority(os.PRIO_PROCESS, 0)") == 0


# --- files ------------------------------------------------------------------------------------------------------------

WRITE = "import os\npath = {path!r}\nos.makedirs(os.path.dirname(path), exist_ok=True)\nopen(path, 'w').write('x')\nresult = open(path).read()"


def test_comfyui_writes_to_its_own_folders(any_level):
    """On a first start, where none of them is there yet; and again after a restart, with the same folders."""
    for _ in range(2):
        for name in ("input", "output", "temp", "user"):
            assert any_level.does(WRITE.format(path=str(any_level.base / name / "sub" / "file"))) == "x"
        for path in ("/tmp/comfy-guard-cage-node", "/var/tmp/comfy-guard-cage-node", "/dev/shm/comfy-guard-cage-node"):
            assert any_level.does(WRITE.format(path=path)) == "x"
            any_level.does(f"import os; os.unlink({path!r}); result = 1")
        before = any_level.guard.pids()["comfyui"]
        os.kill(before, 9)
        until(lambda: any_level.guard.pids().get("comfyui", before) != before and any_level.guard.healthy(), 20, "a new ComfyUI")


@needs_landlock
@pytest.mark.parametrize("level", ["standard", "strict"])
def test_nothing_else_can_be_written(level, off, request):
    cage = request.getfixturevalue(level)
    for place in (cage.outside, cage.base):
        (place / "there").write_text("kept")
        (place / "folder").mkdir(exist_ok=True)
        for path in (place / "there", place / "folder"):
            shutil.chown(path, places.COMFYUI_USER, places.COMFYUI_USER)
    acts = {
        "make": "open(at + '/new', 'w')", "change": "open(at + '/there', 'a')", "truncate": "os.truncate(at + '/there', 0)", "remove": "os.unlink(at + '/there')",
        "rename": "os.rename(at + '/there', at + '/elsewhere')", "folder": "os.mkdir(at + '/made')", "remove folder": "os.rmdir(at + '/folder')",
        "link": "os.symlink('x', at + '/link')", "hard link": "os.link(at + '/there', at + '/hard')", "fifo": "os.mkfifo(at + '/fifo')",
        "socket": "import socket; socket.socket(socket.AF_UNIX).bind(at + '/socket')", "move in": "open('/tmp/comfy-guard-cage-m', 'w'); os.rename('/tmp/comfy-guard-cage-m', at + '/m')",
        "move out": "os.rename(at + '/there', '/tmp/comfy-guard-cage-o')",
    }
    old_kernel = landlock() < 3
    for name, act in acts.items():
        for place in (cage.outside, cage.base):
            if name == "truncate" and old_kernel:
                continue
            assert cage.refused(f"import os\nat = {str(place)!r}\n{act}") in BY_CAGE | {"EXDEV"}, (name, place)
    assert (cage.outside / "there").read_text() == "kept"
    for name in ("/etc/passwd", "/usr/bin/env", "/sys/kernel/mm/transparent_hugepage/enabled", "/proc/sys/kernel/core_pattern", f"/proc/{os.getpid()}/comm"):
        assert cage.refused(f"open({name!r}, 'a').write('x')") in BY_CAGE | {"EROFS"}, name
    # The same acts where only modes hold: they succeed, so it was the cage that refused.
    for name, act in acts.items():
        open_ = off.outside / f"{level} {name}"
        (open_ / "folder").mkdir(parents=True)
        (open_ / "there").write_text("kept")
        for path in (open_, open_ / "there", open_ / "folder"):
            shutil.chown(path, places.COMFYUI_USER, places.COMFYUI_USER)
        said = off.node(f"import os\nat = {str(open_)!r}\n{act}")
        if name not in ("move in", "move out"):  # other file systems
            assert "result" in said, (name, said)


@needs_landlock
def test_what_is_configured_can_be_written_and_read():
    with a_folder() as extra, a_folder() as library:
        (library / "model").write_text("weights")
        with caged("strict", {"writable": [str(extra), "/var/lib/comfy-guard-nowhere"], "readable": [str(library)]}) as cage:
            assert cage.does(WRITE.format(path=str(extra / "sub/file"))) == "x"
            assert cage.does(f"result = open({str(library / 'model')!r}).read()") == "weights"
            assert cage.refused(f"open({str(library / 'model')!r}, 'a')") == "EACCES"
            assert "/var/lib/comfy-guard-nowhere is not there" in cage.guard.log()


@needs_landlock
@pytest.mark.parametrize("level", ["standard", "strict"])
def test_a_link_in_the_place_of_a_folder_opens_nothing_at_the_next_start(level):
    """What is configured is opened at each start: a node that puts a link there must not choose what."""
    with a_folder() as target, caged(level) as cage:
        place = cage.base / "output/shared"
        cage.guard.change({"comfyui": {"writable": [str(place)]}})
        cage.does(f"import os\nos.makedirs({str(place)!r})\nresult = 1")
        cage.guard.reload()
        cage.guard.until_log("reloading")

        def start_again():
            before = cage.guard.pids()["comfyui"]
            os.kill(before, 9)
            until(lambda: cage.guard.pids().get("comfyui", before) != before and cage.guard.healthy(), 20, "a new ComfyUI")

        start_again()
        assert cage.does(WRITE.format(path=str(place / "file"))) == "x"
        cage.does(f"import os, shutil\nshutil.rmtree({str(place)!r})\nos.symlink({str(target)!r}, {str(place)!r})\nresult = 1")
        start_again()
        assert cage.refused(f"open({str(place / 'file')!r}, 'w')") == "EACCES"
        assert list(target.iterdir()) == []


@needs_landlock
def test_strict_reads_what_it_needs_and_no_more(strict, standard):
    for cage in (strict, standard):
        (cage.outside / "readable").write_text("for all")
        (cage.outside / "readable").chmod(0o644)
    assert standard.does(f"result = open({str(standard.outside / 'readable')!r}).read()") == "for all"
    assert strict.refused(f"open({str(strict.outside / 'readable')!r}).read()") == "EACCES"
    assert strict.refused("import os; os.listdir('/var/lib')") == "EACCES"
    assert strict.refused("import os; os.listdir('/')") == "EACCES"
    assert strict.does("import os; result = len(os.listdir('/usr/bin'))") > 10
    assert "MemTotal" in strict.does("result = open('/proc/meminfo').read()")


@needs_landlock
def test_strict_installs_nothing_and_executes_nothing_that_it_wrote(strict, standard):
    script = "import os, subprocess\npath = {path!r}\nopen(path, 'w').write('#!/bin/sh\\necho ran')\nos.chmod(path, 0o755)\nresult = subprocess.run([path], capture_output=True, text=True).stdout"
    assert strict.refused(WRITE.format(path=str(strict.base / "custom_nodes/evil/__init__.py"))) == "EACCES"
    assert strict.refused(WRITE.format(path=str(strict.base / "models/evil"))) == "EACCES"
    assert strict.refused(script.format(path=str(strict.base / "output/run"))) == "EACCES"
    assert standard.does(script.format(path=str(standard.base / "output/run"))) == "ran\n"
    assert standard.does(WRITE.format(path=str(standard.base / "custom_nodes/node/__init__.py"))) == "x"


@needs_landlock
@pytest.mark.parametrize("level", ["standard", "strict"])
def test_devices_are_those_that_are_needed(level, request):
    cage = request.getfixturevalue(level)
    for name in ("null", "zero", "full", "random", "urandom"):
        assert cage.does(f"result = len(open('/dev/{name}', 'rb').read(1))") == (0 if name == "null" else 1), name
    assert cage.does("result = open('/dev/null', 'w').write('x')") == 1
    assert cage.does("import pty; result = len(pty.openpty())") == 2
    for name in ("fuse", "kmsg", "net/tun", "vsock"):
        if os.path.exists(f"/dev/{name}") and os.stat(f"/dev/{name}").st_mode & 0o6 == 0o6:
            assert cage.refused(f"import os; os.open('/dev/{name}', os.O_RDWR)") == "EACCES", name


def test_an_interpreter_that_is_not_there_is_named():
    """By the stage that closes the cage, whose last line is what a ComfyUI that never lived leaves."""
    with a_folder() as base:
        missing = str(base / "nowhere/python")
        with Guard(config={"comfyui": {"python": missing}}, wait="answers") as guard:
            until(lambda: "cannot start" in guard.log() and missing in guard.log(), 10, "the reason")
            assert "comfyui.python" in guard.log()
            assert guard.get("/health").status == 503

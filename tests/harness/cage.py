"""ComfyUI's cage from inside: a guard whose ComfyUI runs what a test sends, as a hostile custom node's code would run."""

import itertools
import os
import pwd
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from . import places, procs
from .guard import Guard
from .wait import until

LEVELS = ["off", "standard", "strict"]
# Refused by the cage, not by the modes of files: Landlock says EACCES (EXDEV where a file would move between places).
BY_CAGE = {"EACCES", "EPERM"}


def landlock() -> int:
    """The kernel's version of Landlock; 0: none."""
    import ctypes

    return max(0, ctypes.CDLL(None).syscall(444, None, 0, 1))


needs_landlock = pytest.mark.skipif(landlock() < 1, reason="this kernel has no Landlock")
needs_own_user = pytest.mark.skipif(not places.AS_ROOT, reason="ComfyUI needs a user of its own here")


@contextmanager
def a_folder():
    """Outside of /tmp, where every level lets ComfyUI write; ComfyUI's user owns it, so that only the cage can refuse."""
    path = Path(tempfile.mkdtemp(prefix="comfy-guard-cage-", dir="/var/lib"))
    path.chmod(0o755)
    shutil.chown(path, places.COMFYUI_USER, places.COMFYUI_USER)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


class Caged:
    """A guard whose ComfyUI has all its folders in `base`, outside of /tmp, with `outside` beside it."""

    def __init__(self, guard: Guard, base: Path, outside: Path):
        self.guard, self.base, self.outside = guard, base, outside

    def node(self, source: str) -> dict:
        answer = self.guard.request("POST", "/_standin/node", content=source.encode(), key=True, timeout=60)
        assert answer.status == 200, answer.body
        return answer.json()

    def does(self, source: str):
        """The result of what has to work."""
        said = self.node(source)
        assert "result" in said, said
        return said["result"]

    def refused(self, source: str) -> str:
        """The errno of what must not work."""
        said = self.node(source)
        assert "refused" in said, f"{source}: {said}"
        return said["refused"]


@contextmanager
def caged(level: str, comfyui=None, **more):
    with a_folder() as base, a_folder() as outside:
        config = {"comfyui": {"sandbox": level, **(comfyui or {})}}
        arguments = ["--base-directory", str(base)]
        with Guard(config=config, comfyui_arguments=arguments, **more) as guard:
            yield Caged(guard, base, outside)


# One system call by its number (x86-64): "done" or the name of its errno.
CALL = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *arguments):
    ctypes.set_errno(0)
    if libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]) >= 0:
        return "done"
    return errno.errorcode[ctypes.get_errno()]
"""

# --- what leaves, and what multiplies

BOMB = """
import os, signal, time
born = 0
try:
    for _ in range({most}):
        pid = os.fork()
        if pid == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            time.sleep(600)
            os._exit(0)
        born += 1
except BlockingIOError:
    pass
result = born
"""
# Each leaves in another way what a stop reaches: the process group, the session, the parent, the terminal.
LEAVERS = {
    "double fork": "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(600)\n    os._exit(0)",
    "setsid": "import subprocess\nsubprocess.Popen(['setsid', '--fork', 'sleep', '600'])",
    "nohup": "import subprocess\nsubprocess.Popen('nohup sleep 600 >/dev/null 2>&1 &', shell=True)",
    "restart itself": "import subprocess\nsubprocess.Popen(['setsid', '--fork', 'sh', '-c', 'trap \"\" INT TERM HUP; while :; do sleep 1; done'])",
}


def comfyuis(guard) -> set[int]:
    """All processes of ComfyUI's user below this guard, adopted ones included."""
    uid = pwd.getpwnam(places.COMFYUI_USER).pw_uid
    return {pid for pid in procs.descendants(guard.process.pid) if procs.status(pid).get("Uid", "").split()[:1] == [str(uid)]}


# --- a cgroup of its own


def cgroup2() -> Path | None:
    """Where version 2 of the cgroups is mounted."""
    for line in open("/proc/self/mountinfo"):
        fields, _, kind = line.partition(" - ")
        if kind.startswith("cgroup2 "):
            return Path(fields.split()[4])
    return None


class Delegated:
    """A cgroup as systemd hands it over to a unit with Delegate=yes: marked, or (with User=) owned by the service's user."""

    def __init__(self, marked: bool):
        self.path = cgroup2() / f"comfy-guard-test-{os.getpid()}-{next(NUMBERS)}"
        self.path.mkdir()
        for name in ("memory", "cpu", "pids"):
            try:
                (cgroup2() / "cgroup.subtree_control").write_text(f"+{name}")
            except OSError:
                continue
        if marked:
            os.setxattr(self.path, "user.delegate", b"1")
        else:
            for path in (self.path, *(self.path / name for name in ("cgroup.procs", "cgroup.threads", "cgroup.subtree_control"))):
                shutil.chown(path, places.SERVICE_USER, places.SERVICE_USER)
        self.controllers = (self.path / "cgroup.controllers").read_text().split()
        # Into the group first, then what becomes the guard: it is alone in it, as a unit's main process is.
        self.launcher = ["sh", "-c", f'echo $$ >{self.path}/cgroup.procs && exec "$@"', "sh"]

    def members(self, name: str) -> list[int]:
        return [int(pid) for pid in (self.path / name / "cgroup.procs").read_text().split()]

    def populated(self) -> bool:
        return "populated 1" in (self.path / "comfyui/cgroup.events").read_text()

    def remove(self) -> None:
        for path in (self.path / "comfyui", self.path / "guard", self.path):
            if path.exists():
                if (path / "cgroup.kill").exists():
                    (path / "cgroup.kill").write_text("1")
                until(lambda path=path: "populated 0" in (path / "cgroup.events").read_text(), 10, f"{path} is empty")
                path.rmdir()


NUMBERS = itertools.count()
# As the unit starts it: the service's user with three ambient capabilities.
AS_SERVICE = ["setpriv", "--reuid", places.SERVICE_USER, "--regid", places.SERVICE_USER, "--clear-groups", "--inh-caps", "-all,+setuid,+setgid,+kill",
              "--ambient-caps", "-all,+setuid,+setgid,+kill", "--bounding-set", "-all,+setuid,+setgid,+kill"]


@contextmanager
def delegated(marked=True, config=None, **more):
    """A guard in a group of its own. Not marked: as the unit's user, who alone sees by the owner that it was handed over."""
    group = Delegated(marked)
    try:
        launcher = group.launcher if marked else [*group.launcher, *AS_SERVICE]

        def give(guard):
            if not marked:
                for path in (guard.dir, *guard.dir.rglob("*")):
                    if path.name != "out":
                        shutil.chown(path, places.SERVICE_USER, places.SERVICE_USER)

        # The key is set by a command that is not in the group.
        with Guard(config={"comfyui": {"stop_timeout": "4s", **(config or {})}}, before=lambda guard: (give(guard), setattr(guard, "launcher", launcher)), **more) as guard:
            guard.group = group
            yield guard
    finally:
        group.remove()

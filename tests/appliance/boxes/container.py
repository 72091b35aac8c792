"""A booted container: systemd-nspawn over a throw-away layer on the kept root file system, on a network of its own."""

import contextlib
import errno
import fcntl
import itertools
import os
import signal
import subprocess
from pathlib import Path

from harness import procs
from harness.wait import until

from . import kept
from .box import ENVIRONMENT, Box
from .rootfs import rootfs


class Container(Box):
    """`with Container() as box:` boots it; what it wrote is gone afterwards. `prepare(root)` may change its files before it boots."""

    def __init__(self, suite: str = "bookworm", prepare=None):
        self.suite, self.prepare = suite, prepare
        self.process: subprocess.Popen | None = None
        self.leader = 0

    def __enter__(self) -> "Container":
        with contextlib.ExitStack() as stack:
            self.number = stack.enter_context(_free_number())
            self.name, self.host, self.outside = f"cgbox{self.number}", f"10.213.{self.number}.2", f"10.213.{self.number}.1"
            self.listens_at = self.outside
            self.group = stack.enter_context(_control_group(self.name))
            self.root = stack.enter_context(layer(rootfs("container", self.suite), self.name))
            if self.prepare:
                self.prepare(self.root)
            stack.callback(self._end)
            self._boot()
            self._join_network()
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_) -> None:
        self.stack.close()

    def _boot(self) -> None:
        self.log = kept.KEPT / f"{self.name}.log"
        line = ["systemd-nspawn", f"--directory={self.root}", f"--machine={self.name}", "--register=no", "--keep-unit", "--boot", "--quiet", "--console=pipe",
                "--kill-signal=SIGRTMIN+3", "--private-network", f"--network-veth-extra={self.name}:host0", "--resolv-conf=off", "--timezone=off", "--link-journal=no",
                # nspawn refuses these by itself, which a machine's kernel does not.
                "--system-call-filter=landlock_create_ruleset landlock_add_rule landlock_restrict_self memfd_secret"]
        line = ["sh", "-ec", 'echo $$ > "$0/cgroup.procs"; exec "$@"', str(self.group), *line]
        with open(self.log, "wb") as log:
            # One hierarchy of control groups, as Debian has it, also where the host still has the mixed one.
            own = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
            self.process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=own)
        self.leader = until(self._find_leader, 20, f"{self.name} has a first process", every=0.05)
        until(self._booted, 60, f"{self.name} has booted: {self.log.read_text(errors='replace')[-500:]}", every=0.1)

    def _find_leader(self) -> int:
        assert self.process.poll() is None, f"systemd-nspawn ended: {self.log.read_text(errors='replace')}"
        return next((pid for pid in procs.descendants(self.process.pid) if procs.command(pid).startswith("/usr/lib/systemd/systemd")), 0)

    def _booted(self) -> bool:
        return self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded")

    def _join_network(self) -> None:
        subprocess.run(["ip", "addr", "add", f"{self.outside}/30", "dev", self.name], check=True)
        subprocess.run(["ip", "link", "set", self.name, "up"], check=True)
        self.sh(f"ip addr add {self.host}/30 dev host0 && ip link set host0 up && ip route add default via {self.outside}")

    def enter(self, line: list[str]) -> list[str]:
        own = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
        return ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "env", "-i", *own, *line]

    def _end(self) -> None:
        if not self.process:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            procs.end([pid for pid in (self.leader, self.process.pid) if pid])
            self.process.wait(10)


@contextlib.contextmanager
def layer(below: Path, name: str):
    """A writable copy of a folder, by an overlay: nothing is copied, and it is gone afterwards."""
    base = kept.KEPT / "layers" / name
    unmount(base / "root")
    kept.remove(base)
    for part in ("upper", "work", "root"):
        (base / part).mkdir(parents=True)
    options = f"lowerdir={below},upperdir={base}/upper,workdir={base}/work"
    subprocess.run(["mount", "-t", "overlay", "-o", options, name, str(base / "root")], check=True)
    try:
        yield base / "root"
    finally:
        unmount(base / "root")
        kept.remove(base)


@contextlib.contextmanager
def _control_group(name: str):
    """A group for one container: those that start in the same group would take each other's services for their own."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    root = next(Path(target) for _, target, kind, *_ in mounts if kind == "cgroup2")
    group = root / name
    group.mkdir(exist_ok=True)
    try:
        yield group
    finally:
        # Emptied by the container's end, which the kernel may notice a moment later.
        for below in sorted(group.rglob("*/"), reverse=True):
            until(lambda: _remove_group(below), 5, f"{below} is empty")
        until(lambda: _remove_group(group), 5, f"{group} is empty")


def _remove_group(group: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        try:
            group.rmdir()
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return False
    return True


def unmount(path: Path) -> None:
    while os.path.ismount(path):
        subprocess.run(["umount", str(path)], check=True)


@contextlib.contextmanager
def _free_number():
    """A number that no other container of this machine has; held until the end of the `with`."""
    folder = Path("/run/lock/comfy-guard-boxes")
    folder.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        with open(folder / str(number), "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield number
            return

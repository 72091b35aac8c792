"""A booted virtual machine: qemu with a throw-away layer on the kept image; control groups with controllers, Landlock, AppArmor.

Without hardware help, so that it runs wherever the tests do: a command costs some 0.2 s, a boot half a minute.
"""

import shlex
import subprocess
import tempfile

from harness import procs
from harness.guard import free_port
from harness.wait import until

from . import kept
from .box import ENVIRONMENT, Box
from .image import image


class Machine(Box):
    """`with Machine() as box:` boots it; what it wrote is gone afterwards."""

    # qemu's own network calls the outside's loopback so.
    host, outside, listens_at, name = "127.0.0.1", "10.0.2.2", "127.0.0.1", "machine"
    patience = 5.0

    def __init__(self, suite: str = "bookworm", memory: str = "1536M"):
        self.suite, self.memory = suite, memory
        self.process: subprocess.Popen | None = None

    def __enter__(self) -> "Machine":
        self.image, self.folder = image(self.suite), tempfile.TemporaryDirectory(prefix="comfy-guard-machine-")
        self.ssh, self.https = free_port(), free_port()
        try:
            self._boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        if self.process:
            subprocess.run([*self._ssh(), "-O", "exit", "box"], capture_output=True, timeout=20)
            procs.end([self.process.pid])
            self.process.wait(20)
        self.folder.cleanup()

    def _boot(self) -> None:
        self.log = kept.KEPT / "machine.log"
        line = ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", self.memory, "-display", "none", "-no-reboot", "-nodefaults",
                "-kernel", str(self.image.kernel), "-initrd", str(self.image.initrd), "-append", "root=/dev/vda rw console=ttyS0 quiet panic=-1 net.ifnames=1",
                "-drive", f"file={self.image.disk},format=raw,if=virtio,cache=unsafe,snapshot=on", "-serial", f"file:{self.log}", "-device", "virtio-rng-pci",
                "-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{self.ssh}-:22,hostfwd=tcp:127.0.0.1:{self.https}-:443", "-device", "virtio-net-pci,netdev=net"]
        self.process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
        until(self._booted, 40 * self.patience, "the machine has booted", every=0.5)

    def _booted(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"qemu ended: {self.process.stderr.read().decode()}")
        done = subprocess.run([*self._ssh(), "box", "systemctl is-system-running"], capture_output=True, text=True, timeout=60)
        return done.stdout.strip() in ("running", "degraded")

    def _ssh(self) -> list[str]:
        options = {"ControlMaster": "auto", "ControlPath": f"{self.folder.name}/ssh", "ControlPersist": "600", "StrictHostKeyChecking": "no",
                   "UserKnownHostsFile": "/dev/null", "LogLevel": "ERROR", "BatchMode": "yes", "ConnectTimeout": "10", "IdentitiesOnly": "yes",
                   "HostName": "127.0.0.1"}
        flags = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        return ["ssh", "-F", "none", *flags, "-i", str(self.image.key), "-p", str(self.ssh), "-l", "root"]

    def enter(self, line: list[str]) -> list[str]:
        own = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
        return [*self._ssh(), "box", shlex.join(["env", "-i", *own, *line])]


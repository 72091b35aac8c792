"""The virtual machine's disk: the same root file system with a stock kernel, as an ext4 image; made once."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from . import kept
from .rootfs import rootfs

SIZE = "4G"
# Name resolution is left out: a box has nobody to ask.
NETWORK = "[Match]\nName=e*\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n[DHCPv4]\nUseDNS=no\n"
# No PAM: sessions would be put into scopes of their own and ended with the connection.
SSHD = "UsePAM no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nUseDNS no\nMaxSessions 64\nMaxStartups 100\n"
# Only what finds the disk: the initial ram disk is unpacked without hardware help at each boot.
MODULES = "virtio_pci\nvirtio_blk\nvirtio_net\next4\n"


@dataclass(frozen=True)
class Image:
    """What qemu needs, and the private key that root of the machine lets in."""

    disk: Path
    kernel: Path
    initrd: Path
    key: Path


def image(suite: str = "bookworm") -> Image:
    below = rootfs("machine", suite)
    recipe = kept.digest(below.with_name(f"{below.name}.made").read_text(), Path(__file__))
    made = kept.made_once(f"image-{suite}", recipe, lambda path: _make(below, path))
    return Image(made / "disk", made / "vmlinuz", made / "initrd", made / "key")


def _make(below: Path, made: Path) -> None:
    # Here, not at the top: the container uses this module's neighbours the other way round.
    from .container import layer

    made.mkdir(parents=True)
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", made / "key")
    with layer(below, f"{made.name}-layer") as root:
        _configure(root, (made / "key.pub").read_text())
        _run("chroot", root, "update-initramfs", "-u", "-k", "all")
        (kernel,), (initrd,) = root.glob("boot/vmlinuz-*"), root.glob("boot/initrd.img-*")
        shutil.copy(kernel, made / "vmlinuz")
        shutil.copy(initrd, made / "initrd")
        _run("mke2fs", "-q", "-t", "ext4", "-L", "box", "-d", root, made / "disk", SIZE)


def _configure(root: Path, public_key: str) -> None:
    for path, text in {
        "root/.ssh/authorized_keys": public_key,
        "etc/ssh/sshd_config.d/box.conf": SSHD,
        "etc/systemd/network/10-box.network": NETWORK,
        "etc/initramfs-tools/conf.d/box": "MODULES=list\nCOMPRESS=zstd\n",
        "etc/initramfs-tools/modules": MODULES,
        "etc/fstab": "/dev/vda / ext4 rw,noatime 0 1\n",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    (root / "root/.ssh").chmod(0o700)
    _run("chroot", root, "systemctl", "enable", "--quiet", "systemd-networkd.service", "ssh.service")
    # The consoles' logins wait for devices that nobody looks at.
    _run("chroot", root, "systemctl", "mask", "--quiet", "getty.target", "systemd-networkd-wait-online.service")


def _run(*line) -> None:
    done = subprocess.run([str(part) for part in line], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
    assert done.returncode == 0, f"{line}: {done.returncode}\n{done.stdout[-4000:]}"

"""Root file systems: a small Debian by mmdebstrap, with a ComfyUI in /opt/comfyui and no package source at all.

The sources are mmdebstrap's own (or those that COMFY_GUARD_APT_SOURCES names, a file); what is in a box afterwards can be installed
from the tests' `file:` repository alone, as on a machine without a way out.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from . import kept

COMMON = """systemd systemd-sysv dbus libpam-systemd python3 ca-certificates curl procps iproute2 passwd openssl man-db""".split()
MACHINE = """linux-image-cloud-amd64 initramfs-tools zstd udev kmod apparmor openssh-server e2fsprogs""".split()
# What the stand-in imports; their versions stand in tests/requirements.txt.
COMFYUI_PACKAGES = {"aiohttp", "multidict", "yarl", "pillow", "comfyui-frontend-package", "comfyui-embedded-docs"}


def rootfs(kind: str = "container", suite: str = "bookworm") -> Path:
    """A folder with a root file system for a `container` or a `machine`; made once. Never write into it: boxes lay their own over it."""
    packages = COMMON + (MACHINE if kind == "machine" else [])
    recipe = kept.digest(suite, *packages, Path(__file__), kept.STANDIN, *_comfyui_requirements(), _node())
    return kept.made_once(f"{kind}-{suite}", recipe, lambda path: _make(path, suite, packages))


def _make(path: Path, suite: str, packages: list[str]) -> None:
    path.mkdir(parents=True)
    sources = os.environ.get("COMFY_GUARD_APT_SOURCES")
    _run("mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", f"--include={','.join(packages)}", "--skip=check/empty",
         suite, path, *([sources] if sources else []))
    _settle(path)
    _put_comfyui(path)


def _settle(path: Path) -> None:
    """No way to a package but the one that a test adds; nothing that is the same in two boxes where it must differ."""
    for folder in ("sources.list.d", "apt.conf.d", "auth.conf.d"):
        for file in (path / "etc/apt" / folder).glob("*"):
            file.unlink()
    (path / "etc/apt/sources.list").write_text("")
    (path / "etc/machine-id").write_text("")
    (path / "etc/hostname").write_text("box\n")
    (path / "etc/hosts").write_text("127.0.0.1 localhost box\n::1 localhost\n")
    (path / "etc/resolv.conf").unlink(missing_ok=True)
    # Timers would come in between on a slow machine; man's index costs seconds at each install.
    for unit in ("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "man-db.timer", "e2scrub_all.timer", "fstrim.timer"):
        (path / "etc/systemd/system" / unit).symlink_to("/dev/null")
    (path / "var/lib/man-db/auto-update").unlink(missing_ok=True)


def _put_comfyui(path: Path) -> None:
    """The stand-in where the package expects ComfyUI, with an environment of the box's own Python; all root's, but what it writes."""
    target = path / "opt/comfyui"
    shutil.copytree(kept.STANDIN, target, ignore=shutil.ignore_patterns("__pycache__", "input", "output", "temp", "user", "models"))
    _run("chroot", path, "python3", "-m", "venv", "--without-pip", "/opt/comfyui/venv")
    (site_packages,) = (target / "venv/lib").glob("python3.*/site-packages")
    version = site_packages.parent.name.removeprefix("python")
    _run(sys.executable, "-m", "pip", "install", "--quiet", "--target", site_packages, "--python-version", version, "--only-binary=:all:",
         "--platform", "manylinux_2_28_x86_64", "--platform", "manylinux2014_x86_64", "--no-compile", *_comfyui_requirements())
    (site_packages / "hostile.pth").write_text("import hostile_node\n")
    (site_packages / "hostile_node.py").write_text(_node())
    for name in ("models", "input", "output", "temp", "user", "custom_nodes"):
        (target / name).mkdir()
    _run("chroot", path, "python3", "-m", "compileall", "-q", "/opt/comfyui")


def _comfyui_requirements() -> list[str]:
    lines = (kept.ROOT / "tests/requirements.txt").read_text().splitlines()
    return [line for line in lines if re.split("[=<>~]", line)[0] in COMFYUI_PACKAGES]


def _node() -> str:
    return (Path(__file__).parent / "hostile_node.py").read_text()


def _run(*line) -> None:
    done = subprocess.run([str(part) for part in line], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900)
    assert done.returncode == 0, f"{line}: {done.returncode}\n{done.stdout[-4000:]}"

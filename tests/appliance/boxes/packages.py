"""The package under test, versions of it, and the repository that a box installs it from."""

import os
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from . import kept
from .box import Box

REPOSITORY = "/srv/comfy-guard"
MAKE_REPOSITORY = kept.ROOT / "packaging/apt-repository"


@cache
def _scratch() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="comfy-guard-packages-")


def scratch() -> Path:
    """A folder that ends with the tests."""
    return Path(_scratch().name)


@cache
def package() -> Path:
    """The newest comfy-guard_*.deb in target/package, or the one that COMFY_GUARD_DEB names."""
    if named := os.environ.get("COMFY_GUARD_DEB"):
        return Path(named)
    found = sorted((kept.ROOT / "target/package").glob("comfy-guard_*.deb"), key=lambda path: path.stat().st_mtime)
    assert found, "no package in target/package: build it first (packaging/deb), or name one in COMFY_GUARD_DEB"
    return found[-1]


def field(deb: Path, name: str) -> str:
    return subprocess.run(["dpkg-deb", "--field", str(deb), name], capture_output=True, text=True, check=True).stdout.strip()


@cache
def version() -> str:
    return field(package(), "Version")


def later() -> str:
    """A version that comes after the one under test."""
    return version() + "+later1"


@cache
def as_version(number: str, conffile: str = "") -> Path:
    """The package under test as another version: repacked, with its own maintainer scripts.

    The version is added to the end of the program, whose bytes so differ as a new version's would; `conffile` to the end of the configuration.
    """
    folder = Path(tempfile.mkdtemp(dir=scratch()))
    tree, made = folder / "tree", folder / f"comfy-guard_{number}_amd64.deb"
    subprocess.run(["dpkg-deb", "-R", str(package()), str(tree)], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"^Version: .*$", f"Version: {number}", control.read_text(), flags=re.M))
    for path, more in (("usr/bin/comfy-guard", number), ("etc/comfy-guard/config.toml", conffile)):
        with open(tree / path, "ab") as file:
            file.write(more.encode())
    (tree / "DEBIAN/md5sums").unlink(missing_ok=True)
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "-b", str(tree), str(made)], check=True, capture_output=True)
    shutil.rmtree(tree)
    return made


@cache
def repository(*later: Path) -> Path:
    """A signed repository of the package under test, made by packaging/apt-repository; with `later` ones added to it, as a publisher does.

    The commands that it says to type are in its file `to-type`, one a line.
    """
    folder = scratch() / f"repository-{len(list(scratch().iterdir()))}"
    if later:
        # The same key signs it.
        for part in ("", ".gnupg"):
            shutil.copytree(f"{repository()}{part}", f"{folder}{part}")
    done = subprocess.run([str(MAKE_REPOSITORY), str(folder), *map(str, later or [package()])], capture_output=True, text=True,
                          env={**os.environ, "LOCATION": f"file:{REPOSITORY}"})
    assert done.returncode == 0, done.stderr
    (folder / "to-type").write_text(done.stdout)
    return folder


def put_repository(box: Box, *later: Path) -> list[str]:
    """The repository's files, as they would come on a disk; what is to be typed."""
    box.copy_in(repository(*later), REPOSITORY)
    return to_type()


def to_type() -> list[str]:
    return (repository() / "to-type").read_text().splitlines()


def add_repository(box: Box) -> None:
    for line in put_repository(box):
        box.sh(line)


def offer(box: Box, *later: Path) -> None:
    """The repository has these too from now on."""
    put_repository(box, *later)
    box.run("apt-get", "update", "--quiet")


def install(box: Box, *options: str, number: str = "") -> str:
    """apt's words when it installs the newest version that the repository has, or that one."""
    # The administrator's file is kept where both changed, without a question: nobody is there to answer it.
    keep = ["-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"]
    return box.run("apt-get", "install", "--yes", "--quiet", *keep, *options, f"comfy-guard={number}" if number else "comfy-guard", within=120).stdout


def give_comfyui_its_folders(box: Box, home: str = "/opt/comfyui") -> None:
    """What an administrator does once where ComfyUI was put there by root."""
    box.sh(f"cd {home} && chown -R comfyui:comfyui input output temp user custom_nodes models")


EXAMPLES = "/usr/share/doc/comfy-guard/examples"
DROP_INS = "/etc/systemd/system/comfy-guard.service.d"


def use_drop_in(box: Box, name: str, *changes: tuple[str, str]) -> None:
    """A drop-in of the package's examples put where it counts, with these texts replaced; the unit is not started again."""
    text = box.get(f"{EXAMPLES}/{name}")
    for old, new in changes:
        assert old in text, (old, text)
        text = text.replace(old, new)
    box.put(f"{DROP_INS}/{name}", text)
    box.run("systemctl", "daemon-reload")


def drop_drop_in(box: Box, name: str) -> None:
    box.run("rm", f"{DROP_INS}/{name}")
    box.run("systemctl", "daemon-reload")

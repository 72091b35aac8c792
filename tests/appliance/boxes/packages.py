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
ADD = f"echo 'deb [trusted=yes] file:{REPOSITORY} ./' > /etc/apt/sources.list.d/comfy-guard.list && apt-get update --quiet"
MAKE_REPOSITORY = os.environ.get("T_REPO") or kept.ROOT / "packaging/apt-repository"


@cache
def package() -> Path:
    """The newest comfy-guard_*.deb in target/package, or the one that COMFY_GUARD_DEB names."""
    if named := os.environ.get("COMFY_GUARD_DEB"):
        return Path(named)
    found = sorted((kept.ROOT / "target/package").glob("comfy-guard_*.deb"), key=lambda path: path.stat().st_mtime)
    assert found, "no package in target/package: build it first (tests/run package), or name one in COMFY_GUARD_DEB"
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
def as_version(number: str) -> Path:
    """The package under test as another version: repacked, with its own maintainer scripts, and a program whose bytes differ.

    A byte is added to the end of the program, so that an upgrade replaces it in fact, as a new version would.
    """
    folder = Path(tempfile.mkdtemp(prefix="comfy-guard-package-", dir=kept.KEPT))
    subprocess.run(["dpkg-deb", "-R", str(package()), str(folder / "tree")], check=True)
    control = folder / "tree/DEBIAN/control"
    control.write_text(re.sub(r"^Version: .*$", f"Version: {number}", control.read_text(), flags=re.M))
    with open(folder / "tree/usr/bin/comfy-guard", "ab") as program:
        program.write(number.encode())
    sums = folder / "tree/DEBIAN/md5sums"
    sums.unlink(missing_ok=True)
    made = folder / f"comfy-guard_{number}_amd64.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "-b", str(folder / "tree"), str(made)], check=True, capture_output=True)
    shutil.rmtree(folder / "tree")
    return made


@cache
def repository(*debs: Path) -> Path:
    """A signed repository of these packages, made by packaging/apt-repository; the same folder for every box."""
    folder = Path(tempfile.mkdtemp(prefix="comfy-guard-repository-", dir=kept.KEPT))
    done = subprocess.run([str(MAKE_REPOSITORY), str(folder), *map(str, debs)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def put_repository(box: Box, *debs: Path) -> None:
    """The repository's files, as they would come on a disk; the package under test alone unless others are named."""
    box.copy_in(repository(*(debs or [package()])), REPOSITORY)


def add_repository(box: Box) -> None:
    """What an administrator types to make the repository known."""
    put_repository(box)
    box.sh(ADD)


def offer(box: Box, *debs: Path) -> None:
    """These are what the repository has from now on."""
    put_repository(box, *debs)
    box.run("apt-get", "update", "--quiet")


def install(box: Box, *options: str, within: float = 120) -> str:
    """apt's words when it installs the newest version that the repository has."""
    return box.run("apt-get", "install", "--yes", "--quiet", *options, "comfy-guard", within=within).stdout


def give_comfyui_its_folders(box: Box, home: str = "/opt/comfyui") -> None:
    """What an administrator does once where ComfyUI was put there by root."""
    box.sh(f"cd {home} && chown -R comfyui:comfyui input output temp user custom_nodes models")

"""Where boxes are made and kept between runs: all below one git-ignored folder, each thing made once per recipe."""

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from harness.places import ROOT

KEPT = Path(os.environ.get("COMFY_GUARD_APPLIANCE_DIR") or ROOT / "target/appliance")
STANDIN = ROOT / "tests/standin"


def digest(*recipe: str | Path) -> str:
    """Of texts and of whole trees, so that a thing is made again when its recipe changes."""
    total = hashlib.sha256()
    for part in recipe:
        if isinstance(part, str):
            total.update(part.encode())
        else:
            for file in _files(part):
                total.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    return total.hexdigest()


def _files(part: Path) -> list[Path]:
    if part.is_file():
        return [part]
    return sorted(path for path in part.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


@contextlib.contextmanager
def alone(name: str):
    """One process at a time holds `name`: two test workers must not make the same thing."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with open(KEPT / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def made_once(name: str, recipe: str, make: Callable[[Path], None]) -> Path:
    """KEPT/name, made by `make(path)` unless it was made by this very recipe; a half-made one is never taken for whole."""
    path, stamp = KEPT / name, KEPT / f"{name}.made"
    with alone(name):
        if not (path.exists() and stamp.exists() and stamp.read_text() == recipe):
            stamp.unlink(missing_ok=True)
            remove(path)
            print(f"making {path}", flush=True)
            make(path)
            stamp.write_text(recipe)
    return path


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

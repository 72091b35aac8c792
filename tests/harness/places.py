"""Where things are: the checkout, the binary under test, the stand-in ComfyUI or a real one."""

import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("COMFY_GUARD_BIN") or ROOT / "target/debug/comfy-guard")
AS_ROOT = os.geteuid() == 0
ROOT_SEES = "the guard's processes are not dumpable: only root sees what they hold"
SERVICE_USER, NETWORK_USER, COMFYUI_USER = "comfy-guard", "comfy-guard-net", "comfyui"

REAL_DIR = os.environ.get("COMFYUI_DIR")
REAL_PYTHON = os.environ.get("COMFYUI_PYTHON")


def _others_reach(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in [path, *path.parents])


@cache
def standin() -> tuple[Path, Path]:
    """(folder with main.py, Python that can run it), both reachable by the user that ComfyUI runs as.

    A checkout below a closed home folder is copied once, otherwise ComfyUI's user could not even enter it.
    """
    source, venv = ROOT / "tests/standin", ROOT / ".venv"
    if not AS_ROOT or _others_reach(source):
        return source, venv / "bin/python"
    copy = Path(tempfile.mkdtemp(prefix="comfy-guard-standin-"))
    copy.chmod(0o755)
    shutil.copytree(source, copy / "standin")
    shutil.copytree(venv, copy / "venv", symlinks=True)
    return copy / "standin", copy / "venv/bin/python"


def real() -> tuple[Path, Path] | None:
    """A real ComfyUI, where the environment names one."""
    if not REAL_DIR:
        return None
    return Path(REAL_DIR), Path(REAL_PYTHON or Path(REAL_DIR) / "venv/bin/python")

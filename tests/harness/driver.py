"""A stand-in of the GPU driver's library, played from a file beside it (tests/nvml), and a guard whose sensor loads it."""

import json
import shutil
import subprocess
from pathlib import Path

from . import toml
from .places import ROOT
from .wait import until

GIB = 1 << 30
CUDA = {"name": "cuda:0 NVIDIA H100 80GB HBM3", "type": "cuda"}
# The script is written over in place; what a shorter one leaves of a longer one must be blank.
ROOM = 4000


def build(folder: Path) -> Path:
    made = folder / "libnvidia-ml.so.1"
    subprocess.run(["rustc", "--edition", "2024", "--crate-type", "cdylib", "-O", ROOT / "tests/nvml/lib.rs", "-o", made], check=True)
    return made


class Library:
    """The stand-in in a folder of its own, with what it plays."""

    def __init__(self, folder: Path, built: Path):
        self.built, self.file, self.script = built, folder / "libnvidia-ml.so.1", folder / "script"
        self.install()

    def install(self) -> None:
        shutil.copy(self.built, self.file)
        self.file.chmod(0o755)

    def plays(self, *lines: str) -> None:
        # Written over, not replaced: the library holds the file open.
        with open(self.script, "r+" if self.script.exists() else "w") as file:
            file.write("\n".join(lines).ljust(ROOM) + "\n")


def start(fresh, library: Library, *lines: str, device=CUDA, arguments=(), config=None, **more):
    """A guard whose driver plays `lines` and whose ComfyUI computes on `device`; without one on the CPU, as told by `arguments` or not."""
    library.plays(*lines)
    told = ["--device", json.dumps(device), *arguments] if device else [*arguments]
    laid = toml.merge({"gpu": {"library": str(library.file)}}, config or {})
    return fresh(config=laid, comfyui_arguments=told, wait="answers", **more)


def health(guard, key=True):
    return guard.get("/health", key=key)


def gpu_detail(guard) -> dict:
    return health(guard).json()["detail"]["gpu"]


def becomes(guard, word: str, within: float = 5.0) -> None:
    until(lambda: health(guard).json()["status"] == word, within, f"/health says {word}")

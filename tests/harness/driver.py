"""The stand-in of the driver's library, built once, in a folder of its own beside the script that says what it plays (see tests/nvml/lib.rs)."""

import functools
import subprocess
import tempfile
from pathlib import Path

from . import places


@functools.cache
def _built() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "libnvidia-ml.so.1")
        subprocess.run(["rustc", "--edition", "2024", "--crate-type", "cdylib", "-O", places.ROOT / "tests/nvml/lib.rs", "-o", made], check=True)
        return made.read_bytes()


class Driver:
    """As a context: a library that the sensor takes; `plays` changes what it says, also while it is asked."""

    def __init__(self, *lines: str):
        # Not pytest's own folder, which is closed to the sensor's user.
        self._folder = tempfile.TemporaryDirectory(prefix="comfy-guard-nvml-")
        Path(self._folder.name).chmod(0o755)
        self.file, self.script = (Path(self._folder.name, name) for name in ("libnvidia-ml.so.1", "script"))
        self.file.write_bytes(_built())
        self.file.chmod(0o755)
        self.plays(*lines)

    def plays(self, *lines: str) -> None:
        # Written over, not replaced: the library holds the file open.
        with open(self.script, "r+" if self.script.exists() else "w") as file:
            file.write("\n".join(lines).ljust(200) + "\n")

    @property
    def config(self) -> dict:
        return {"gpu": {"library": str(self.file)}}

    def __enter__(self) -> "Driver":
        return self

    def __exit__(self, *_) -> None:
        self._folder.cleanup()

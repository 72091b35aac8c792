"""The truth about the GPU, by a stand-in of the driver's library in the real sensor: /health says what NVML says, and a library that
lies, hangs or crashes takes no guest with it.

Pitfalls P20 (200 while the GPU is gone), P21 (a call that hangs blocks the health path), P25 (silent fall back to the CPU).
"""

import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from harness import places, procs
from harness.wait import until

pytestmark = pytest.mark.skipif(not places.AS_ROOT, reason="a library is loaded only if root owns it")

GIB = 1 << 30


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1"
    source = Path(__file__).parents[1] / "nvml/lib.rs"
    subprocess.run(["rustc", "--edition", "2024", "--crate-type", "cdylib", "-O", source, "-o", made], check=True)
    return made


class Library:
    """The stand-in in a folder of its own, with what it plays."""

    def __init__(self, folder: Path, built: Path):
        self.file, self.script = folder / "libnvidia-ml.so.1", folder / "script"
        shutil.copy(built, self.file)
        self.file.chmod(0o755)

    def plays(self, *lines: str) -> None:
        # Written over, not replaced: the library holds the file open.
        with open(self.script, "r+" if self.script.exists() else "w") as file:
            file.write("\n".join(lines).ljust(200) + "\n")


@pytest.fixture
def library(built):
    # Not pytest's own folder, which is closed to the sensor's user.
    with tempfile.TemporaryDirectory(prefix="comfy-guard-nvml-") as folder:
        Path(folder).chmod(0o755)
        yield Library(Path(folder), built)


CUDA = {"name": "cuda:0 NVIDIA H100 80GB HBM3", "type": "cuda"}


@pytest.fixture
def guarded(fresh, library):
    """A guard whose ComfyUI computes on `device`; without one on the CPU, as told by `arguments` or not."""

    def start(*lines, device=CUDA, arguments=(), config=None):
        library.plays(*lines)
        told = ["--device", json.dumps(device), *arguments] if device else [*arguments]
        laid = {"gpu": {"library": str(library.file)}, **(config or {})}
        return fresh(config=laid, comfyui_arguments=told, wait="answers")

    return start


def health(guard, key=True):
    return guard.get("/health", key=key)


def becomes(guard, word: str, within: float = 5.0) -> None:
    until(lambda: health(guard).json()["status"] == word, within, f"/health says {word}")


def test_health_has_the_drivers_figures_of_comfyuis_gpu(guarded):
    guard = guarded("gpus 2", f"memory 0 {80 * GIB} {20 * GIB}", f"memory 1 {40 * GIB} {1 * GIB}", "process 0 4321 77")
    becomes(guard, "ok", 30)
    until(lambda: health(guard).json()["vram"] == {"total": 80 * GIB, "free": 60 * GIB}, 5, "the driver's figures")
    told = health(guard).json()
    assert told["device"] == {"name": "cuda:0 NVIDIA H100 80GB HBM3", "type": "cuda"}
    detail = told["detail"]["gpu"]
    assert detail["driver"] == "570.86.15" and detail["cuda"] == "12.8" and len(detail["gpus"]) == 2
    first = detail["gpus"][0]
    assert (first["temperature_celsius"], first["utilisation_percent"], first["power_milliwatts"]) == (41, 37, 71500)
    assert first["pci"] == "00000000:01:00.0" and first["uuid"].startswith("GPU-00000000-")
    assert first["processes"] == [{"pid": 4321, "memory": 77}]
    assert "detail" not in health(guard, key=False).json()


def test_the_gpu_is_the_one_that_cuda_visible_devices_names(guarded):
    guard = guarded("gpus 2", f"memory 0 {80 * GIB} 0", f"memory 1 {40 * GIB} 0", config={"comfyui": {"environment": {"CUDA_VISIBLE_DEVICES": "GPU-00000001"}}})
    becomes(guard, "ok", 30)
    until(lambda: health(guard).json()["vram"]["total"] == 40 * GIB, 5, "the second GPU's memory")


def test_what_a_gpu_does_not_support_is_null_and_not_zero(guarded):
    guard = guarded("gpus 1", "bare 0")
    becomes(guard, "ok", 30)
    until(lambda: "gpus" in health(guard).json()["detail"]["gpu"], 5, "a reading")
    only = health(guard).json()["detail"]["gpu"]["gpus"][0]
    assert only["temperature_celsius"] is None and only["name"] is None and only["memory"]["total"] == 80 * GIB


def test_a_lost_gpu_is_503_within_five_seconds_and_comes_back(guarded, library):
    guard = guarded("gpus 2")
    becomes(guard, "ok", 30)
    library.plays("gpus 2", "lost 1")
    time.sleep(2.5)  # two looks at the driver: that nothing happens can only be waited for
    assert health(guard).status == 200, "another GPU's loss is not ComfyUI's"
    library.plays("gpus 2", "lost 0")
    becomes(guard, "gpu_lost")
    assert health(guard).status == 503
    guard.until_log("gpu_lost: GPU 0")
    library.plays("gpus 2")
    becomes(guard, "ok")
    guard.until_log("gpu_lost is over")


def test_a_comfyui_that_fell_back_to_the_cpu_is_not_ok(guarded):
    guard = guarded("gpus 1", device=None)
    becomes(guard, "gpu_unavailable", 30)
    assert health(guard).status == 503


def test_a_comfyui_that_was_told_to_use_the_cpu_is_ok(guarded):
    guard = guarded("gpus 1", "lost 0", device=None, arguments=["--cpu"])
    becomes(guard, "ok", 30)


@pytest.mark.parametrize(("lines", "word"), [(["init 18"], "gpu_driver_mismatch"), (["hang"], "nvml_hung")])
def test_a_driver_that_cannot_be_asked_is_named(guarded, lines, word):
    guard = guarded(*lines)
    becomes(guard, word, 30)
    assert health(guard).status == 503


@pytest.mark.parametrize("lines", [["init 9"], ["gpus 0"]])
def test_no_driver_and_no_device_are_nothing_to_complain_about(guarded, lines):
    guard = guarded(*lines, device=None)
    becomes(guard, "ok", 30)
    until(lambda: health(guard).json()["detail"]["gpu"]["state"] == "absent", 5, "absent")
    assert "driver" not in "".join(line for line in guard.log().splitlines() if "WARN" in line or "ERROR" in line)


def test_a_call_that_never_returns_delays_no_guest_and_the_sensor_is_started_again(guarded, library):
    guard = guarded("gpus 1")
    becomes(guard, "ok", 30)
    pids = guard.pids()
    library.plays("hang")
    becomes(guard, "nvml_hung", 6)
    took = []
    for _ in range(200):
        began = time.monotonic()
        health(guard, key=False)
        took.append(time.monotonic() - began)
    # With a handshake of its own each; the bound is the for the answer alone, and generous for both cores being busy.
    assert sorted(took)[197] < 0.5, sorted(took)[-5:]
    until(lambda: guard.pids().get("sensor") not in (None, pids["sensor"]), 20, "another sensor")
    assert {role: pid for role, pid in guard.pids().items() if role != "sensor"} == {role: pid for role, pid in pids.items() if role != "sensor"}
    library.plays("gpus 1")
    becomes(guard, "ok", 20)


def test_a_library_that_crashes_takes_the_sensor_and_nobody_else(guarded, library):
    guard = guarded("gpus 1")
    becomes(guard, "ok", 30)
    pids = guard.pids()
    library.plays("crash")
    until(lambda: not procs.alive(pids["sensor"]), 5, "the sensor died")
    library.plays("gpus 1")
    until(lambda: guard.pids().get("sensor") not in (None, pids["sensor"]), 10, "another sensor")
    assert guard.pids()["gateway"] == pids["gateway"] and guard.pids()["comfyui"] == pids["comfyui"]
    assert guard.get("/queue", key=True).status == 200
    becomes(guard, "ok", 10)


def test_a_library_that_others_can_write_is_not_loaded(guarded, library):
    library.file.chmod(0o777)
    guard = guarded("gpus 1")
    becomes(guard, "ok", 30)
    guard.until_log("is not loaded, because others than root can write it")
    assert str(library.file) not in Path(f"/proc/{guard.pids()['sensor']}/maps").read_text()


def test_only_the_sensor_has_the_library_in_it(guarded, library):
    guard = guarded("gpus 1")
    becomes(guard, "ok", 30)
    holders = {role for role, pid in guard.pids().items() if str(library.file) in Path(f"/proc/{pid}/maps").read_text()}
    assert holders == {"sensor"}

"""Somebody else on the GPU, on an installed box: named, although the unit's ProtectProc=invisible hides all processes but the guard's own.

The driver's library is the stand-in, at the place where a distribution puts the real one.
"""

import pytest

from harness import driver
from harness.wait import until

LIBRARY = "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1"
SCRIPT = "/usr/lib/x86_64-linux-gnu/script"
SHARED = "/etc/comfy-guard/conf.d/60-shared.toml"
MINER = "kryptominer.service"


@pytest.fixture
def box(container):
    """The serving box; without a driver again afterwards."""
    yield container
    container.sh(f"systemctl stop {MINER}; rm -f {LIBRARY} {SCRIPT} {SHARED}", check=False)
    container.run("systemctl", "restart", "comfy-guard")
    container.until_served(container.key)


def test_a_neighbour_on_the_gpu_is_named_by_its_unit_until_it_is_expected(box, tmp_path):
    library = driver.build(tmp_path).read_bytes()
    guest = box.guest(box.key)
    box.run("systemd-run", f"--unit={MINER}", "--quiet", "sleep", "600")
    miner, own = box.unit("MainPID", unit=MINER)["MainPID"], box.pids()["comfyui"]
    # Before the library, which holds it open, and that one whole: the guard that runs finds it by itself.
    box.put(SCRIPT, "\n".join(["gpus 1", f"process 0 {miner} 2147483648", f"process 0 {own} 1073741824"]) + "\n")
    box.put(f"{LIBRARY}.new", library, mode="0755")
    box.run("mv", f"{LIBRARY}.new", LIBRARY)

    def held() -> list[dict]:
        detail = guest.get("/health", key=True).json().get("detail", {})
        return [condition for condition in detail.get("conditions", []) if condition["name"] == "foreign_gpu_process"]

    until(held, 30, "the stranger is told")
    cause = held()[0]["cause"]
    assert f"PID {miner}" in cause and MINER in cause and f"PID {own}" not in cause, cause
    assert "foreign_gpu_process" in box.journal("-u", "comfy-guard", "-n", "50")

    box.put(SHARED, f'[gpu]\nshared_with = ["{MINER}"]\n')
    box.run("systemctl", "reload", "comfy-guard")
    until(lambda: not held(), 10, "it is no stranger any more")

"""The truth about the GPU, by a stand-in of the driver's library in the real sensor: /health says what NVML says, and a library that
lies, hangs or crashes takes no guest with it.

Pitfalls P20 (200 while the GPU is gone), P21 (a call that hangs blocks the health path), P25 (silent fall back to the CPU).
"""

import math
import os
import signal
import time
from pathlib import Path

import pytest

from harness import places, procs
from harness.driver import GIB, becomes, gpu_detail, health
from harness.wait import until

pytestmark = pytest.mark.skipif(not places.AS_ROOT, reason="a library is loaded only if root owns it")


def only_gpu(guard) -> dict:
    return until(lambda: gpu_detail(guard).get("gpus"), 5, "a reading")[0]


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
    assert first["processes"] == [{"pid": 4321, "memory": 77, "mig_device": None}]
    assert "detail" not in health(guard, key=False).json()


@pytest.mark.parametrize(("visible", "total"), [("1", 40), ("1,0", 40), ("GPU-00000001", 40), ("MIG-00000000-0002", 10), ("MIG-00000000-0002-2222-3333-444455556666", 10)])
def test_the_gpu_is_the_one_that_cuda_visible_devices_names(guarded, visible, total):
    plays = ["gpus 2", f"memory 0 {70 * GIB} 0", f"memory 1 {40 * GIB} 0", *(["mig 0 2"] if "MIG" in visible else [])]
    guard = guarded(*plays, config={"comfyui": {"environment": {"CUDA_VISIBLE_DEVICES": visible}}})
    becomes(guard, "ok", 30)
    until(lambda: health(guard).json()["vram"] == {"total": total * GIB, "free": total * GIB}, 5, "the memory of the one that is meant")
    assert len(gpu_detail(guard)["gpus"]) == 2, "all are listed"


def test_every_figure_has_its_unit(guarded):
    guard = guarded("gpus 2", "ecc 0 2 5", "rows 0 1 2 1 0", "throttle 0 132", "old 1", "retired 1 3 4 1", "deaf 1")
    becomes(guard, "ok", 30)
    until(lambda: len(gpu_detail(guard).get("gpus", [])) == 2, 5, "a reading")
    told = gpu_detail(guard)
    assert math.isclose(told["read_at"] + told["age_seconds"], time.time(), abs_tol=2) and 0 <= told["age_seconds"] < 3
    new, old = told["gpus"]
    expected = {
        "index": 0, "lost": False, "name": "NVIDIA H100 80GB HBM3", "uuid": "GPU-00000000-1111-2222-3333-444455556666", "pci": "00000000:01:00.0",
        "memory": {"total": 80 * GIB, "used": GIB, "free": 79 * GIB}, "utilisation_percent": 37, "memory_utilisation_percent": 12,
        "temperature_celsius": 41, "slowdown_celsius": 92, "shutdown_celsius": 95, "power_milliwatts": 71500, "power_limit_milliwatts": 700000,
        "clocks_mhz": {"graphics": 1755, "sm": 1740, "memory": 2619}, "throttled_by": ["sw_power_cap", "hw_power_brake"], "thermal_slowdown": False,
        "ecc": True, "corrected_memory_errors": 5, "uncorrected_memory_errors": 2, "retired_pages": None,
        "remapped_rows": {"corrected": 1, "uncorrected": 2, "pending": True, "failed": False},
        "pcie": {"generation": 1, "width": 8, "max_generation": 5, "max_width": 16}, "fan_percent": None, "performance_state": 2,
        "compute_mode": "shared", "mig": False, "mig_devices": [], "processes": [], "events": [],
    }
    assert new == expected
    assert old["retired_pages"] == {"single_bit": 3, "double_bit": 4, "pending": True} and old["remapped_rows"] is None
    assert old["fan_percent"] == 55 and old["mig"] is None and old["events"] is None


def test_what_a_gpu_does_not_support_is_null_and_not_zero(guarded):
    guard = guarded("gpus 1", "bare 0")
    becomes(guard, "ok", 30)
    only = only_gpu(guard)
    known = {"index", "lost", "memory", "mig_devices", "processes"}
    for name, value in only.items():
        if name not in known:
            assert all(one is None for one in (value.values() if isinstance(value, dict) else [value])), (name, value)
    assert only["memory"]["total"] == 80 * GIB and only["mig_devices"] == []


def test_a_divided_gpu_tells_its_instances_and_who_uses_each(guarded):
    guard = guarded("gpus 1", f"memory 0 {70 * GIB} {GIB}", "mig 0 2", "process 0 77 5 0", "process 0 78 6 2")
    becomes(guard, "ok", 30)
    only = only_gpu(guard)
    memory = {"total": 10 * GIB, "used": 0, "free": 10 * GIB}
    assert only["mig"] is True and only["mig_devices"] == [
        {"index": 0, "uuid": "MIG-00000000-0000-2222-3333-444455556666", "name": "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "memory": memory},
        {"index": 2, "uuid": "MIG-00000000-0002-2222-3333-444455556666", "name": "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "memory": memory},
    ]
    assert only["processes"] == [{"pid": 77, "memory": 5, "mig_device": 0}, {"pid": 78, "memory": 6, "mig_device": 2}]


def test_critical_events_are_kept_with_their_time_and_the_oldest_forgotten(guarded, library):
    guard = guarded("gpus 2", "xid 0 13 0")
    becomes(guard, "ok", 30)
    assert only_gpu(guard)["events"] == [], "events are heard, and those from before the sensor are not told as new"
    began = time.time()
    library.plays("gpus 2", "xid 0 13 0", "xid 0 31 1", "xid 1 79 1")
    told = until(lambda: (gpus := gpu_detail(guard)["gpus"]) and all(gpu["events"] for gpu in gpus) and gpus, 5, "events of both")
    assert [[event["xid"] for event in gpu["events"]] for gpu in told] == [[31], [79]]
    assert all(began - 1 <= event["at"] <= time.time() + 1 for gpu in told for event in gpu["events"])
    library.plays("gpus 2", *(f"xid 0 {number} 2" for number in range(100, 120)))
    until(lambda: [event["xid"] for event in gpu_detail(guard)["gpus"][0]["events"]] == list(range(104, 120)), 15, "the last sixteen")


def test_an_event_that_is_waited_for_delays_no_reading_and_a_lost_gpu_is_heard_to_the_end(guarded, library):
    guard = guarded("gpus 2")
    becomes(guard, "ok", 30)
    library.plays("gpus 2", "lost 1", "xid 1 79 1")
    lost = until(lambda: (gpu := gpu_detail(guard)["gpus"][1])["lost"] and gpu["events"] and gpu, 5, "lost, and why")
    assert [event["xid"] for event in lost["events"]] == [79]
    assert lost["uuid"] == "GPU-00000001-1111-2222-3333-444455556666" and lost["memory"] is None, "it is still known which one it was"
    library.plays("gpus 2", "lost 1", "xid 1 79 1", "xid 0 43 1")
    until(lambda: gpu_detail(guard)["gpus"][0]["events"], 5, "the other one is still heard")


def test_one_gpu_whose_call_never_returns_is_a_driver_that_hangs(guarded, library):
    guard = guarded("gpus 2")
    becomes(guard, "ok", 30)
    library.plays("gpus 2", "hang 1")
    becomes(guard, "nvml_hung")


def test_a_call_that_returns_late_is_no_reason_for_another_sensor(guarded, library):
    guard = guarded("gpus 1")
    becomes(guard, "ok", 30)
    before = guard.pids()["sensor"]
    library.plays("gpus 1", "stall")
    time.sleep(2)
    assert gpu_detail(guard)["state"] == "read" and gpu_detail(guard)["age_seconds"] > 1, "what was read last, with its age"
    library.plays("gpus 1", "temperature 0 55")
    until(lambda: only_gpu(guard)["temperature_celsius"] == 55, 5, "new figures")
    assert guard.pids()["sensor"] == before


def test_a_library_that_comes_later_is_found_without_a_restart(guarded, library):
    library.file.unlink()
    guard = guarded("gpus 1")
    becomes(guard, "ok", 30)
    assert gpu_detail(guard)["state"] == "absent"
    pids, mark = guard.pids(), len(guard.log())
    library.install()
    until(lambda: gpu_detail(guard)["state"] == "read", 5, "the driver's figures")
    assert {role: pid for role, pid in guard.pids().items() if role != "sensor"} == {role: pid for role, pid in pids.items() if role != "sensor"}
    assert "ended" not in guard.log()[mark:], "a sensor that makes room for another has not died"


# A /dev of its own, as the package's unit and containers make it, so that a node can come without anybody else seeing it.
OWN_DEV = """mount -t tmpfs -o mode=755 tmpfs /mnt && cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/fd /dev/std* /mnt &&
    mkdir -m 1777 /mnt/shm && mount --move /mnt /dev && exec "$@" """


def test_a_device_that_comes_later_is_found_by_another_sensor(guarded):
    guard = guarded("gpus 1", launcher=["unshare", "--mount", "sh", "-c", OWN_DEV, "sh"])
    becomes(guard, "ok", 30)
    before, mark = guard.pids()["sensor"], len(guard.log())
    Path(f"/proc/{guard.process.pid}/root/dev/nvidia0").touch()
    until(lambda: guard.pids().get("sensor") not in (None, before) and gpu_detail(guard)["state"] == "read", 5, "another sensor, which reads")
    assert "ended" not in guard.log()[mark:], "it made room and has not died"


def test_a_driver_that_was_mended_is_found_without_a_restart_and_without_noise(guarded, library):
    guard = guarded("init 18")
    becomes(guard, "gpu_driver_mismatch", 30)
    mark, seen = len(guard.log()), {guard.pids().get("sensor")}
    until(lambda: seen.add(guard.pids().get("sensor")) or len(seen - {None}) > 2, 15, "it is tried again and again")
    said = [line for line in guard.log()[mark:].splitlines() if "sensor" in line or "driver" in line]
    assert said == [], "nothing is new, so nothing is said"
    library.plays("gpus 1")
    becomes(guard, "ok")


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


def test_what_closed_the_service_is_not_forgotten_with_the_sensor_that_saw_it(guarded, library):
    guard = guarded("gpus 1", "lost 0")
    becomes(guard, "gpu_lost", 30)
    sensor, said, end = guard.pids()["sensor"], set(), time.monotonic() + 3
    os.kill(sensor, signal.SIGKILL)
    while time.monotonic() < end:
        said.add(health(guard).json()["status"])
    assert said == {"gpu_lost"} and guard.pids()["sensor"] != sensor
    library.plays("gpus 1")
    becomes(guard, "ok")


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
    until(lambda: guard.pids().get("sensor") not in (None, pids["sensor"]), 5, "another sensor")
    assert {role: pid for role, pid in guard.pids().items() if role != "sensor"} == {role: pid for role, pid in pids.items() if role != "sensor"}
    library.plays("gpus 1")
    # The one that was started meanwhile hangs as well, and is ended later than the first.
    becomes(guard, "ok", 15)


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

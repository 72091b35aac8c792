"""The status page in Chromium: every figure is the guard's, it can do what it offers and nobody else can make it, and hostile text stays text.

COMFY_GUARD_PICTURES names a folder that keeps its pictures.
"""

import json
import os
import tempfile
from pathlib import Path

import pytest

from harness import driver, places
from harness.driver import GIB
from harness.foreign import Foreign
from harness.guard import Guard
from harness.wait import until

pytestmark = pytest.mark.skipif(not places.AS_ROOT, reason="the driver's library is loaded only if root owns it")

SIZES = {"phone": {"width": 360, "height": 740}, "desk": {"width": 1280, "height": 900}}
LANGUAGES = {"en": "en-US", "zh-CN": "zh-CN", "ja": "ja-JP", "ko": "ko-KR"}
ENGLISH = {"locale": "en-US", "timezoneId": "UTC"}
PLAYS = ("gpus 2", f"memory 0 {80 * GIB} {20 * GIB}", f"memory 1 {40 * GIB} {1 * GIB}")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    with tempfile.TemporaryDirectory(prefix="comfy-guard-nvml-") as folder:
        Path(folder).chmod(0o755)
        made = driver.Library(Path(folder), driver.build(tmp_path_factory.mktemp("nvml")))
        made.plays(*PLAYS)
        yield made


def on_gpu(library) -> dict:
    return {"config": {"gpu": {"library": str(library.file)}}, "comfyui_arguments": ["--device", json.dumps(driver.CUDA)]}


@pytest.fixture(scope="module")
def guard(library):
    """Shared by tests that change nothing in it."""
    with Guard(**on_gpu(library)) as running:
        yield running


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    kept = os.environ.get("COMFY_GUARD_PICTURES")
    return Path(kept) if kept else tmp_path_factory.mktemp("pictures")


def play(profile, guard, part: str, **more) -> tuple[dict, dict]:
    """What the part found, and all that the browser saw."""
    seen = profile(guard).run("status_page", part=part, **{"browser": ENGLISH, **more})
    return seen["found"], seen


def queue(guard, seconds: int, steps: int = 100) -> None:
    prompt = {"1": {"class_type": "Sleep", "inputs": {"seconds": seconds, "steps": steps}}}
    answer = guard.request("POST", "/prompt", content=json.dumps({"prompt": prompt}).encode(), headers={"Content-Type": "application/json"}, key=True)
    assert answer.status == 200, answer.body


def same(shown: dict, told) -> bool:
    """A row's raw value is what was told; one that was not told is not shown."""
    if told is None:
        return not shown["shown"]
    return shown["shown"] and shown["value"] in (str(told), json.dumps(told))


def test_every_figure_is_the_one_in_the_document_and_in_health(fresh, library, profile):
    guard = fresh(**on_gpu(library))
    for _ in range(3):
        queue(guard, 300)
    assert guard.get("/queue").status == 401
    found, seen = play(profile, guard, "figures")
    page, status, health = found["page"], found["status"], found["health"]
    assert page["word"] == status["state"] == health["status"] == "ok" and page["title"].startswith("ok ")
    rows, comfyui, told = page["rows"], status["comfyui"], status["guard"]
    assert (rows["running"]["value"], rows["pending"]["value"]) == (str(health["queue"]["running"]), str(health["queue"]["pending"])) == ("1", "2")
    assert page["queue"] == "3"
    for row, value in {
        "running": comfyui["running"], "pending": comfyui["pending"], "jobs-done": comfyui["jobs_done"], "jobs-failed": comfyui["jobs_failed"],
        "process": comfyui["process"], "pid": comfyui["pid"], "comfyui-version": comfyui["version"], "device": health["device"]["name"],
        "uptime": comfyui["serving_since"], "restarts": comfyui["restarts"], "crashes": comfyui["crashes"],
        "memory": (comfyui["usage"] or {}).get("memory_bytes"), "tasks": (comfyui["usage"] or {}).get("tasks"),
        "guard-version": told["version"], "guard-started": told["started"], "guard-pid": told["pid"], "addresses": ", ".join(told["addresses"]),
        "certificate-ends": told["certificate_ends"], "authentication": told["authentication"], "key-set": told["key_set"],
        "sessions": told["sessions"], "gateway-restarts": told["gateway_restarts"], "sensor-restarts": told["sensor_restarts"],
        "fingerprint": told["fingerprint"],
    }.items():
        assert same(rows[row], value), f"{row}: {rows[row]} against {value!r}"
    assert comfyui["pid"] == guard.pids()["comfyui"] and told["pid"] == guard.process.pid
    assert page["lines"] == comfyui["last_lines"]
    for one in told["sandbox"]:
        assert one["process"] in page["sandbox"] and one["by"] in page["sandbox"]
    assert "unauthorized" in page["refusals"] and "127.0.0.1" in page["refusals"]
    # GPUs, by the stand-in's fixed figures, by the document, by /health.
    assert status["gpu"]["gpus"][0]["memory"] == health["detail"]["gpu"]["gpus"][0]["memory"]
    assert health["vram"] == {"total": 80 * GIB, "free": 60 * GIB}
    first, second = page["gpus"]
    assert first["title"] == "GPU 0 · NVIDIA H100 80GB HBM3" and "570.86.15" in first["versions"] and "12.8" in first["versions"]
    assert (first["plots"]["memory"]["text"], second["plots"]["memory"]["text"]) == ("20.0 GiB of 80.0 GiB", "1.0 GiB of 40.0 GiB")
    for card, one in zip(page["gpus"], status["gpu"]["gpus"], strict=True):
        assert card["power"] == "71.5 W of 700.0 W" and one["power_milliwatts"] == 71500
        plots = card["plots"]
        assert plots["memory"]["value"] == str(one["memory"]["used"])
        assert (plots["utilisation"]["value"], plots["utilisation"]["text"]) == (str(one["utilisation_percent"]), "37%")
        assert (plots["temperature"]["value"], plots["temperature"]["text"]) == (str(one["temperature_celsius"]), "41°C")
        for plot in plots.values():
            assert plot["line"].startswith("M") and "now" in plot["says"]
    assert seen["errors"] == []


def test_conditions_stand_there_with_cause_and_cure_and_go(fresh, library, profile):
    guard = fresh(**on_gpu(library))
    try:
        library.plays(*PLAYS[:1], f"memory 0 {80 * GIB} {79 * GIB}", "hot 0")
        until(lambda: len(guard.get("/guard/status.json", key=True).json()["conditions"]) == 2, 10, "two conditions")
        found, seen = play(profile, guard, "figures")
    finally:
        library.plays(*PLAYS)
    page, conditions = found["page"], found["status"]["conditions"]
    assert page["word"] == "ok" and [one["name"] for one in conditions] == ["gpu_hot", "vram_pressure"]
    for shown, told in zip(page["conditions"], conditions, strict=True):
        assert shown.startswith(f"{told['name']} since ") and told["cause"] in shown and told["cure"].replace("`", "") in shown
    assert seen["errors"] == []


def test_lost_gpu_keeps_its_plot_and_its_scale(fresh, library, profile):
    guard = fresh(**on_gpu(library))
    until(lambda: len(guard.get("/guard/history.json", key=True).json()["minute"]) > 4, 15, "some history")
    try:
        library.plays(*PLAYS, "lost 0")
        until(lambda: guard.get("/health").json()["status"] == "gpu_lost", 10, "it is lost")
        found, _ = play(profile, guard, "figures")
    finally:
        library.plays(*PLAYS)
    page = found["page"]
    assert page["word"] == "gpu_lost" and "not served" in page["sentence"] and page["conditions"][0].startswith("gpu_lost since ")
    memory = page["gpus"][0]["plots"]["memory"]
    assert memory["text"] == "–" and memory["line"].startswith("M") and memory["top"] == "20.0 GiB", "the highest that is known"
    assert page["gpus"][1]["plots"]["memory"]["top"] == "40.0 GiB"


def test_without_a_gpu_that_is_said_and_is_no_alarm(fresh, library, profile):
    library.plays("init 9")
    try:
        found, seen = play(profile, fresh(config={"gpu": {"library": str(library.file)}}), "figures")
    finally:
        library.plays(*PLAYS)
    page = found["page"]
    assert page["word"] == "ok" and page["chip"] == "word ok" and page["gpus"] == []
    assert [one.split()[0] for one in page["conditions"]] == ["gpu_absent"] and seen["errors"] == []


def test_progress_of_the_running_step_is_shown(fresh, library, profile):
    guard = fresh(**on_gpu(library))
    queue(guard, 300)
    until(lambda: guard.get("/guard/status.json", key=True).json()["comfyui"]["running"] == 1, 10, "the job runs")
    bar = b" 37%|###7      | 37/100 [00:10<00:17,  3.60it/s]\r"
    assert guard.request("POST", "/_standin/log", content=bar, key=True).status == 204
    until(lambda: guard.get("/guard/status.json", key=True).json()["comfyui"]["progress"] == 37, 10, "its progress")
    found, _ = play(profile, guard, "figures")
    assert found["page"]["progress"] == {"shown": True, "value": 37, "text": "37%"}


def test_restart_is_asked_about_and_comes_back(fresh, library, profile):
    more = on_gpu(library)
    more["comfyui_arguments"] += ["--start-delay", "3"]
    guard = fresh(**more)
    for _ in range(3):
        queue(guard, 300)
    pid = guard.pids()["comfyui"]
    found, seen = play(profile, guard, "restart")
    assert "lost: 3" in found["question"] and found["focus"] == "ask-restart"
    assert found["cancelled"] == [], "nothing is sent before it is confirmed"
    assert found["told"] == "The restart is under way."
    assert found["words"][-1] == "ok" and set(found["words"]) <= {"ok", "restarting", "starting"} and {"restarting", "starting"} & set(found["words"])
    before, after = found["before"]["rows"], found["after"]["rows"]
    assert int(before["pid"]["value"]) == pid != int(after["pid"]["value"]) == guard.pids()["comfyui"]
    assert (before["restarts"]["value"], after["restarts"]["value"], after["crashes"]["value"]) == ("0", "1", "0")
    assert (before["running"]["value"], after["running"]["value"]) == ("1", "0")
    assert after["last-exit"]["shown"]
    assert "Try again in" in found["again"]
    assert [one["token"] for one in found["posts"]] == [True, True] and {one["origin"] for one in found["posts"]} == {guard.url}
    # The answer to who comes too soon is red in the console by its status alone.
    assert [one for one in seen["errors"] if "status of 429" not in one] == []


def test_without_the_token_the_page_itself_is_refused(fresh, library, profile):
    guard = fresh(**on_gpu(library))
    pid = guard.pids()["comfyui"]
    found, _ = play(profile, guard, "tokenless")
    assert found["tried"] == [403, 401, 403] * 2 and found["still"] == 200
    assert guard.pids()["comfyui"] == pid


def test_sign_out_everywhere_ends_the_other_browsers_too(fresh, library, profile):
    guard = fresh(**on_gpu(library))
    elsewhere = profile(guard)
    assert elsewhere.run("status_page", part="enter", sign=True)["found"]["guarded"]
    assert elsewhere.run("status_page", part="enter")["found"]["guarded"], "it was remembered"
    found, seen = play(profile, guard, "everywhere")
    assert found["stayed"] == guard.url + "/guard/" and "signed_out=true" in found["address"] and found["said"]
    assert "/auth_login.html" in found["other"] and "next=%2Fguard%2F" in found["other"], "the other tab went by itself"
    assert found["cookies"] == [] and found["kept"] == {}
    there = elsewhere.run("status_page", part="enter")["found"]
    assert not there["guarded"] and there["address"] == guard.url + "/auth_login.html?next=%2Fguard%2F"
    assert [one for one in seen["errors"] if "status of 401" not in one] == []


def test_page_that_nobody_sees_asks_for_nothing(guard, profile):
    found, seen = play(profile, guard, "hidden")
    assert found["visible"] >= 3 and found["unseen"] == 0 and found["again"] >= 2
    assert seen["errors"] == []


def test_silence_is_said_and_ends(guard, profile):
    found, _ = play(profile, guard, "silence")
    assert found["said"].startswith("No answer since ") and found["stale"] and "cannot be reached" in found["failed"]
    assert found["later"] is False


def test_plot_tells_its_values_to_pointer_and_keyboard(guard, profile):
    found, seen = play(profile, guard, "plot")
    assert found["rest"] == found["left"] == "41°C"
    assert found["hovered"].endswith("· 41°C") and found["last"].endswith("· 41°C") and found["before"].endswith("· 41°C")
    assert found["last"] != found["before"] and found["cursor"]
    assert seen["errors"] == []


HOSTILE = [
    "<script>window.ran = 1</script>", "<img src=x onerror='window.ran = 2'>", "</textarea></pre></div></section><svg onload='window.ran = 3'>",
    "{{script}} ${window.ran = 4} &lt;b&gt; &#60;", "\u001b[31mred\u001b[0m \u001b]0;title\u0007", "left \u202eright to left\u202c \u2066isolated\u2069 \u200bzero",
    "javascript:window.ran=5", "a" * 3000,
]


def test_hostile_lines_of_comfyui_stay_text(fresh, library, profile):
    guard = fresh(**on_gpu(library))
    for line in [*HOSTILE, "the last of them"]:
        assert guard.request("POST", "/_standin/log", content=line.encode() + b"\n", key=True).status == 204
    device = {"name": "cuda:0 <b onclick='window.ran = 6'>NVIDIA</b> H100 80GB HBM3\u202e", "type": "cuda"}
    assert guard.request("PUT", "/_standin/device", content=json.dumps(device).encode(), key=True).status == 200
    until(lambda: "<b onclick" in guard.get("/guard/status.json", key=True).json()["comfyui"]["device"], 10, "the device's new name")
    found, seen = play(profile, guard, "hostile", last="the last of them")
    lines = "\n".join(found["lines"])
    for line in HOSTILE[:4]:
        assert line in found["lines"]
    assert "red" in lines and "\u001b" not in lines and "[31m" not in lines
    for turning in "\u202e\u202c\u2066\u2069\u200b":
        assert turning not in lines + found["rows"]["device"]["text"]
    assert "left \\u{202e}right to left" in lines, "it is shown, not hidden"
    assert "<b onclick='window.ran = 6'>" in found["rows"]["device"]["text"]
    assert found["ran"] is None and found["scripts"] == 1 and found["images"] == 0 and found["children"] == 0
    assert seen["errors"] == []


@pytest.mark.parametrize("tls", [False, True], ids=["another site", "same host, another port"])
def test_other_site_can_neither_show_nor_post(fresh, library, profile, tls):
    guard = fresh(**on_gpu(library))
    pid = guard.pids()["comfyui"]
    with Foreign(tls=tls) as other:
        seen = profile(guard, *([other.place] if tls else [])).run("status_page", part="foreign", other=other.origin, browser=ENGLISH)
    found = seen["found"]
    assert found["read"] == [] and found["framed"] == "closed" and not any(found["words"]), "it was shown in a frame"
    assert found["still"] == 200, "signed out from there"
    assert guard.pids()["comfyui"] == pid and "a guest restarts" not in guard.log()
    refused = [one for one in found["refused"] if "/guard/restart" in one or "/guard/sign_out" in one]
    assert {one.split()[0] for one in refused} == {"403" if tls else "401"}, "with the cookie it is the guard's check that holds"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_page_fits_and_axe_finds_no_fault(guard, library, profile, pictures, size, scheme, language):
    mark = f"{language}.{scheme}.{size}"
    browser = {"viewport": SIZES[size], "colorScheme": scheme, "locale": LANGUAGES[language], "reducedMotion": "reduce"}
    library.plays(*PLAYS[:1], f"memory 0 {80 * GIB} {79 * GIB}", "hot 0")
    try:
        until(lambda: guard.get("/guard/status.json", key=True).json()["conditions"], 10, "a condition")
        seen = profile(guard).run("pages", places=[("guard", "/guard/")], pictures=str(pictures), mark=mark, browser=browser, enter=True, next="/guard/", settled=".gpu")
    finally:
        library.plays(*PLAYS)
    page = seen["found"]["guard"]
    assert page["status"] == 200 and page["language"] == language and not page["tooWide"]
    assert page["audit"]["violations"] == [] and page["audit"]["passes"] > 15
    assert seen["errors"] == [] and (pictures / f"guard.{mark}.png").exists()

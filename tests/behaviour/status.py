"""`comfy-guard status`, `restart` and `logs`, as a person at the machine types them."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import time

import pytest

from harness import places, procs
from harness.cage import needs_own_user
from harness.driver import GIB, becomes
from harness.wait import until


def run(guard, *command, **more) -> tuple[int, str, str]:
    done = guard.run_command(*command, **more)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def document(guard) -> dict:
    return json.loads(run(guard, "status", "--json")[1])


def test_a_healthy_guard_is_one_screen_and_exit_0(guard):
    code, screen, said = run(guard, "status")
    lines = screen.splitlines()
    assert code == 0 and not said and lines[0].startswith("ok: guests are served"), screen
    assert len(lines) <= 24 and all(len(line) <= 80 for line in lines), screen
    assert "\x1b" not in screen, "colours are for terminals"
    for fact in (f"https://{guard.host}:{guard.port}", f"PID {guard.process.pid}", f"PID {guard.pids()['comfyui']}", "seccomp", "certificate"):
        assert fact in screen, fact


def test_every_figure_is_healths(guard):
    # What the gateway has seen reaches the supervisor within a second.
    shown = until(lambda: (one := document(guard))["comfyui"]["device"] and one, 5, "what the gateway has seen")
    health = guard.get("/health", key=True).json()
    assert shown["healthy"] is True and shown["state"] == health["status"] == "ok"
    assert (shown["comfyui"]["pending"], shown["comfyui"]["running"]) == (health["queue"]["pending"], health["queue"]["running"])
    assert shown["comfyui"]["device"] == health["device"]["name"]
    assert [one["name"] for one in shown["conditions"]] == [one["name"] for one in health["detail"]["conditions"]]
    assert shown["guard"]["pid"] == guard.process.pid and shown["comfyui"]["pid"] == guard.pids()["comfyui"]
    assert shown["comfyui"]["process"] == "running" and abs(shown["at"] - time.time()) < 5
    assert guard.key not in json.dumps(shown) and "argon2" not in json.dumps(shown)


def test_colours_on_a_terminal_unless_they_are_not_wanted(guard):
    def on_a_terminal(**env) -> str:
        ours, theirs = pty.openpty()
        line = [str(places.BIN), "--config", str(guard.config_file), "status"]
        done = subprocess.Popen(line, stdout=theirs, stderr=theirs, env={"PATH": os.environ["PATH"], "TERM": "xterm", **env})
        os.close(theirs)
        shown = drain(ours)
        done.wait(10)
        return shown

    assert "\x1b[32mok\x1b[0m" in on_a_terminal()
    assert "\x1b" not in on_a_terminal(NO_COLOR="1")
    assert "\x1b" not in on_a_terminal(TERM="dumb")


def drain(terminal: int) -> str:
    shown = b""
    try:
        while part := os.read(terminal, 65536):
            shown += part
    except OSError:
        pass
    os.close(terminal)
    return shown.decode()


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_watch_redraws_and_gives_the_terminal_back(guard, by):
    ours, theirs = pty.openpty()
    line = [str(places.BIN), "--config", str(guard.config_file), "status", "--watch"]
    watching = subprocess.Popen(line, stdout=theirs, stderr=theirs, env={"PATH": os.environ["PATH"], "TERM": "xterm"})
    os.close(theirs)
    time.sleep(2.6)
    watching.send_signal(by)
    assert watching.wait(5) == 0
    shown = drain(ours)
    assert shown.startswith("\x1b[?1049h\x1b[?25l") and shown.endswith("\x1b[?25h\x1b[?1049l"), repr(shown[-60:])
    assert shown.count("\x1b[H") >= 2 and "guests are served" in shown


def test_watch_as_json_is_a_line_a_second_and_ends_with_its_reader(guard):
    line = [str(places.BIN), "--config", str(guard.config_file), "status", "--watch", "--json"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watching:
        documents = [json.loads(watching.stdout.readline()) for _ in range(2)]
        watching.stdout.close()
        assert watching.wait(5) == 0, watching.stderr.read()
    assert 0.8 < documents[1]["at"] - documents[0]["at"] < 3


def test_without_a_key_it_says_so_and_what_to_do(fresh):
    closed = fresh(key=None, wait="answers")
    code, screen, _ = run(closed, "status")
    assert code == 1 and screen.startswith("no_key: guests are not served") and "-> run `comfy-guard set-key`" in screen, screen


def test_a_comfyui_that_does_not_come_up_shows_its_last_lines(fresh):
    broken = fresh(config={"comfyui": {"arguments": ["--no-such-option"]}}, wait="answers")

    def told():
        code, screen, _ = run(broken, "status")
        return code == 1 and "| main.py: error: unrecognized arguments: --no-such-option" in screen.replace("\n", "") and screen

    screen = until(told, 20, "its last lines")
    assert screen.splitlines()[0].split(":")[0] in ("starting", "restarting", "failed"), screen
    shown = until(lambda: (one := document(broken)["comfyui"])["crashes"] >= 1 and one, 10, "a crash is counted")
    assert shown["last_exit"]["how"] == "exit 2"


def test_no_guard_is_69_and_says_what_to_do(fresh):
    ended = fresh()
    ended.stop()
    for command in ("status", "restart", "logs"):
        if command == "logs" and os.path.isdir("/run/systemd/system"):
            continue
        code, shown, said = run(ended, command)
        assert code == 69 and not shown and "systemctl status comfy-guard" in said, (command, said)


def test_a_guard_that_stands_still_is_69_too(fresh):
    running = fresh(notify=False)
    os.kill(running.process.pid, signal.SIGSTOP)
    try:
        code, _, said = run(running, "status")
        assert code == 69 and "does not answer" in said
    finally:
        os.kill(running.process.pid, signal.SIGCONT)
    assert run(running, "status")[0] == 0


@needs_own_user
def test_other_users_get_77(fresh):
    running = fresh()
    before = running.pids()["comfyui"]
    running.launcher = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]
    for command in ("status", "restart", "logs"):
        code, shown, said = run(running, command)
        assert code == 77 and not shown and "root" in said, (command, said)
    assert running.pids()["comfyui"] == before


@pytest.mark.skipif(not places.AS_ROOT, reason="a library is loaded only if root owns it")
def test_gpus_have_bars_and_a_lost_one_has_its_cure(guarded, library):
    guard = guarded("gpus 2", f"memory 0 {80 * GIB} {20 * GIB}")
    becomes(guard, "ok", 30)
    screen = until(lambda: "GPU 1" in (one := run(guard, "status")[1]) and one, 5, "a reading")
    assert "[########----------------------]  25 %  20.0 GiB of 80.0 GiB" in screen and "41 C, 71 of 700 W" in screen, screen
    assert len(screen.splitlines()) <= 24 and document(guard)["gpu"]["gpus"][0]["memory"]["used"] == 20 * GIB
    library.plays("gpus 2", "lost 0")
    becomes(guard, "gpu_lost")
    code, screen, _ = run(guard, "status")
    assert code == 1 and screen.startswith("gpu_lost: guests are not served") and "-> see `dmesg`" in screen and "GPU 0        lost:" in screen, screen
    (told,) = [one for one in json.loads(run(guard, "doctor", "--json")[1])["findings"] if one["about"] == "guard"]
    assert told["grade"] == "problem" and told["found"].startswith("gpu_lost: ") and "dmesg" in told["cure"]


@needs_own_user
def test_a_guard_that_an_ordinary_user_started_answers_that_user_and_root(fresh):
    as_nobody = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]

    def give(guard):
        for path in (guard.dir, *guard.dir.rglob("*")):
            shutil.chown(path, "nobody", "nogroup")
        guard.launcher = as_nobody

    running = fresh(before=give)
    assert os.stat(running.dir / "state/control").st_uid == os.stat(running.dir / "state").st_uid != 0
    for launcher in (as_nobody, []):
        running.launcher = launcher
        assert run(running, "status")[0] == 0, launcher
    assert run(running, "logs", "-n", "1")[0] == 0 and run(running, "restart")[0] == 0
    running.launcher = ["setpriv", "--reuid", places.COMFYUI_USER, "--regid", places.COMFYUI_USER, "--clear-groups"]
    assert run(running, "status")[0] == 77


# --- restart


def test_restart_is_comfyuis_alone(fresh):
    running = fresh()
    before = running.pids()
    code, _, said = run(running, "restart")
    assert code == 0 and "started again" in said
    until(lambda: running.pids().get("comfyui") not in (None, before["comfyui"]), 15, "another ComfyUI")
    until(running.healthy, 20, "health")
    after = running.pids()
    assert {**after, "comfyui": 0} == {**before, "comfyui": 0}
    assert not procs.alive(before["comfyui"])
    shown = document(running)
    assert shown["comfyui"]["restarts"] == 1 and shown["comfyui"]["crashes"] == 0 and shown["comfyui"]["pid"] == after["comfyui"]
    assert "crash" not in running.log().lower()


def test_restart_ends_a_job_and_a_comfyui_that_ignores_signals(fresh):
    running = fresh(config={"comfyui": {"stop_timeout": "3s"}})
    before = running.pids()["comfyui"]
    prompt = {"1": {"class_type": "Sleep", "inputs": {"seconds": 60, "steps": 600}}}
    running.request("POST", "/prompt", content=json.dumps({"prompt": prompt}).encode(), headers={"Content-Type": "application/json"}, key=True)
    assert running.request("POST", "/_standin/stubborn", key=True).status == 200
    assert run(running, "restart")[0] == 0
    answer = until(lambda: (one := running.get("/health")).status == 503 and one, 5, "guests are told")
    assert answer.json()["status"] == "restarting"
    assert run(running, "restart")[0] == 0, "asked twice, it is done once"
    until(lambda: running.pids().get("comfyui") not in (None, before), 15, "another ComfyUI")
    queue = until(lambda: (one := running.get("/queue", key=True)).status == 200 and one.json(), 20, "its queue")
    assert not procs.alive(before)
    assert queue == {"queue_running": [], "queue_pending": []}, "the job went with it"


def test_restart_does_not_wait_for_the_backoff(fresh):
    """After some crashes the next try is many seconds away; whoever has mended the cause need not wait for it."""
    broken = fresh(config={"comfyui": {"arguments": ["--no-such-option"]}}, wait="answers")
    until(lambda: "started again in 4s" in broken.log(), 30, "the third crash")
    starts = broken.log().count("ComfyUI started")
    code, _, said = run(broken, "restart")
    assert code == 0 and "started now" in said
    until(lambda: broken.log().count("ComfyUI started") > starts, 1.5, "a start at once")
    until(lambda: broken.log().count("started again in 1s") == 2, 5, "the count of crashes begins anew")


def test_a_stop_during_a_restart_is_a_stop(fresh):
    running = fresh(config={"comfyui": {"stop_timeout": "3s"}})
    assert running.request("POST", "/_standin/stubborn", key=True).status == 200
    assert run(running, "restart")[0] == 0
    starts = running.log().count("ComfyUI started")
    assert running.stop() == 0
    assert running.log().count("ComfyUI started") == starts


def test_somebody_elses_comfyui_is_not_restarted(fresh):
    host = fresh()
    guest = fresh(config={"comfyui": {"external": f"127.0.0.1:{host.config['comfyui']['port']}", "directory": None, "python": None, "port": None, "stop_timeout": None, "arguments": None}})
    code, _, said = run(guest, "restart")
    assert code == 69 and "comfyui.external" in said
    assert run(guest, "logs")[0] == 69 and run(guest, "status")[0] == 0


# --- logs


def test_logs_shows_comfyuis_last_lines_where_there_is_no_journal(guard):
    for number in range(3):
        guard.request("POST", "/_standin/log", content=f"a line of mine {number} \x1b[2J\n".encode(), key=True)
    guard.until_log("a line of mine 2")
    code, shown, said = run(guard, "logs", "-n", "2")
    assert code == 0 and "does not log to the journal" in said
    assert re.findall(r"a line of mine (\d)", shown) == ["1", "2"] and "\x1b" not in shown
    assert run(guard, "logs", "--comfyui", "-n", "1")[2] == ""
    code, shown, said = run(guard, "logs", "--guard")
    assert code == 69 and not shown and "stderr" in said


def test_where_the_guard_logs_to_the_journal_logs_becomes_journalctl(fresh):
    """The guard knows by $JOURNAL_STREAM that its stderr is the journal; a journalctl of the test's own says what it was told."""

    def pretend(guard):
        guard.log_file.touch()
        facts = guard.log_file.stat()
        guard.extra_env["JOURNAL_STREAM"] = f"{facts.st_dev}:{facts.st_ino}"

    running = fresh(before=pretend)
    tool = running.dir / "bin/journalctl"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\necho "journalctl $*"\nexit 3\n')
    tool.chmod(0o755)
    path = {"PATH": f"{tool.parent}:{os.environ['PATH']}"}
    for more, whose in ((["--comfyui"], "-t comfyui"), (["--guard", "-f"], "-f -t comfy-guard")):
        code, shown, said = run(running, "logs", "-n", "3", *more, env=path)
        told = re.sub(r" -u \S+\.service", "", shown.strip())
        assert (code, told, said) == (3, f"journalctl --no-pager -n 3 {whose}", "")
    code, _, said = run(running, "logs", env={"PATH": "/nonexistent"})
    assert code == 69 and "journalctl cannot be started" in said


def test_logs_follows_until_the_guard_ends(fresh):
    running = fresh()
    line = [str(places.BIN), "--config", str(running.config_file), "logs", "-f", "-n", "0"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as following:
        time.sleep(0.5)
        running.request("POST", "/_standin/log", content=b"while you look\n", key=True)
        assert b"while you look" in iter_until(following.stdout, b"while you look")
        running.stop()
        following.stdout.read()
        assert following.wait(5) == 0 and b"The guard has ended" in following.stderr.read()


def iter_until(lines, text: bytes) -> bytes:
    for line in lines:
        if text in line:
            return line
    return b""

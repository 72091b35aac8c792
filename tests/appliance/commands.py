"""What an administrator types on an installed box: status, logs, restart, doctor, and the metrics' socket, under the unit's own sandbox."""

import json

from harness.wait import until

METRICS = "/etc/comfy-guard/conf.d/60-metrics.toml"
SOCKET = "/run/comfy-guard/metrics.sock"


def test_status_says_that_all_is_well_and_what_holds_each_process(container):
    done = container.run("comfy-guard", "status")
    assert done.stdout.startswith("ok: guests are served") and len(done.stdout.splitlines()) <= 24, done.stdout
    told = json.loads(container.out("comfy-guard", "status", "--json"))
    assert told["healthy"] and told["guard"]["pid"] == container.pids()["supervisor"] and told["comfyui"]["pid"] == container.pids()["comfyui"]
    assert {one["process"] for one in told["guard"]["sandbox"]} == {"supervisor", "gateway", "sensor", "comfyui"}


def test_nobody_but_root_and_the_guards_user_may_ask(container):
    for user, code in (("comfyui", 77), ("comfy-guard-net", 77), ("comfy-guard", 0)):
        for command in ("status", "restart") if code else ("status",):
            done = container.run("runuser", "-u", user, "--", "comfy-guard", command, check=False)
            assert done.returncode == code, (user, command, done.stdout, done.stderr)


def test_logs_are_the_journals(container):
    both = container.out("comfy-guard", "logs", "-n", "200")
    assert "Serving on" in both and "To see the GUI go to" in both
    assert "To see the GUI go to" not in container.out("comfy-guard", "logs", "--guard", "-n", "200")


def test_restart_is_of_comfyui_alone(container):
    before = container.pids()
    container.run("comfy-guard", "restart")
    until(lambda: container.pids().get("comfyui") not in (None, before["comfyui"]), 30, "another ComfyUI")
    container.until_served(container.key)
    after = container.pids()
    assert {role: after[role] for role in ("supervisor", "gateway", "sensor")} == {role: before[role] for role in ("supervisor", "gateway", "sensor")}


def test_doctor_finds_no_problem_on_a_box_that_was_just_set_up(container):
    done = container.run("comfy-guard", "doctor", "--json", check=False)
    findings = json.loads(done.stdout)["findings"]
    assert {one["about"] for one in findings} >= {"config", "guard", "ports", "key", "certificate", "users", "unit"}, findings
    assert done.returncode == 0 and not [one for one in findings if one["grade"] == "problem"], findings


def test_metrics_are_told_on_a_socket_of_the_run_directory(container):
    container.put(METRICS, f'[metrics]\nlisten = ["unix:{SOCKET}"]\n')
    try:
        container.run("systemctl", "restart", "comfy-guard")
        container.until_served(container.key)
        assert container.out("stat", "-c", "%a %U %G", SOCKET) == "660 comfy-guard comfy-guard"
        ask = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({SOCKET!r}); s.sendall(b'GET /metrics HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'); print(s.makefile().read())"
        assert "comfy_guard_healthy 1" in container.python(ask)
    finally:
        container.run("rm", "-f", METRICS)
        container.run("systemctl", "restart", "comfy-guard")
        container.until_served(container.key)
    assert not container.exists(SOCKET)

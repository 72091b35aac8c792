"""`comfy-guard doctor`: beside a guard that runs well, and on a box where things are wrong, each told with its cure."""

import json
import shutil
import socket
import subprocess

import pytest

from harness import places
from harness.cage import needs_own_user
from harness.wait import until


def examine(guard, **more) -> tuple[int, list[dict]]:
    done = guard.run_command("doctor", "--json", **more)
    document = json.loads(done.stdout)
    assert document["worst"] == max((one["grade"] for one in document["findings"]), key=["ok", "warning", "problem"].index)
    assert (done.returncode == 1) == (document["worst"] == "problem"), done.stderr
    return done.returncode, document["findings"]


def about(findings: list[dict], word: str) -> list[dict]:
    return [one for one in findings if one["about"] == word]


def grades(findings: list[dict], word: str) -> list[str]:
    return [one["grade"] for one in about(findings, word)]


@pytest.fixture
def settled(fresh):
    """A guard whose ComfyUI has all its folders, as an installed one has."""
    running = fresh()
    for name in ("custom_nodes", "models", "input", "output", "temp", "user"):
        path = running.dir / "out" / name
        path.mkdir(exist_ok=True)
        if places.AS_ROOT:
            shutil.chown(path, places.COMFYUI_USER, places.COMFYUI_USER)
    return running


def test_a_guard_that_runs_well_has_no_problem(settled):
    code, findings = examine(settled)
    assert code == 0, [one for one in findings if one["grade"] == "problem"]
    for word in ("config", "guard", "ports", "key", "certificate", "files", "GPU"):
        assert grades(findings, word) == ["ok"], about(findings, word)
    assert {"clock", "disk", "memory"} <= {one["about"] for one in findings}
    assert all(one["cure"] or one["grade"] == "ok" or ":" in one["found"] for one in findings)
    (version,) = about(findings, "ComfyUI")
    assert version["grade"] == "warning" and version["found"].startswith("0.3.64 has known holes") and "0.28" in version["cure"]


def test_people_get_text_that_fits_and_no_colours_in_a_pipe(settled):
    done = settled.run_command("doctor")
    text = done.stdout.decode()
    assert done.returncode == 0 and "ok       key" in text and "-> update it to 0.28 or later" in text
    assert all(len(line) <= 80 or line.strip().startswith("https://") for line in text.splitlines()) and "\x1b" not in text


def test_without_a_guard_it_works_too(settled):
    settled.stop()
    code, findings = examine(settled)
    assert code == 0 and grades(findings, "guard") == ["warning"] and "systemctl start" in about(findings, "guard")[0]["cure"]
    assert grades(findings, "key") == ["ok"] and grades(findings, "certificate") == ["ok"]


def test_a_missing_key_a_wide_one_and_none_at_all(settled):
    settled.key_file.chmod(0o644)
    (told,) = about(examine(settled)[1], "key")
    assert told["grade"] == "problem" and "chmod 600" in told["found"]
    settled.key_file.unlink()
    assert grades(examine(settled)[1], "key") == ["ok"], "the guard that runs still has it"
    settled.stop()
    code, findings = examine(settled)
    (told,) = about(findings, "key")
    assert code == 1 and told["grade"] == "problem" and "comfy-guard set-key" in told["cure"]
    settled.change({"auth": {"enabled": False}})
    assert grades(examine(settled)[1], "key") == ["warning"]
    settled.change({"auth": {"enabled": True}})


def test_a_comfyui_around_the_guard_is_found(settled):
    """A real one: with --listen, and with its own guard against other sites switched off."""
    assert grades(examine(settled)[1], "ports") == ["ok"]
    with socket.socket() as probe:
        port = next(port for port in range(8188, 8200) if probe.connect_ex(("127.0.0.1", port)))
    directory, python = places.standin()
    line = [str(python), "main.py", "--listen", "0.0.0.0", "--port", str(port), "--enable-cors-header", "--base-directory", str(settled.dir / "out")]
    with subprocess.Popen(line, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as around:
        try:
            def told():
                findings = examine(settled)[1]
                return grades(findings, "ports") == ["problem"] and findings

            findings = until(told, 20, "the open port")
            assert f"0.0.0.0:{port}" in about(findings, "ports")[0]["found"] and "--listen 127.0.0.1" in about(findings, "ports")[0]["cure"]
            (cors,) = [one for one in about(findings, "ComfyUI") if one["grade"] == "problem"]
            assert f"process {around.pid} runs with --enable-cors-header" in cors["found"]
        finally:
            around.terminate()
    assert grades(examine(settled)[1], "ports") == ["ok"]


@needs_own_user
def test_a_custom_node_that_opens_a_door_is_found(settled):
    source = "import socket, __main__\n__main__.door = socket.create_server(('0.0.0.0', 0))\nresult = __main__.door.getsockname()[1]"
    port = settled.request("POST", "/_standin/node", content=source.encode(), key=True).json()["result"]
    (told,) = about(examine(settled)[1], "ports")
    assert told["grade"] == "warning" and f"0.0.0.0:{port}" in told["found"]


def test_nodes_that_others_can_change_and_the_manager_cannot(settled):
    node = settled.dir / "out/custom_nodes/ComfyUI-Manager"
    node.mkdir()
    (node / "pyproject.toml").write_text('[project]\nname = "comfyui-manager"\nversion = "3.37"\n')
    code, findings = examine(settled)
    (manager,) = about(findings, "Manager")
    assert manager["grade"] == "warning" and "CVE-2025-67303" in manager["found"] and "3.40" in manager["cure"]
    if places.AS_ROOT:
        (told,) = about(findings, "files")
        assert told["grade"] == "warning" and f"chown -R comfyui: {node}" == told["cure"]
    (node / "pyproject.toml").chmod(0o666)
    code, findings = examine(settled)
    assert code == 1 and "problem" in grades(findings, "files")
    (node / "pyproject.toml").chmod(0o644)
    if places.AS_ROOT:
        for path in (node, node / "pyproject.toml"):
            shutil.chown(path, places.COMFYUI_USER, places.COMFYUI_USER)
    assert grades(examine(settled)[1], "files") == ["ok"]


def test_a_limit_of_all_memory_is_told(settled):
    settled.change({"comfyui": {"limits": {"memory": "9000GB"}}})
    assert grades(examine(settled)[1], "memory") == ["warning"]
    settled.change({"comfyui": {"limits": {"memory": "1GB"}}})
    assert grades(examine(settled)[1], "memory") == ["ok"]


@needs_own_user
def test_a_user_in_a_group_of_the_guards_is_told(settled):
    """comfyui.groups counts as the user database does."""
    assert grades(examine(settled)[1], "users") == ["ok"]
    for group in (places.SERVICE_USER, "root"):
        settled.change({"comfyui": {"groups": [group]}})
        (told,) = about(examine(settled)[1], "users")
        assert told["grade"] == "problem" and group in told["found"]


def test_a_broken_configuration_is_told_and_the_rest_is_looked_at(settled):
    text = settled.config_file.read_text()
    settled.config_file.write_text(text + "\n[comfyui.nonsense]\nx = 1\n")
    code, findings = examine(settled)
    assert code == 1 and grades(findings, "config") == ["problem"] and str(settled.config_file) in about(findings, "config")[0]["found"]
    assert about(findings, "clock") and about(findings, "GPU")
    settled.config_file.write_text(text)
    settled.change({"comfyui": {"directory": "/nonexistent"}})
    assert examine(settled)[0] == 1


def test_a_certificate_that_does_not_fit(settled):
    settled.change({"tls": {"names": ["another.example"]}})
    (told,) = about(examine(settled)[1], "certificate")
    assert told["grade"] == "warning" and "another.example" in told["found"]
    settled.reload()
    until(lambda: grades(examine(settled)[1], "certificate") == ["ok"], 10, "the reload mends it, as the cure says")


@needs_own_user
def test_other_users_see_less_and_are_told_so(settled):
    for path in (settled.dir, settled.dir / "etc", settled.config_file):
        path.chmod(0o755)
    settled.launcher = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]
    code, findings = examine(settled)
    assert code == 0 and "root" in about(findings, "guard")[0]["found"]
    for word in ("key", "certificate"):
        assert grades(findings, word) == ["warning"] and about(findings, word)[0]["cure"] == "run this as root"

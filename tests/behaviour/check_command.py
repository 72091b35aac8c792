"""`comfy-guard check`: every finding at once with path:line:col, the line and a caret; exit 78; nothing is started.

DESIGN section 3, "Bad input gets a clear error and loses nothing".
"""

import re
import socket

import pytest

from harness import places, procs, toml

CONFIG, USAGE = 78, 64


@pytest.fixture
def box(guard):
    """A file for broken configurations beside the shared guard's own."""
    path = guard.dir / "etc/checked.toml"
    yield lambda text: (path.write_text(text), guard.run_command("check", config=path))[1], guard, path
    path.unlink(missing_ok=True)


def test_good_configuration_passes_and_starts_nothing(box):
    check, guard, _ = box
    change = {"listen": {"https": ["127.0.0.1:1"]}, "comfyui": {"port": 2}}
    before = set(procs.mentioning(str(guard.dir)))
    done = check(toml.write(toml.merge(guard.config, change)))
    assert done.returncode == 0, done.stderr
    assert set(procs.mentioning(str(guard.dir))) <= before


# name: (edit of the good text, text on the cited line, word in the finding)
FAULTS = {
    "syntax": (lambda text: text.replace("[auth]", "[auth"), "[auth", ""),
    "unknown key": (lambda text: text.replace("[auth]", "[auth]\nenabeld = true"), "enabeld", "enabeld"),
    "unknown section": (lambda text: text + "\n[listen]\nx = 1\n", "[listen]", "listen"),
    "wrong type": (lambda text: text.replace("[auth]", "[auth]\nenabled = 7"), "enabled = 7", "enabled"),
    "bad address": (lambda text: re.sub(r'https = .*', 'https = ["300.1.1.1:443"]', text), "300.1.1.1", "https"),
    "address without a port": (lambda text: re.sub(r'https = .*', 'https = ["127.0.0.1"]', text), "127.0.0.1", "https"),
    "bad duration": (lambda text: text.replace('stop_timeout = "10s"', 'stop_timeout = "10 parsecs"'), "parsecs", "stop_timeout"),
    "duration without a unit": (lambda text: text.replace('stop_timeout = "10s"', 'stop_timeout = "10"'), 'stop_timeout = "10"', "stop_timeout"),
    "bad size": (lambda text: text + '\n[proxy]\nmax_upload = "100 loads"\n', "loads", "max_upload"),
    "bad network": (lambda text: text + '\n[proxy]\ntrusted = ["10.0.0.0/40"]\n', "10.0.0.0/40", "trusted"),
    "bad choice": (lambda text: text.replace("[auth]", '[auth]\nanonymous_websocket = "maybe"'), "maybe", "anonymous_websocket"),
    "port out of range": (lambda text: re.sub(r"\nport = \d+", "\nport = 70000", text), "70000", "port"),
    "relative directory": (lambda text: re.sub(r'\ndirectory = "[^"]*standin"', '\ndirectory = "standin"', text), "standin", "directory"),
    "certificate without its key": (lambda text: text + '\n[tls]\ncertificate = "/etc/x.pem"\n', "/etc/x.pem", "private_key"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_cited_with_line_column_and_caret(box, fault):
    check, guard, path = box
    edit, cited, word = FAULTS[fault]
    text = edit(toml.write(guard.config))
    done = check(text)
    assert done.returncode == CONFIG
    told = done.stderr.decode()
    places_ = re.findall(re.escape(str(path)) + r":(\d+):(\d+)", told)
    assert places_, told
    assert any(cited in text.splitlines()[int(line) - 1] for line, _ in places_), told
    assert re.search(r"^[\s|]*\^+", told, re.M), told
    assert word in told and "panicked" not in told


def test_all_findings_come_at_once(box):
    check, guard, path = box
    text = toml.write(guard.config).replace("[auth]", '[auth]\nanonymous_websocket = "maybe"\nenabeld = 1').replace('stop_timeout = "10s"', 'stop_timeout = "x"')
    told = check(text).stderr.decode()
    assert {"anonymous_websocket", "enabeld", "stop_timeout"} <= set(re.findall(r"\w+", told))
    assert len(set(re.findall(re.escape(str(path)) + r":(\d+):", told))) >= 3


@pytest.mark.parametrize("text", ["", "[listen]\n", "\0", "\ufeff[auth]\n", "[comfyui]\ndirectory = 1\n", "a" * 100_000, "[[[[[[" * 1000], ids=range(7))
def test_odd_files_are_a_finding_not_a_crash(box, text):
    check, _, _ = box
    done = check(text)
    assert done.returncode == CONFIG, done.stderr[-500:]


def test_missing_file_is_named(guard):
    done = guard.run_command("check", config=guard.dir / "no-such.toml")
    assert done.returncode in (CONFIG, 66) and b"no-such.toml" in done.stderr


def test_environment_and_drop_in_are_checked_and_named_too(guard):
    assert guard.run_command("check", env={"COMFY_GUARD_COMFYUI__PORT": "seventy"}).returncode == CONFIG
    folder = guard.dir / "etc/conf.d"
    folder.mkdir()
    try:
        (folder / "10-site.toml").write_text('[auth]\nanonymous_websocket = "maybe"\n')
        done = guard.run_command("check")
        assert done.returncode == CONFIG and re.search(r"10-site\.toml:2:\d+", done.stderr.decode())
    finally:
        (folder / "10-site.toml").unlink()
        folder.rmdir()


@pytest.mark.parametrize("address", ["0.0.0.0:8443", "[::]:8443", "192.0.2.1:8443"])
def test_no_auth_is_refused_off_loopback(guard, address):
    """Off only by an explicit word, and never where others can reach it."""
    path = guard.dir / "etc/open.toml"
    path.write_text(toml.write(toml.merge(guard.config, {"listen": {"https": [address]}, "auth": {"enabled": False}})))
    assert guard.run_command("check", config=path).returncode == CONFIG
    assert guard.run_command("run", config=path).returncode == CONFIG
    path.write_text(toml.write(toml.merge(guard.config, {"listen": {"https": [address]}})))
    assert guard.run_command("run", "--no-auth", config=path).returncode in (CONFIG, USAGE)
    path.unlink()


def test_no_auth_on_loopback_serves_without_a_key(fresh):
    running = fresh(key=None, arguments=["--no-auth"])
    assert running.get("/queue").status == 200
    running.until_log("auth")


def test_run_with_a_broken_configuration_exits_78_and_leaves_nothing(guard):
    path = guard.dir / "etc/broken.toml"
    path.write_text("[auth\n")
    done = guard.run_command("run", config=path)
    assert done.returncode == CONFIG and b"broken.toml:1:" in done.stderr
    path.unlink()


def test_port_that_is_taken_is_named(guard):
    done = guard.run_command("run")
    assert done.returncode not in (0, 101) and str(guard.port).encode() in done.stderr
    assert guard.get("/queue", key=True).status == 200


def test_comfyui_port_that_is_taken_is_named(fresh):
    """COMFYUI.md: ComfyUI loads everything and then exits 1; the guard looks first."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        running = fresh(wait="answers", config={"comfyui": {"port": taken.getsockname()[1]}})
        running.until_log(str(taken.getsockname()[1]), 10)
        assert running.get("/health").status == 503
        assert running.get("/queue", key=True).status in (502, 503)


@pytest.mark.parametrize("line", [["nonsense"], ["run", "--nonsense"], ["set-key", "--stdin", "--generate"]])
def test_misuse_of_the_command_line_is_64_or_2(guard, line):
    assert guard.run_command(*line).returncode in (USAGE, 2)


def test_shipped_template_is_valid_and_names_every_section():
    """The commented template that is installed as the configuration."""
    found = [path for path in places.ROOT.rglob("config.toml") if "target" not in path.parts and ".venv" not in path.parts]
    assert found, "no shipped config.toml template"
    text = found[0].read_text()
    for section in ("listen", "tls", "auth", "proxy", "comfyui", "state", "log"):
        assert f"[{section}]" in text

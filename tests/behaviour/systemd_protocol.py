"""sd_notify(3) and sd_listen_fds(3) as systemd 252 speaks them: READY, STATUS, RELOADING, STOPPING, WATCHDOG, passed sockets.

P18: a passed socket is served over TLS like any other.
"""

import os
import signal
import socket
import time

import pytest

from harness import places, procs
from harness.guard import Guard, free_port, strong_key
from harness.wait import until


def listener(host: str = "127.0.0.1") -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((host, 0))
    made.listen(64)
    return made


def first(lines: list[str], prefix: str) -> int:
    return next(number for number, line in enumerate(lines) if line.startswith(prefix))


def test_ready_comes_when_guests_can_be_served_and_not_before(fresh):
    """A unit ordered After= us may send a guest at once."""
    running = fresh(wait=None, comfyui_arguments=["--start-delay", "1"])
    until(lambda: running.notify.saw("READY=1"), 30, "READY=1")
    assert running.get("/queue", key=True).status == 200
    assert running.notify.gather().count("READY=1") == 1
    assert running.healthy()


def test_status_is_told_in_words(fresh):
    running = fresh()
    told = [line.removeprefix("STATUS=") for line in running.notify.gather() if line.startswith("STATUS=")]
    assert told and all(" " in line for line in told)
    count = len(running.notify.gather())
    os.kill(running.pids()["comfyui"], signal.SIGKILL)
    until(lambda: [line for line in running.notify.gather()[count:] if line.startswith("STATUS=")], 5, "a new STATUS= when ComfyUI died")
    until(running.healthy, 20, "ComfyUI is back")
    until(lambda: [line for line in running.notify.gather() if line.startswith("STATUS=")][-1] != "", 5, "STATUS= after it came back")


def test_a_comfyui_that_cannot_be_started_does_not_hold_the_unit_up(fresh):
    """`systemctl start` would wait for minutes, and then not say why."""
    running = fresh(wait=None, config={"comfyui": {"python": "/nonexistent/python"}})
    until(lambda: running.notify.saw("READY=1"), 10, "READY=1")
    said = [line for line in running.notify.gather() if line.startswith("STATUS=")][-1]
    assert "/nonexistent/python" in said, said
    assert running.get("/queue", key=True).status == 503


def asked_with(running, key: str) -> int:
    return running.get("/queue", headers={"Authorization": f"Bearer {key}"}).status


@pytest.fixture
def given_key(tmp_path):
    """The folder of credentials as systemd 252 makes it, with a key that the box was provisioned with."""
    if places.AS_ROOT:
        for folder in (tmp_path, *tmp_path.parents[:2]):
            folder.chmod(0o755)
    key = tmp_path / "comfy-guard.key"
    key.write_text(strong_key() + "\n")
    key.chmod(0o440)
    return key


def test_a_key_is_taken_from_the_managers_credentials_until_one_is_set(fresh, given_key):
    running = fresh(key=None, env={"CREDENTIALS_DIRECTORY": str(given_key.parent)})
    given, mine = given_key.read_text().strip(), strong_key()
    assert asked_with(running, given) == 200
    assert running.get("/queue").status == 401
    assert b"CREDENTIALS_DIRECTORY" not in procs.read(running.pids()["comfyui"], "environ")
    running.set_key(mine)
    until(lambda: asked_with(running, mine) == 200, 5, "the key that was set is in force")
    assert asked_with(running, given) == 401


def test_a_credential_that_others_can_read_lets_nobody_in(fresh, given_key):
    given_key.chmod(0o444)
    running = fresh(key=None, wait="answers", env={"CREDENTIALS_DIRECTORY": str(given_key.parent)})
    running.until_log("has mode 0444")
    assert asked_with(running, given_key.read_text().strip()) == 503


def test_reload_is_announced_and_ended(fresh):
    running = fresh()
    for spoil in (False, True):
        if spoil:
            running.config_file.write_text("[broken")
        count = len(running.notify.gather())
        running.reload()
        until(lambda: running.notify.saw("READY=1", count), 5, "READY=1 after a reload")
        lines = running.notify.gather()[count:]
        assert first(lines, "RELOADING=1") < first(lines, "READY=1")


def test_stopping_is_announced_and_never_followed_by_ready(fresh):
    running = fresh()
    count = len(running.notify.gather())
    running.stop()
    lines = running.notify.gather()[count:]
    assert "STOPPING=1" in lines
    assert "READY=1" not in lines[lines.index("STOPPING=1"):]


def test_stopping_while_comfyui_still_starts_never_says_ready(fresh):
    running = fresh(wait="answers", comfyui_arguments=["--start-delay", "3"])
    running.stop()
    lines = running.notify.gather()
    assert "STOPPING=1" in lines and "READY=1" not in lines[lines.index("STOPPING=1"):]


def test_watchdog_is_fed_at_half_its_interval(fresh):
    running = fresh(env={"WATCHDOG_USEC": "1000000"})
    until(lambda: running.notify.gather().count("WATCHDOG=1") >= 4, 5, "the watchdog is fed")
    times = [when for when, line in running.notify.lines if line == "WATCHDOG=1"]
    assert max(later - earlier for earlier, later in zip(times, times[1:], strict=False)) < 1.0


def test_watchdog_stops_when_the_supervisor_does(fresh):
    """The feeding comes from the loop that does the work, not from a thread that outlives it."""
    running = fresh(env={"WATCHDOG_USEC": "1000000"})
    until(lambda: running.notify.saw("WATCHDOG=1"), 5, "the watchdog is fed")
    running.process.send_signal(signal.SIGSTOP)
    try:
        until(lambda: procs.stat(running.process.pid)[0] == "T", 2, "it stands still")
        count = len(running.notify.gather())
        time.sleep(1.2)  # longer than the interval: the absence of something can only be waited for
        assert running.notify.gather()[count:].count("WATCHDOG=1") == 0
    finally:
        running.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("env", [{}, {"WATCHDOG_USEC": "400000", "WATCHDOG_PID": "1"}], ids=["not asked", "another process is asked"])
def test_watchdog_that_is_not_ours_is_not_fed(fresh, env):
    """sd_watchdog_enabled(3): WATCHDOG_USEC says that it is wanted, WATCHDOG_PID by whom."""
    running = fresh(env=env)
    time.sleep(1.0)
    assert "WATCHDOG=1" not in running.notify.gather()


def test_manager_that_does_not_listen_holds_nothing_up(fresh):
    """A full notification socket (systemd busy, or being replaced) must not stop the supervisor's own work."""
    running = fresh(deaf_manager=True, wait="answers", env={"WATCHDOG_USEC": "200000"})
    until(running.healthy, 20, "service")
    for _ in range(20):
        running.reload()
        time.sleep(0.05)
    os.kill(running.pids()["gateway"], signal.SIGKILL)
    until(running.healthy, 5, "the gateway is brought back")
    running.stop(within=12)


def test_passed_sockets_take_the_place_of_listen_https(fresh):
    """Two sockets named https, one of them for IPv6, and a name that is not ours."""
    taken = free_port()
    with listener() as four, listener("::1") as six:
        running = fresh(sockets={"https": [four, six]}, config={"listen": {"https": [f"127.0.0.1:{taken}"]}}, wait=None)
        running.port = four.getsockname()[1]
        running.until_ready()
        assert running.get("/queue", key=True).status == 200
        assert running.get("/queue").status == 401
        running.host, running.port = "[::1]", six.getsockname()[1]
        assert running.get("/queue", key=True).status == 200
        running.host = "127.0.0.1"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", taken), 2)
        running.port = four.getsockname()[1]


def test_passed_socket_survives_the_gateway(fresh):
    with listener() as four:
        running = fresh(sockets={"https": [four]}, wait=None)
        running.port = four.getsockname()[1]
        running.until_ready()
        os.kill(running.pids()["gateway"], signal.SIGKILL)
        until(running.healthy, 5, "the gateway is back on the passed socket")


def test_abstract_notify_socket_works_too():
    """NOTIFY_SOCKET=@name: systemd uses it in containers."""
    name = f"comfy-guard-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name)
        manager.settimeout(30)
        with Guard(notify=False, env={"NOTIFY_SOCKET": "@" + name}):
            lines: list[str] = []
            while "READY=1" not in lines:
                lines += manager.recv(65536).decode().splitlines()

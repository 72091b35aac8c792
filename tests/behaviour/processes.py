"""Who runs as whom, with which rights, holding what: read from /proc, not from the program's own word.

DESIGN section 1 and its traps (capabilities survive setresuid; descriptors and environment leak into ComfyUI), P28.
"""

import os
import pwd
import re
import shutil
import subprocess

import pytest

from harness import places, procs
from harness.guard import strong_key
from harness.wait import until

CAP = {"KILL": 5, "SETGID": 6, "SETUID": 7}
# What Python needs to run, and what a user configured; a name beyond these was inherited by mistake.
COMFYUI_MAY_KNOW = {"PATH", "HOME", "LANG", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "TERM", "GREETING", "PYTHONUNBUFFERED", "__COMFY_CLI_SESSION__",
                    "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"}


def mask(*names: str) -> int:
    return sum(1 << CAP[name] for name in names)


def ids(pid: int, field: str) -> list[int]:
    return [int(text) for text in procs.status(pid)[field].split()]


def capabilities(pid: int) -> dict[str, int]:
    return {name: int(value, 16) for name, value in procs.status(pid).items() if name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}


ROLES = ["supervisor", "gateway", "sensor", "comfyui"]
USERS = {"supervisor": places.SERVICE_USER, "gateway": places.NETWORK_USER, "sensor": places.NETWORK_USER, "comfyui": places.COMFYUI_USER}


@pytest.mark.skipif(not places.AS_ROOT, reason="only root can switch users")
@pytest.mark.parametrize("role", ROLES)
def test_each_runs_as_its_own_user(guard, role):
    pid, who = guard.pids()[role], pwd.getpwnam(USERS[role])
    assert ids(pid, "Uid") == [who.pw_uid] * 4
    assert ids(pid, "Gid") == [who.pw_gid] * 4
    assert 0 not in ids(pid, "Groups")
    if role in ("gateway", "sensor"):
        assert set(ids(pid, "Groups")) <= {who.pw_gid} | (set(os.getgrouplist(who.pw_name, who.pw_gid)) if role == "sensor" else set())


@pytest.mark.skipif(not places.AS_ROOT, reason="only root can switch users")
def test_supervisor_keeps_three_capabilities_and_nobody_else_any(guard):
    pids = guard.pids()
    kept = capabilities(pids["supervisor"])
    assert kept["CapEff"] == kept["CapPrm"] == mask("SETUID", "SETGID", "KILL"), kept
    for role in ("gateway", "sensor", "comfyui"):
        assert set(capabilities(pids[role]).values()) == {0}, (role, capabilities(pids[role]))


@pytest.mark.parametrize("role", ROLES)
def test_no_new_privileges(guard, role):
    assert procs.status(guard.pids()[role])["NoNewPrivs"] == "1"


def test_comfyuis_environment_holds_nothing_of_ours(fresh):
    """Sanitised: what the service manager or the caller told us, tokens included, stays with us."""
    planted = {"COMFYUI_API_KEY": "k" * 8 + "0123456789abcdefghijklmnop", "AWS_SECRET_ACCESS_KEY": "planted", "PYTHONPATH": "/planted",
               "PYTHONSTARTUP": "/planted", "INVOCATION_ID": "planted", "JOURNAL_STREAM": "8:1", "CREDENTIALS_DIRECTORY": "/planted", "WATCHDOG_USEC": "60000000"}
    running = fresh(env=planted, config={"comfyui": {"environment": {"GREETING": "hello"}}})
    known = procs.environment(running.pids()["comfyui"])
    assert known["GREETING"] == "hello"
    assert "planted" not in "".join(known.values())
    assert not set(known) & {"COMFYUI_API_KEY", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "INVOCATION_ID", "JOURNAL_STREAM", "WATCHDOG_USEC"}
    assert not [name for name in known if name.startswith("COMFY_GUARD")]
    assert set(known) <= COMFYUI_MAY_KNOW, set(known) - COMFYUI_MAY_KNOW
    for role in ("gateway", "sensor") if places.AS_ROOT else ():
        assert "planted" not in "".join(procs.environment(running.pids()[role]).values()), role


@pytest.mark.skipif(not places.AS_ROOT, reason=places.ROOT_SEES)
def test_comfyui_holds_no_descriptor_of_ours(guard):
    """Nothing but its three standard streams, what it opened itself, and its own sockets: no listener, no socket pair, no key."""
    pid, supervisor = guard.pids()["comfyui"], guard.pids()["supervisor"]
    open_ = procs.descriptors(pid)
    ours = set(procs.descriptors(supervisor).values()) | set(procs.descriptors(guard.pids()["gateway"]).values())
    shared = {number: name for number, name in open_.items() if number > 2 and name in ours and name.startswith(("socket:", "pipe:", "/"))}
    assert shared == {}
    assert open_[0] == "/dev/null"
    assert not [name for name in open_.values() if str(guard.key_file.parent) in name or str(guard.dir / "state") in name]


@pytest.mark.skipif(not places.AS_ROOT, reason=places.ROOT_SEES)
def test_gateway_and_sensor_hold_no_file_of_secrets(guard):
    """Neither the hash nor the private key is open where network bytes or the driver's library are."""
    for role in ("gateway", "sensor"):
        for name in procs.descriptors(guard.pids()[role]).values():
            assert str(guard.dir / "etc") not in name and str(guard.dir / "state") not in name, (role, name)


@pytest.mark.skipif(not places.AS_ROOT, reason=places.ROOT_SEES)
def test_listening_sockets_live_in_the_supervisor_too(guard):
    """So that a connection that comes while the gateway is away waits instead of being refused."""
    inodes = re.findall(r"^\s*\d+: 0100007F:%04X \S+ 0A(?:\s+\S+){5}\s+(\d+)" % guard.port, open("/proc/net/tcp").read(), re.M)
    assert inodes
    held = set(procs.descriptors(guard.pids()["supervisor"]).values())
    assert all(f"socket:[{inode}]" in held for inode in inodes)


def test_comfyui_listens_on_loopback_only(guard):
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for address in re.findall(r"^\s*\d+: (\w+):%04X \S+ 0A" % guard.upstream.port, open(table).read(), re.M):
            assert address == "0100007F"


def test_comfyui_leads_its_own_process_group(guard):
    """So that a stop reaches all that it started."""
    pid = guard.pids()["comfyui"]
    assert procs.stat(pid)[2] == str(pid)
    assert "--listen 127.0.0.1" in procs.command(pid) and f"--port {guard.upstream.port}" in procs.command(pid)


def test_comfyui_starts_with_default_signals(fresh):
    """Python keeps an inherited SIG_IGN for SIGINT: started from a shell's background job it could never be stopped cleanly."""
    running = fresh(launcher=["sh", "-c", "trap '' INT QUIT HUP PIPE USR1; exec \"$@\"", "sh"])
    state = procs.status(running.pids()["comfyui"])
    ignored, blocked = int(state["SigIgn"], 16), int(state["SigBlk"], 16)
    assert ignored & ~(1 << 12 | 1 << 24) == 0  # Python itself ignores SIGPIPE and SIGXFSZ
    assert blocked == 0


@pytest.mark.skipif(not places.AS_ROOT, reason="needs another user to try it as")
def test_comfyuis_user_can_neither_read_nor_touch_ours(guard):
    """P28: tried from ComfyUI's own user."""
    pids = guard.pids()

    def as_comfyui(*line: str) -> int:
        return subprocess.run(["setpriv", "--reuid", places.COMFYUI_USER, "--regid", places.COMFYUI_USER, "--clear-groups", *line],
                              capture_output=True, timeout=20).returncode

    assert as_comfyui("cat", "/proc/self/status") == 0
    assert as_comfyui("cat", str(guard.key_file)) != 0
    for path in (guard.dir / "state").rglob("*"):
        if path.is_file() and path != guard.ca:
            assert as_comfyui("sh", "-c", f"echo x >> {path}") != 0, path
            if "key" in path.name:
                assert as_comfyui("cat", str(path)) != 0, path
    for role in ("supervisor", "gateway", "sensor"):
        assert as_comfyui("sh", "-c", f"kill -0 {pids[role]}") != 0, role
        assert as_comfyui("cat", f"/proc/{pids[role]}/environ") != 0, role
        assert as_comfyui("cat", f"/proc/{pids[role]}/mem") != 0, role


@pytest.mark.skipif(not places.AS_ROOT, reason="root becomes somebody else here")
def test_started_by_a_plain_user_everything_runs_as_that_user(fresh):
    """The quick start on a laptop: no user switch, the same rest."""

    def give_away(guard):
        for path in (guard.dir, *guard.dir.rglob("*")):
            shutil.chown(path, "nobody", "nogroup")

    who = pwd.getpwnam("nobody")
    launcher = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
    key = strong_key()
    running = fresh(as_root=False, key=None, before=lambda guard: (give_away(guard), guard.set_key(key)), launcher=launcher)
    running.key = key
    assert running.get("/queue", key=True).status == 200
    for role, pid in running.pids().items():
        assert ids(pid, "Uid") == [who.pw_uid] * 4, role
        state = procs.status(pid)
        assert capabilities(pid)["CapEff"] == 0 and (state["NoNewPrivs"], state["Seccomp"]) == ("1", "2"), role
    os.kill(running.pids()["gateway"], 9)
    until(running.healthy, 5, "the gateway is back")


def test_a_sample_ps_reads_well(guard):
    """An administrator tells the parts apart in `ps` and `top`."""
    pids = guard.pids()
    assert procs.command(pids["gateway"]).startswith("comfy-guard: gateway")
    assert procs.command(pids["sensor"]).startswith("comfy-guard: sensor")
    assert procs.read(pids["gateway"], "comm").strip() != b"exe"

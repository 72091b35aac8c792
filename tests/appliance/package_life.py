"""The package's life on a box that works: installed again, upgraded under load, downgraded, removed, purged.

Pitfall P30 (an upgrade loses the running job), and what policy says of configuration and keys.
"""

import time

import pytest

from appliance.boxes import packages
from appliance.boxes.guest import sleeping
from appliance.boxes.load import Load
from harness.guard import strong_key
from harness.wait import until

CONFIG = "/etc/comfy-guard/config.toml"
KEY = "/etc/comfy-guard/key"
STATE = "/var/lib/comfy-guard"


def installed_version(box) -> str:
    return box.out("dpkg-query", "-W", "-f", "${Version}", "comfy-guard")


def identity(box) -> str:
    """Key, certificates and sessions: what must never be lost by accident."""
    return box.sh(f"find {KEY} {STATE} /etc/comfy-guard/conf.d -type f -exec sha256sum {{}} + ; find {KEY} {STATE} ! -type s -printf '%p %u %g %m\\n'").stdout


def test_reinstall_changes_nothing(container):
    box = container
    before, kept = box.pids(), identity(box)
    packages.install(box, "--reinstall")
    assert box.pids() == before
    assert identity(box) == kept
    assert box.guest(box.key).get("/queue", key=True).status == 200


def test_upgrade_and_downgrade_under_load_lose_no_job_and_refuse_nobody(box):
    guest, before, kept = box.guest(box.key), box.pids(), identity(box)
    # A slow machine is not to be kept from its work.
    load_of = {"threads": 3, "pause": 0.05} if box.patience == 1 else {"threads": 1, "pause": 0.5}
    for version, step in ((packages.later(), "upgrade"), (packages.version(), "downgrade")):
        job = guest.queue(sleeping(3 * box.patience))
        with Load(guest, **load_of) as load:
            if step == "upgrade":
                packages.offer(box, packages.as_version(version))
            packages.install(box, "--allow-downgrades", number=version)
            assert installed_version(box) == version
            done = until(lambda: guest.finished(job), 20 * box.patience, "the job that ran meanwhile", every=0.1)
        assert done["status"]["status_str"] == "success", (step, done)
        assert set(load.seen) == {200}, (step, load.seen)
        assert load.seen[200] > 10, (step, load.seen)
        assert box.pids() == before, step
        assert identity(box) == kept, step


def test_after_an_upgrade_a_dead_gateway_comes_back(new_serving):
    """The program on the disk is another one by then: the roles are started from the one that runs."""
    box = new_serving()
    guest, before = box.guest(box.key), box.pids()
    packages.offer(box, packages.as_version(packages.later()))
    packages.install(box)
    box.run("kill", "-9", before["gateway"])
    until(lambda: box.pids().get("gateway") not in (None, before["gateway"]), 10, "another gateway")
    until(guest.healthy, 10, "guests are served again")
    assert box.pids()["comfyui"] == before["comfyui"]


def test_restart_takes_the_new_version_and_refuses_no_connection(new_serving):
    box = new_serving()
    guest, before = box.guest(box.key), box.pids()
    packages.offer(box, packages.as_version(packages.later()))
    packages.install(box)
    with Load(guest, "/health") as load:
        time.sleep(0.5)
        box.run("systemctl", "restart", "comfy-guard")
        until(guest.healthy, 30, "guests are served again")
    after = box.pids()
    assert not set(before.values()) & set(after.values())
    assert box.run("cmp", f"/proc/{after['supervisor']}/exe", "/usr/bin/comfy-guard", check=False).returncode == 0
    # 503 while ComfyUI starts; a connection that comes in between waits in the socket, which systemd holds.
    assert set(load.seen) <= {200, 503}, load.seen


def test_what_the_administrator_wrote_survives_upgrade_and_removal(new_serving):
    box = new_serving()
    # Their file, and a new one of ours: dpkg keeps theirs, and asks nobody where nobody can answer.
    box.run("sed", "-i", "s/^#access = false/access = true/", CONFIG)
    box.put("/etc/comfy-guard/conf.d/50-mine.toml", "[comfyui]\nstop_timeout = \"9s\"\n")
    box.put("/etc/systemd/system/comfy-guard.service.d/mine.conf", "[Service]\nEnvironment=MINE=1\n")
    mine = box.get(CONFIG)
    assert "\naccess = true" in mine
    packages.offer(box, packages.as_version(packages.later(), conffile="# a new line of the package's\n"))
    packages.install(box)
    assert box.get(CONFIG) == mine
    assert "a new line of the package's" in box.get(f"{CONFIG}.dpkg-dist")
    kept = identity(box)
    box.run("apt-get", "remove", "--yes", "--quiet", "comfy-guard")
    assert box.get(CONFIG) == mine and identity(box) == kept
    assert "50-mine" in "".join(box.files("/etc/comfy-guard"))
    packages.install(box)
    assert box.get(CONFIG) == mine and identity(box) == kept


def test_removed_nothing_of_it_runs_and_its_identity_stays(new_serving):
    box = new_serving()
    kept = identity(box)
    box.run("apt-get", "remove", "--yes", "--quiet", "comfy-guard")
    assert box.of_the_guard() == []
    assert ":443 " not in box.out("ss", "-Hltn")
    assert identity(box) == kept
    for unit in ("comfy-guard.service", "comfy-guard.socket"):
        # Debian's way: what is removed and not purged stays masked until it is installed again.
        assert box.unit("ActiveState", unit=unit)["ActiveState"] == "inactive", unit
    assert box.out("systemctl", "--failed", "--no-legend") == ""
    # Installed again it is the same guard: no new key, no new certificate.
    packages.install(box)
    box.run("systemctl", "start", "comfy-guard")
    guest = box.until_served(box.key)
    assert guest.get("/queue", key=True).status == 200
    assert identity(box) == kept


@pytest.mark.parametrize("way", ["purge after remove", "purge at once"])
def test_purged_it_leaves_the_box_as_it_was(new_container, way):
    box = new_container()
    trees = ("/etc", "/usr", "/lib", "/var", "/opt", "/root", "/srv")
    packages.add_repository(box)
    before = box.files(*trees)
    packages.install(box)
    packages.give_comfyui_its_folders(box)
    box.key = strong_key()
    box.serve(box.key)
    box.put("/opt/comfyui/output/a-picture.png", b"not ours to remove", owner="comfyui:comfyui")
    box.run("systemctl", "enable", "comfy-guard-redirect.socket")
    if way == "purge after remove":
        box.run("apt-get", "remove", "--yes", "--quiet", "comfy-guard")
    box.run("apt-get", "purge", "--yes", "--quiet", "comfy-guard")
    assert box.of_the_guard() == []
    left = {path for path in box.files(*trees) - before if not is_the_systems_own(path)}
    assert left == set(), sorted(left)
    assert box.exists("/opt/comfyui/output/a-picture.png")
    # Users stay, as Debian's policy advises: their numbers must not come to belong to somebody else.
    for user in ("comfy-guard", "comfy-guard-net", "comfyui"):
        assert box.run("getent", "passwd", user).returncode == 0


def is_the_systems_own(path: str) -> bool:
    """Files that dpkg, apt, systemd and ComfyUI keep for themselves."""
    return path.startswith((
        "/var/lib/dpkg/", "/var/lib/apt/", "/var/cache/", "/var/log/", "/var/lib/systemd/", "/var/backups/", "/var/tmp/", "/opt/comfyui/", "/var/lib/comfyui",
        "/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/subuid", "/etc/subgid", "/etc/.pwd.lock", "/etc/machine-id", "/var/lib/dbus/"))

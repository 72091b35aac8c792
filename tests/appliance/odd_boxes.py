"""Boxes that are not as one expects: made as an image without systemd running, with a user or a ComfyUI of their own."""

import subprocess

from appliance.boxes import packages
from appliance.from_nothing import do_a_job
from harness.guard import strong_key
from harness.wait import until


def in_chroot(root, script: str) -> subprocess.CompletedProcess:
    """As an image builder does: no systemd, no /proc, nothing of the builder's environment."""
    done = subprocess.run(["chroot", str(root), "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "sh", "-ec", script],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def build_image(root) -> None:
    """The package installed by apt in a folder that nothing has booted."""
    target = root / packages.REPOSITORY.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", str(packages.repository()), str(target)], check=True)
    add = "\n".join(packages.to_type())
    in_chroot(root, f"{add}\napt-get install --yes --quiet comfy-guard\ncd /opt/comfyui && chown -R comfyui: input output temp user custom_nodes models")


def test_image_built_without_systemd_makes_its_own_certificate_at_its_first_boot(new_container):
    box = new_container(prepare=build_image)
    assert not [path for path in box.files("/etc/comfy-guard") if path.endswith("/key")]
    until(lambda: box.state() == "active", 30, "the unit is up without anybody's doing")
    assert "set-key" in box.unit("StatusText")["StatusText"]
    # This box gets its address after it has booted, so the certificate need not name it yet.
    assert box.guest(named=False).get("/health").json()["status"] == "no_key"
    # Made by this boot, not by the build: the machine's number is younger than the image, and so is the authority.
    made = [box.out("stat", "-c", "%Y", path) for path in ("/etc/machine-id", "/var/lib/comfy-guard/tls/ca.pem")]
    assert abs(int(made[0]) - int(made[1])) < 30, made
    key = strong_key()
    box.run("comfy-guard", "set-key", "--stdin", stdin=key)
    assert box.until_served(key, named=False).get("/queue", key=True).status == 200
    # And soon it does, without anybody's doing.
    assert box.until_served(key).get("/queue", key=True).status == 200


def test_a_key_can_come_with_the_box_as_a_credential(new_container):
    """For machines that nobody logs in to: systemd hands it to the unit alone."""
    key, another = strong_key(), strong_key()

    def provision(root):
        build_image(root)
        store = root / "etc/credstore"
        store.mkdir(mode=0o700, exist_ok=True)
        (store / "comfy-guard.key").write_text(f"{key}\n")
        (store / "comfy-guard.key").chmod(0o600)

    box = new_container(prepare=provision)
    until(lambda: box.state() == "active", 30, "the unit is up without anybody's doing")
    assert box.until_served(key).get("/queue", key=True).status == 200
    assert box.run("runuser", "-u", "comfyui", "--", "ls", "/run/credentials/comfy-guard.service", check=False).returncode != 0
    box.run("comfy-guard", "set-key", "--stdin", stdin=another)
    until(lambda: box.guest(another).get("/queue", key=True).status == 200, 10, "the key that was set")
    assert box.guest(key).get("/queue", key=True).status == 401


def test_two_boxes_of_one_image_have_different_certificates(new_container):
    boxes = [new_container(prepare=build_image) for _ in range(2)]
    for box in boxes:
        until(lambda: box.state() == "active", 30, "the unit is up")
    first, second = (box.out("comfy-guard", "ca") for box in boxes)
    assert first != second


def test_an_image_with_nothing_installed_before_boot_leaves_no_key_and_no_certificate(new_container):
    """What is built into an image is in the hands of all who have the image."""
    found = []

    def look(root):
        build_image(root)
        state = root / "var/lib/comfy-guard"
        found.extend(str(path) for folder in (state, root / "etc/comfy-guard") for path in folder.rglob("*") if path.is_file())

    new_container(prepare=look)
    assert [path for path in found if path.endswith(("key", ".pem", ".json"))] == []


def test_the_user_comfyui_that_is_there_already_is_left_alone(new_container):
    def add_user(root):
        in_chroot(root, "groupadd --gid 4321 artists && useradd --uid 4321 --gid artists --create-home --home-dir /home/comfyui --shell /bin/bash comfyui")

    box = new_container(prepare=add_user)
    before = box.out("getent", "passwd", "comfyui")
    packages.add_repository(box)
    packages.install(box)
    assert box.out("getent", "passwd", "comfyui") == before
    box.sh("cd /opt/comfyui && chown -R comfyui: input output temp user custom_nodes models")
    box.serve(strong_key())
    user = next(user for pid, _, user, _ in box.processes() if pid == box.pids()["comfyui"])
    assert user == "comfyui"
    assert box.out("sh", "-c", f"grep ^Gid: /proc/{box.pids()['comfyui']}/status").split()[1:] == ["4321"] * 4


def test_comfyui_elsewhere_needs_a_line_of_configuration_and_the_drop_in(new_container):
    """In somebody's home, which the unit hides and makes read-only by itself."""
    home = "/home/artist/ComfyUI"

    def move(root):
        in_chroot(root, f"useradd --system comfyui && mkdir -p /home/artist && mv /opt/comfyui {home} && cd {home} && chown -R comfyui: input output temp user custom_nodes models")

    box = new_container(prepare=move)
    packages.add_repository(box)
    packages.install(box)
    box.put("/etc/comfy-guard/conf.d/10-elsewhere.toml", f'[comfyui]\ndirectory = "{home}"\n')
    packages.use_drop_in(box, "elsewhere.conf", ("/srv/comfyui", home), ("#ProtectHome=read-only", "ProtectHome=read-only"))
    guest = box.serve(strong_key())
    assert box.out("readlink", f"/proc/{box.pids()['comfyui']}/cwd") == home
    do_a_job(guest, "elsewhere")
    assert box.sh(f"ls {home}/output").stdout.strip()

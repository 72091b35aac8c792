"""From a bare box to a served guest: how many commands, how many seconds; and what a box without a key says."""

import io

from PIL import Image

from appliance.boxes import packages
from behaviour.job import COLOR, run_job
from harness.wait import Stopwatch, until


def do_a_job(guest, prefix: str) -> None:
    """Queues EmptyImage → SaveImage over HTTPS, hears its progress on the WebSocket, and looks at the picture."""
    _, entry = run_job(guest, prefix, "/api", False)
    (image,) = entry["outputs"]["2"]["images"]
    answer = guest.get(f"/view?filename={image['filename']}&subfolder={image['subfolder']}&type={image['type']}", key=True)
    assert answer.status == 200, answer.body
    assert Image.open(io.BytesIO(answer.body)).convert("RGB").getpixel((5, 5)) == (COLOR >> 16, COLOR >> 8 & 255, COLOR & 255)


def test_five_commands_from_a_bare_box_to_a_job(new_container, capsys):
    box = new_container()
    add = packages.put_repository(box)
    seconds, steps = Stopwatch(), []

    def type_(*line: str) -> str:
        said = box.sh(line[0]) if len(line) == 1 else box.run(*line)
        steps.append((line[0] if len(line) == 1 else " ".join(line), seconds()))
        return said.stdout

    for line in add:
        type_(line)
    type_("apt-get", "install", "--yes", "comfy-guard")
    # ComfyUI was put there by root; that its folders are its user's is part of ComfyUI's own installation.
    packages.give_comfyui_its_folders(box)
    key = type_("comfy-guard", "set-key", "--generate").strip().splitlines()[-1].split()[-1]
    type_("systemctl", "enable", "--now", "comfy-guard")
    guest = box.until_served(key)
    served = seconds()
    do_a_job(guest, "first")
    done = seconds()
    with capsys.disabled():
        print(f"\n{len(steps)} commands; served after {served:.1f} s, the first job done after {done:.1f} s")
        for line, at in steps:
            print(f"  {at:5.1f} s  {line}")
    assert len(steps) <= 5
    assert guest.get("/queue").status == 401
    assert guest.get("/health").json()["status"] == "ok"


def test_without_a_key_the_unit_is_up_says_what_to_do_and_lets_nobody_in(new_container):
    box = new_container()
    packages.add_repository(box)
    packages.install(box)
    packages.give_comfyui_its_folders(box)
    box.run("systemctl", "enable", "--now", "comfy-guard")
    assert box.unit("ActiveState", "SubState", "NRestarts") == {"ActiveState": "active", "SubState": "running", "NRestarts": "0"}
    shown = box.out("systemctl", "status", "--no-pager", "comfy-guard")
    status = next(line for line in shown.splitlines() if "Status:" in line)
    assert "set-key" in status, shown
    guest = box.guest("a" * 64)
    for target in ("/", "/queue", "/api/prompt", "/ws", "/object_info", "/view?filename=a.png"):
        for key in (False, True):
            answer = guest.get(target, key=key)
            assert answer.status == 503, (target, key, answer)
    assert "set-key" in guest.get("/queue").body.decode()
    assert guest.get("/health").json()["status"] == "no_key"
    # And the key's arrival is all that was missing: nothing is started again.
    before = box.pids()["supervisor"]
    key = box.out("comfy-guard", "set-key", "--generate").splitlines()[-1].split()[-1]
    guest = box.until_served(key)
    assert guest.get("/queue", key=True).status == 200
    assert box.pids()["supervisor"] == before


def test_an_installed_box_starts_by_itself_after_a_reboot(new_container):
    """The unit and its socket are enabled by the installation: whoever forgets `enable` finds it up after the next boot."""
    box = new_container()
    packages.add_repository(box)
    packages.install(box)
    for unit in ("comfy-guard.service", "comfy-guard.socket"):
        assert box.out("systemctl", "is-enabled", unit) == "enabled", unit
    assert box.run("systemctl", "is-enabled", "comfy-guard-redirect.socket", check=False).stdout.strip() == "disabled"
    until(lambda: box.state() in ("inactive", "active"), 5)


def test_job_runs_in_an_installed_box(box):
    do_a_job(box.guest(box.key), "installed")

"""The units as systemd itself sees them on the box, and the redirect that two commands switch on."""

import re

import pytest

from appliance.boxes import packages
from appliance.boxes.container import Container
from appliance.conftest import serving
from appliance.from_nothing import do_a_job

UNITS = ("comfy-guard.service", "comfy-guard.socket", "comfy-guard-redirect.socket")


def exposure(box) -> float:
    """What `systemd-analyze security` thinks of the service: 0 is best, 10 worst."""
    last = box.out("systemd-analyze", "security", "--no-pager", "comfy-guard.service").splitlines()[-1]
    return float(re.search(r"(\d+\.\d+)", last)[1])


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_units_are_sound_and_close_on_both_versions_of_systemd(suite):
    with Container(suite) as bare:
        box = serving(bare)
        assert box.out("systemctl", "--version").split()[1] == {"bookworm": "252", "trixie": "257"}[suite]
        do_a_job(box.guest(box.key), "on-" + suite)
        said = box.run("systemd-analyze", "verify", "--man=no", *UNITS)
        assert [line for line in (said.stdout + said.stderr).splitlines() if "comfy-guard" in line] == []
        assert exposure(box) <= 2.0
        packages.use_drop_in(box, "isolated-network.conf")
        assert exposure(box) <= 1.5
        box.run("systemctl", "restart", "comfy-guard")
        do_a_job(box.until_served(box.key), "isolated-on-" + suite)


def test_two_commands_switch_the_redirect_on(new_serving):
    box = new_serving()
    assert ":80 " not in box.out("ss", "-Hltn")
    box.run("systemctl", "enable", "comfy-guard-redirect.socket")
    box.run("systemctl", "restart", "comfy-guard")
    box.until_served(box.key)
    head = box.sh(f"curl -sS -o /dev/null -D - http://{box.host}/queue?a=1").stdout
    assert re.match(r"HTTP/1.1 30[178] ", head), head
    assert f"location: https://{box.host}/queue?a=1" in head.lower(), head

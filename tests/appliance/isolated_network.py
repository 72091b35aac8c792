"""The isolated-network drop-in: guests come in by the passed port, nobody else reaches ComfyUI, and ComfyUI reaches nobody.

Each way is tried without the drop-in first, where it is open: a test that only saw it closed could not fail.
"""

import contextlib
import socket

import pytest

from appliance.boxes import packages
from appliance.from_nothing import do_a_job

# A user of the box who is nobody special asks ComfyUI past the guard.
LOCAL_USER = """
import os, urllib.request
os.setgid(65534); os.setuid(65534)
try:
    print(urllib.request.urlopen("http://127.0.0.1:8188/queue", timeout=5).status)
except OSError as error:
    print(error)
"""
REACH_OUT = """
import socket
try:
    socket.create_connection(("{host}", {port}), 5).close()
    print("reached")
except OSError as error:
    print(error)
"""


@contextlib.contextmanager
def listener(address: str):
    """Somebody outside who would be glad of a call."""
    with socket.create_server((address, 0)) as listening:
        listening.settimeout(10)
        yield listening


def reaches_out(box) -> tuple[str, bool]:
    """What ComfyUI's child was told when it called outside, and whether the call came."""
    with listener(box.listens_at) as listening:
        told = box.order(REACH_OUT.format(host=box.outside, port=listening.getsockname()[1]))
        listening.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            listening.accept()[0].close()
            return told["out"].strip(), True
        return told["out"].strip(), False


@pytest.fixture
def isolated(box):
    """The drop-in is in force; before, both ways were seen to be open."""
    assert box.python(LOCAL_USER) == "200"
    assert reaches_out(box) == ("reached", True)
    packages.use_drop_in(box, "isolated-network.conf")
    box.run("systemctl", "restart", "comfy-guard")
    box.until_served(box.key)
    yield box
    packages.drop_drop_in(box, "isolated-network.conf")
    box.run("systemctl", "restart", "comfy-guard")
    box.until_served(box.key)


def test_guests_come_in_local_users_do_not_and_comfyui_does_not_get_out(isolated):
    do_a_job(isolated.guest(isolated.key), "isolated")
    assert "refused" in isolated.python(LOCAL_USER)
    said, came = reaches_out(isolated)
    assert not came and "unreachable" in said, said
    # Names are not resolved either, and the box's other services on its loopback are another loopback's.
    loopback = isolated.order("import socket; print(sorted(name for _, name in socket.if_nameindex()))")
    assert loopback["out"].strip() == "['lo']"

"""Key file and certificate on an installed box, spoilt in every way of pitfall P27: refused and said so, or survived."""

import pytest

from appliance.boxes.container import Container
from appliance.conftest import serving
from harness.guard import strong_key
from harness.wait import until

KEY = "/etc/comfy-guard/key"
TLS = "/var/lib/comfy-guard/tls"

# What is done to the file, and the word that the log must have for it.
SPOILT_KEYS = {
    "symlink": (f"mv {KEY} {KEY}.elsewhere && ln -s {KEY}.elsewhere {KEY}", "link"),
    "hard link": (f"ln {KEY} {KEY}.second", "link"),
    "truncated": (f"truncate -s 20 {KEY}", "key"),
    "empty": (f"truncate -s 0 {KEY}", "set-key"),
    "open to the group": (f"chmod 640 {KEY}", "chmod"),
    "open to all": (f"chmod 644 {KEY}", "chmod"),
    "swapped for ComfyUI's": (f"cp {KEY} {KEY}.theirs && chown comfyui {KEY}.theirs && mv {KEY}.theirs {KEY}", "chown"),
    "swapped for a pipe": (f"rm {KEY} && mkfifo -m 600 {KEY} && chown comfy-guard {KEY}", "regular file"),
    "removed": (f"rm {KEY}", "set-key"),
}


@pytest.fixture(scope="module")
def victim():
    """A serving container for the tests of this file alone."""
    with Container() as box:
        yield serving(box)


@pytest.fixture
def spoilt(victim):
    """The same, mended after each test: whole key, whole certificate, guests served."""
    victim.since = cursor(victim)
    yield victim
    # More starts within ten seconds than an administrator makes, and than the unit allows.
    victim.sh(f"""rm -rf {KEY}.*
        systemctl reset-failed comfy-guard.service comfy-guard.socket
        systemctl is-active --quiet comfy-guard && exit
        systemctl stop comfy-guard.service comfy-guard.socket; systemctl reset-failed comfy-guard.service comfy-guard.socket; rm -rf {TLS}; systemctl start comfy-guard""")
    victim.key = strong_key()
    victim.run("comfy-guard", "set-key", "--stdin", stdin=victim.key)
    victim.until_served(victim.key)


def cursor(box) -> str:
    """Where the journal ends now."""
    return box.journal("-n", "1", "--show-cursor").splitlines()[-1].removeprefix("-- cursor: ")


def said_since(box) -> str:
    """What the guard wrote since the test began."""
    return box.journal("-t", "comfy-guard", f"--after-cursor={box.since}")


@pytest.mark.parametrize("fault", SPOILT_KEYS)
def test_spoilt_key_file_lets_nobody_in_and_a_new_key_mends_it(spoilt, fault):
    box, (spoil, word) = spoilt, SPOILT_KEYS[fault]
    box.sh(spoil)
    until(lambda: word in said_since(box), 5, f"{word!r} in the log", every=0.1)
    # A start with it: the unit is up, says what to do, and lets nobody in.
    box.run("systemctl", "restart", "comfy-guard")
    guest = box.guest(box.key)
    until(lambda: guest.answers() and guest.get("/queue", key=True).status == 503, 20, "nobody is let in", every=0.1)
    assert guest.get("/health").json()["status"] == "no_key"
    assert "set-key" in box.unit("StatusText")["StatusText"], box.unit("StatusText")
    box.key = strong_key()
    box.run("comfy-guard", "set-key", "--stdin", stdin=box.key)
    assert box.out("stat", "-c", "%F %U %a %h", KEY) == "regular file comfy-guard 600 1"
    assert box.until_served(box.key).get("/queue", key=True).status == 200


@pytest.mark.parametrize("fault", ["leaf truncated", "leaf key gone", "all gone"])
def test_own_certificate_that_was_lost_is_made_again(spoilt, fault):
    box = spoilt
    box.sh({"leaf truncated": f"truncate -s 40 {TLS}/leaf.pem", "leaf key gone": f"rm {TLS}/leaf-key.pem", "all gone": f"rm -r {TLS}"}[fault])
    before = box.run("cat", f"{TLS}/ca.pem", check=False).stdout
    box.run("systemctl", "restart", "comfy-guard")
    until(lambda: box.exists(f"{TLS}/leaf-key.pem"), 10, "a new leaf")
    assert box.until_served(box.key).get("/queue", key=True).status == 200
    assert (box.get(f"{TLS}/ca.pem") == before) == (fault != "all gone")


# A private key that others may have had is worth nothing: the guard does not start with it, and says so.
@pytest.mark.parametrize("fault", ["open to all", "a link", "another's"])
def test_own_private_key_in_other_hands_is_refused(spoilt, fault):
    box, leaf = spoilt, f"{TLS}/leaf-key.pem"
    box.sh({"open to all": f"chmod 644 {leaf}", "a link": f"mv {leaf} {TLS}/x && ln -s {TLS}/x {leaf}", "another's": f"chown comfyui {leaf}"}[fault])
    assert box.run("systemctl", "restart", "comfy-guard", check=False).returncode != 0
    until(lambda: "leaf-key.pem" in said_since(box), 5, f"the log names the file: {said_since(box)}")


def test_set_key_killed_at_any_moment_leaves_a_whole_key(spoilt):
    """The file is replaced, never written over: after a kill it holds the old key or the new one."""
    box = spoilt
    keys = {box.key}
    for milliseconds in range(0, 60, 4):
        new = strong_key()
        keys.add(new)
        box.sh(f"printf %s {new} | timeout --signal=KILL {0.001 + milliseconds / 1000} comfy-guard set-key --stdin; true")
        assert box.out("stat", "-c", "%F %U %a", KEY) == "regular file comfy-guard 600"
        assert box.get(KEY).startswith("$argon2id$")
    box.run("systemctl", "restart", "comfy-guard")
    until(lambda: box.guest().answers(), 10)
    right = [key for key in keys if box.run("comfy-guard", "verify-key", "--stdin", stdin=key, check=False).returncode == 0]
    assert len(right) == 1
    box.key = right[0]
    assert box.until_served(box.key).get("/queue", key=True).status == 200
    # What a kill leaves beside it is as closed as the key, and goes with a later key.
    left = "find /etc/comfy-guard -name '.key.*.new'"
    assert set(box.sh(f"{left} -printf '%m\\n'").stdout.split()) <= {"600"}
    box.sh(f"{left} -exec touch --date=yesterday {{}} +")
    box.run("comfy-guard", "set-key", "--stdin", stdin=box.key)
    assert box.sh("ls -A /etc/comfy-guard").stdout.split() == ["conf.d", "config.toml", "key"]

"""A box whose network comes up after the guard: its certificate is made anew for the address that guests will type, once."""

import subprocess

import pytest

from harness import places
from harness.wait import until

pytestmark = pytest.mark.skipif(not places.AS_ROOT, reason="only root makes a network namespace")

# A network of the guard's own, in which nothing but loopback is up.
ALONE = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
LATE = "192.0.2.77"


def test_an_address_that_comes_after_the_start_gets_into_the_certificate(fresh):
    guard = fresh(launcher=ALONE, wait=None)
    until(lambda: guard.notify.saw("READY=1"), 60, "READY=1")
    ca = guard.ca.read_bytes()
    before = len(guard.log())
    inside = ["nsenter", "--net", f"--target={guard.process.pid}"]
    subprocess.run([*inside, "ip", "address", "add", f"{LATE}/32", "dev", "lo"], check=True)
    guard.until_log(f"did not name {LATE}", 15, before)
    guard.until_log("new connections get the new certificate", 5, before)
    done = subprocess.run([*inside, "openssl", "s_client", "-connect", f"127.0.0.1:{guard.port}", "-CAfile", str(guard.ca), "-verify_ip", LATE, "-verify_return_error"], input=b"", capture_output=True, timeout=20)
    assert b"Verify return code: 0" in done.stdout, done.stdout + done.stderr
    assert guard.ca.read_bytes() == ca, "whoever trusted the authority still does"

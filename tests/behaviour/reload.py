"""SIGHUP: what is good is taken, what is broken keeps the old and says why, and nobody is interrupted.

Pitfall P18 (an expired certificate served in silence; TLS silently off) and DESIGN section 3, TLS.
"""

import shutil
import socket
import ssl

import pytest

from harness import places
from harness.certs import Authority
from harness.guard import Guard
from harness.wait import until


class Site:
    """A guard with a certificate of the site's own."""

    def __init__(self, fresh):
        self.authority = Authority()

        def lay(guard: Guard):
            self.certificate, self.private_key = guard.dir / "etc/cert.pem", guard.dir / "etc/key.pem"
            self.put(*self.authority.leaf("first"))
            guard.change({"tls": {"certificate": str(self.certificate), "private_key": str(self.private_key)}})
            guard.ca = self.authority.write_ca(guard.dir / "site-ca.pem")

        self.guard = fresh(before=lay)

    def put(self, certificate: bytes | None, private: bytes | None) -> None:
        for path, data in ((self.certificate, certificate), (self.private_key, private)):
            if data is not None:
                path.write_bytes(data)
                path.chmod(0o600)
                if places.AS_ROOT:
                    shutil.chown(path, places.SERVICE_USER, places.SERVICE_USER)


def served_name(guard) -> str:
    context = ssl.create_default_context(cafile=str(guard.ca))
    with socket.create_connection((guard.host, guard.port), 5) as plain, context.wrap_socket(plain, server_hostname=guard.host) as wire:
        return dict(pair[0] for pair in wire.getpeercert()["subject"])["commonName"]


def refused_reload(guard, *words: str) -> None:
    """SIGHUP; the log must name every word, and the same processes must go on serving."""
    before, length = guard.pids(), len(guard.log())
    guard.reload()
    for word in words:
        guard.until_log(word, since=length)
    assert guard.get("/queue", key=True).status == 200
    assert guard.pids() == before


def test_new_certificate_is_served_and_old_connections_go_on(fresh):
    site = Site(fresh)
    assert served_name(site.guard) == "first"
    with site.guard.client() as old:
        assert site.guard.get("/queue", key=True, client=old).status == 200
        before = site.guard.pids()
        site.put(*site.authority.leaf("second"))
        site.guard.reload()
        until(lambda: served_name(site.guard) == "second", 5, "the new certificate")
        assert site.guard.get("/queue", key=True, client=old).status == 200
    assert site.guard.pids() == before


def test_replaced_certificate_is_taken_without_sighup(fresh):
    site = Site(fresh)
    site.put(*site.authority.leaf("second"))
    until(lambda: served_name(site.guard) == "second", 70, "the change is noticed")


BROKEN_PAIRS = {
    "key of another pair": lambda site: (None, site.authority.leaf("x")[1]),
    "certificate of another pair": lambda site: (site.authority.leaf("x")[0], None),
    "no PEM at all": lambda site: (b"rubbish\n", None),
    "empty certificate": lambda site: (b"", None),
    "empty key": lambda site: (None, b""),
    "key cut short": lambda site: (None, site.authority.leaf("x")[1][:80]),
}


@pytest.mark.parametrize("fault", BROKEN_PAIRS)
def test_broken_pair_keeps_the_old_one_and_says_so(fresh, fault):
    site = Site(fresh)
    certificate, private = BROKEN_PAIRS[fault](site)
    site.put(certificate, private)
    refused_reload(site.guard, str(site.private_key if certificate is None else site.certificate))
    assert served_name(site.guard) == "first"


def test_missing_certificate_keeps_the_old_one(fresh):
    site = Site(fresh)
    site.certificate.unlink()
    refused_reload(site.guard, str(site.certificate))
    assert served_name(site.guard) == "first"


def test_expired_certificate_is_told_in_the_log(fresh):
    site = Site(fresh)
    length = len(site.guard.log())
    site.put(*site.authority.leaf("old", days=-1))
    site.guard.reload()
    site.guard.until_log("expired", since=length)


def test_broken_configuration_keeps_the_old_one_and_says_where(fresh):
    running = fresh()
    good = running.config_file.read_text()
    for text, words in (
        ("[listen\n", [f"{running.config_file}:"]),
        (good.replace("[auth]", "[auth]\nno_such_key = 1"), ["no_such_key", f"{running.config_file}:"]),
        (good.replace('stop_timeout = "10s"', 'stop_timeout = "ten"'), ["stop_timeout", f"{running.config_file}:"]),
        ("", ["comfyui"]),
    ):
        running.config_file.write_text(text)
        refused_reload(running, *words)
    running.config_file.write_text(good)
    length = len(running.log())
    running.reload()
    running.until_log("reload", since=length)


def test_broken_key_file_keeps_the_old_key(fresh):
    running = fresh()
    before, text = running.pids(), running.key_file.read_text()
    for spoil in (lambda path: path.write_text(""), lambda path: path.write_text("$argon2id$rubbish"), lambda path: path.chmod(0o644), lambda path: path.unlink()):
        spoil(running.key_file)
        refused_reload(running, str(running.key_file))
        assert running.get("/queue", headers={"X-API-Key": ""}).status == 401
        running.key_file.write_text(text)
        running.key_file.chmod(0o600)
        if places.AS_ROOT:
            shutil.chown(running.key_file, places.SERVICE_USER, places.SERVICE_USER)
    assert running.pids() == before


def test_changed_setting_takes_effect(fresh):
    running = fresh()
    assert "access-control-allow-origin" not in running.get("/queue", headers={"Origin": "https://app.example"}).headers
    running.change({"auth": {"allowed_origins": ["https://app.example"]}})
    running.reload()
    until(lambda: running.get("/queue", headers={"Origin": "https://app.example"}).headers.get("access-control-allow-origin") == "https://app.example",
          5, "the new origin")


def test_own_certificate_is_stable_over_restarts(fresh):
    running = fresh()
    first = running.ca.read_bytes()
    running.stop()
    running.start()
    assert running.ca.read_bytes() == first
    assert not running.ca.with_name("ca-key.pem").exists() or running.ca.with_name("ca-key.pem").stat().st_mode & 0o077 == 0

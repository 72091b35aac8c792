"""Debian's Chromium at the guard's pages: each run is a new browser process, a profile may outlive it.

The scenarios are node scripts in tests/browser; they get facts as JSON and answer in JSON.
"""

import base64
import hashlib
import json
import os
import ssl
import subprocess
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from . import places

SCENARIOS = places.ROOT / "tests/browser"


def spki(host: str, port: int) -> str:
    """What --ignore-certificate-errors-spki-list takes: only a server with this very key is believed."""
    leaf = x509.load_pem_x509_certificate(ssl.get_server_certificate((host, port)).encode())
    return base64.b64encode(hashlib.sha256(leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()).decode()


class Profile:
    """A browser's folder on disk. `run` starts a browser on it, plays a scenario and closes it again."""

    def __init__(self, guard, *others):
        """`others`: further (host, port) of TLS servers to be believed."""
        self.guard = guard
        self._folder = tempfile.TemporaryDirectory(prefix="comfy-guard-profile-", ignore_cleanup_errors=True)
        self._others = others

    def __enter__(self) -> "Profile":
        return self

    def __exit__(self, *_) -> None:
        self._folder.cleanup()

    @property
    def folder(self) -> Path:
        return Path(self._folder.name)

    def run(self, scenario: str, within: float = 150.0, browser=None, **facts) -> dict:
        """`browser`: options of the browser's context (viewport, colorScheme, locale, javaScriptEnabled …)."""
        trusted = [spki(*place) for place in ((self.guard.host, self.guard.port), *self._others)]
        told = {"origin": self.guard.url, "key": self.guard.key, "profile": str(self.folder / "profile"), "trusted": trusted,
                "browser": browser or {}, **facts}
        done = subprocess.run(["node", str(SCENARIOS / "drive.mjs"), scenario], input=json.dumps(told), capture_output=True, text=True,
                              timeout=within, env={**os.environ, "NO_PROXY": "*"}, cwd=SCENARIOS)
        assert done.returncode == 0, f"{scenario}: {done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return json.loads(done.stdout.splitlines()[-1])

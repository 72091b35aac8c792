"""A client outside the box: tests/harness' way to speak, for a guard that somebody else started."""

import json
import ssl
import tempfile
from pathlib import Path

from harness.talk import Talk


class Guest(Talk):
    """`ca`: the only authority to trust, as PEM; `named`: the certificate must also name the address that is called."""

    def __init__(self, host: str, port: int, key: str | None, ca: str, named: bool = True):
        self.host, self.port, self.key, self.named = host, port, key, named
        self.folder = tempfile.TemporaryDirectory(prefix="comfy-guard-guest-")
        self.ca = Path(self.folder.name, "ca.pem")
        self.ca.write_text(ca)

    def tls(self, alpn=("http/1.1",)) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca))
        context.check_hostname = self.named
        context.set_alpn_protocols(list(alpn))
        return context

    def queue(self, prompt: dict) -> str:
        """Queues a prompt and gives its id."""
        answer = self.request("POST", "/prompt", content=json.dumps({"prompt": prompt}).encode(), headers={"Content-Type": "application/json"}, key=True)
        assert answer.status == 200, answer.body
        return answer.json()["prompt_id"]

    def finished(self, prompt_id: str) -> dict | None:
        """The history's entry of a prompt, once it has ended."""
        return self.get(f"/history/{prompt_id}", key=True).json().get(prompt_id)


def sleeping(seconds: float) -> dict:
    """A job that takes this long and reports ten times a second."""
    return {"1": {"class_type": "Sleep", "inputs": {"seconds": seconds, "steps": max(1, int(seconds * 10))}}}

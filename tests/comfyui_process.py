"""Starts a ComfyUI for a check: the stand-in, or a real one where COMFYUI_DIR and COMFYUI_PYTHON name it."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

STANDIN = Path(__file__).resolve().parent / "standin"
DIRECTORY = Path(os.environ.get("COMFYUI_DIR", STANDIN))
PYTHON = os.environ.get("COMFYUI_PYTHON", sys.executable)
IS_STANDIN = DIRECTORY == STANDIN
# A real one loads torch and some hundred nodes first, on a busy machine.
START_LIMIT_S = 15 if IS_STANDIN else 240


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Comfy:
    """A running process with directories of its own below `base`; use it in a `with`."""

    def __init__(self, base: Path, *flags: str, port: int | None = None, wait: bool = True, sigint=signal.SIG_DFL):
        self.base, self.port = base, port or free_port()
        for name in ("custom_nodes", "user"):
            (base / name).mkdir(parents=True, exist_ok=True)
        # Where Sleep and Fail come from on a real one; the stand-in has them built in and reads no custom node.
        shutil.copy(STANDIN / "sleep_node.py", base / "custom_nodes")
        self.log = base / "log.txt"
        command = [PYTHON, "main.py", "--listen", "127.0.0.1", "--port", str(self.port), "--disable-auto-launch",
                   "--base-directory", str(base), "--database-url", "sqlite:///:memory:", "--cpu", *flags]
        # Under nohup the tests ignore SIGHUP, and what they start would too.
        hup = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        kept, before = self.log.open("ab"), signal.signal(signal.SIGINT, sigint)
        try:
            self.process = subprocess.Popen(command, cwd=DIRECTORY, stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=kept, restore_signals=False)
        finally:
            signal.signal(signal.SIGINT, before)
            signal.signal(signal.SIGHUP, hup)
            kept.close()
        if wait:
            self.wait_open()

    def __enter__(self) -> "Comfy":
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    @property
    def said(self) -> str:
        return self.log.read_text()

    def wait_open(self) -> None:
        ends = time.monotonic() + START_LIMIT_S
        while time.monotonic() < ends and self.process.poll() is None:
            try:
                return socket.create_connection(("127.0.0.1", self.port), 1).close()
            except ConnectionRefusedError:
                time.sleep(0.05)
        raise AssertionError(f"the port did not open:\n{self.said}")

    def ask(self, method: str, target: str, body: bytes | None = None, **headers: str):
        """(status, headers, body); header names are written with _ for -."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, target, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, answer.headers, content

    def json(self, method: str, target: str, data=None):
        """The answer as JSON, or its status alone where it has no JSON."""
        status, _, body = self.ask(method, target, None if data is None else json.dumps(data).encode())
        return json.loads(body) if body[:1] in (b"{", b"[", b'"', b"n") else status

    def raw(self, sent: bytes, wait_s: float = 5) -> bytes:
        """What comes back for these very bytes until the other side closes or is silent."""
        with socket.create_connection(("127.0.0.1", self.port), wait_s) as wire:
            wire.sendall(sent)
            wire.settimeout(wait_s)
            received = b""
            try:
                while piece := wire.recv(65536):
                    received += piece
            except (TimeoutError, ConnectionResetError):
                pass
            return received

    def end(self, *signals: int, pause_s: float = 0.0) -> int:
        """Sends the signals and gives the exit code, negative where a signal ended it."""
        for number in signals:
            self.process.send_signal(number)
            time.sleep(pause_s)
        return self.process.wait(60)


def form(fields: dict, name: str | None = None, content: bytes = b"", boundary: str = "frontier") -> tuple[bytes, str]:
    """A multipart body with an `image` called `name`, and its Content-Type."""
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
             for key, value in fields.items()]
    if name is not None:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'
        parts.append(head.encode() + content + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"

"""The service manager's side of sd_notify(3): a datagram socket that keeps what it was told, in order."""

import os
import select
import socket
import time
from pathlib import Path


class NotifySocket:
    def __init__(self, path: Path):
        self.path = path
        self.lines: list[tuple[float, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        os.chmod(path, 0o666)

    def gather(self, seconds: float = 0.0) -> list[str]:
        """Every line so far, after waiting at most `seconds` for one more datagram."""
        while select.select([self._socket], [], [], seconds)[0]:
            datagram = self._socket.recv(65536).decode()
            self.lines += [(time.monotonic(), line) for line in datagram.splitlines()]
            seconds = 0
        return [line for _, line in self.lines]

    def saw(self, line: str, since: int = 0) -> bool:
        return line in self.gather()[since:]

    def close(self) -> None:
        self._socket.close()

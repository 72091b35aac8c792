"""The service manager's side of sd_notify(3): a datagram socket that keeps what it was told, in order."""

import os
import socket
import threading
import time
from pathlib import Path


class NotifySocket:
    """Reads as it comes, as the service manager does, unless `deaf`: then nobody ever reads."""

    def __init__(self, path: Path, deaf: bool = False):
        self.path = path
        self.lines: list[tuple[float, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        os.chmod(path, 0o666)
        if not deaf:
            threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                datagram = self._socket.recv(65536).decode()
            except OSError:
                return
            if not datagram:
                return
            self.lines += [(time.monotonic(), line) for line in datagram.splitlines()]

    def gather(self) -> list[str]:
        """Every line so far."""
        return [line for _, line in self.lines]

    def saw(self, line: str, since: int = 0) -> bool:
        return line in self.gather()[since:]

    def close(self) -> None:
        # An empty datagram wakes the reader; closing alone would not.
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
                own.setblocking(False)
                own.sendto(b"", str(self.path))
        except OSError:
            pass
        self._socket.close()

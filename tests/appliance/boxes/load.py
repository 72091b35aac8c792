"""Guests that never stop asking: what each got, so that a test can say that nobody was refused meanwhile."""

import threading
import time
from collections import Counter

import httpx

from .guest import Guest


class Load:
    """`with Load(guest) as load:` asks from several threads, each time on a connection of its own.

    `load.seen` counts what came back: statuses, "refused", and "cut off: ..." with the reason.
    """

    def __init__(self, guest: Guest, target: str = "/queue", threads: int = 3, pause: float = 0.05, timeout: float = 30.0):
        self.guest, self.target, self.pause, self.timeout = guest, target, pause, timeout
        self.seen: Counter = Counter()
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(threads)]

    def _ask(self) -> None:
        while not self.ended.is_set():
            try:
                kind = self.guest.get(self.target, key=True, timeout=self.timeout).status
            except httpx.TransportError as error:
                # A reset in the middle of the handshake is a connection that had been taken.
                kind = "refused" if "[Errno 111]" in str(error) else f"cut off: {error!r}"
            self.seen[kind] += 1
            time.sleep(self.pause)

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join(self.timeout + 5)

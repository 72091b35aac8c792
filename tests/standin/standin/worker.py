"""The queue and the one thread that works it off; history of what was done."""

import copy
import heapq
import threading
import time

from .execution import Execution
from .folders import Folders

HISTORY_KEPT = 10_000
# Tokens that a client sends along for its own use: never kept in the history.
SECRET_EXTRAS = ("auth_token_comfy_org", "api_key_comfy_org")


class Worker:
    """Items are (number, prompt id, prompt, extra data, outputs); the smallest number runs first."""

    def __init__(self, folders: Folders, cache: bool, metadata: bool) -> None:
        self.history: dict[str, dict] = {}
        self.client: str | None = None
        self.node: str | None = None
        self.interrupted = threading.Event()
        self.tell = lambda kind, data, client=None: None
        self.tell_preview = lambda jpeg, metadata, client: None
        self._pending: list[tuple] = []
        self._running: tuple | None = None
        self._changed = threading.Condition(threading.RLock())
        self._forget_results = False
        self._execution = Execution(self, folders, cache, metadata)

    def start(self) -> None:
        # A daemon: SIGINT ends the process while a prompt runs, and that prompt is lost, as with ComfyUI.
        threading.Thread(target=self._work, name="worker", daemon=True).start()

    def remaining(self) -> int:
        with self._changed:
            return len(self._pending) + (self._running is not None)

    def queue_info(self) -> dict:
        return {"exec_info": {"queue_remaining": self.remaining()}}

    def snapshot(self) -> tuple[list, list]:
        with self._changed:
            return [self._running] if self._running else [], list(self._pending)

    def put(self, item: tuple) -> None:
        with self._changed:
            heapq.heappush(self._pending, item)
            self._announce()
            self._changed.notify()

    def clear(self) -> None:
        with self._changed:
            self._pending = []
            self._announce()

    def delete(self, prompt_id: str) -> None:
        with self._changed:
            kept = [item for item in self._pending if item[1] != prompt_id]
            if len(kept) < len(self._pending):
                heapq.heapify(kept)
                self._pending = kept
                self._announce()

    def free(self) -> None:
        """Forgets cached results before the next prompt."""
        with self._changed:
            self._forget_results = True

    def _announce(self) -> None:
        self.tell("status", {"status": self.queue_info()})

    def _take(self) -> tuple:
        with self._changed:
            while not self._pending:
                self._changed.wait()
            if self._forget_results:
                self._execution.forget()
                self._forget_results = False
            self._running = copy.deepcopy(heapq.heappop(self._pending))
            self._announce()
            return self._running

    def _work(self) -> None:
        while True:
            item = self._take()
            began = time.monotonic()
            self.interrupted.clear()
            self.client = item[3].get("client_id")
            done = self._execution.run(item)
            self._finish(item, done)
            if self.client is not None:
                self.tell("executing", {"node": None, "prompt_id": item[1]}, self.client)
            self._execution.say(f"Prompt executed in {time.monotonic() - began:.2f} seconds")

    def _finish(self, item: tuple, done: dict) -> None:
        with self._changed:
            self._running = None
            self.node = None
            for key in SECRET_EXTRAS:
                item[3].pop(key, None)
            if len(self.history) >= HISTORY_KEPT:
                self.history.pop(next(iter(self.history)))
            self.history[item[1]] = {"prompt": item, **done}
            self._announce()

"""Everything said goes to stderr, bare; the last lines are kept for /internal/logs."""

import logging
import sys
from collections import deque
from datetime import datetime

KEPT = 300


class Kept(logging.Handler):
    """Keeps the last lines and hands each new one to whoever subscribed."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[dict] = deque(maxlen=KEPT)
        self.on_line = None

    def emit(self, record: logging.LogRecord) -> None:
        line = {"t": datetime.now().isoformat(), "m": self.format(record) + "\n"}
        self.lines.append(line)
        if self.on_line is not None:
            self.on_line(line)


def set_up(level: str, to_stdout: bool) -> Kept:
    """With `to_stdout` only errors stay on stderr, as ComfyUI's --log-stdout has it."""
    root = logging.getLogger()
    root.setLevel(level)
    bare = logging.Formatter("%(message)s")
    errors = logging.StreamHandler(sys.stderr)
    handlers: list[logging.Handler] = [errors, kept := Kept()]
    if to_stdout:
        errors.addFilter(lambda record: record.levelno >= logging.ERROR)
        handlers.append(rest := logging.StreamHandler(sys.stdout))
        rest.addFilter(lambda record: record.levelno < logging.ERROR)
    for handler in handlers:
        handler.setFormatter(bare)
        root.addHandler(handler)
    return kept

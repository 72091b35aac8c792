"""Bounded waits on a condition; a test never sleeps for a guessed time."""

import time


def until(condition, within: float = 5.0, what: str = "", every: float = 0.02):
    """The first truthy result of `condition`, or a failure that says what was awaited."""
    end = time.monotonic() + within
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"not within {within} s: {what or condition}")
        time.sleep(every)


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self):
        self.start = time.monotonic()

    def __call__(self) -> float:
        return time.monotonic() - self.start

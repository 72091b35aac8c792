"""Fixtures: one guard per worker for tables that only read, and a maker of fresh ones for tests that break things."""

import contextlib

import pytest

from harness import places
from harness.guard import Guard


def pytest_configure(config):
    if not places.BIN.exists():
        pytest.exit(f"{places.BIN} is missing: `cargo build` first, or name a binary in COMFY_GUARD_BIN", 2)
    if not (places.ROOT / ".venv/bin/python").exists():
        pytest.exit("the stand-in's Python is missing: tests/setup first", 2)


@pytest.fixture(scope="session")
def guard():
    """A serving guard in front of the stand-in; shared, so leave it as you found it."""
    with Guard() as running:
        yield running


@pytest.fixture
def fresh():
    """Makes guards for one test: `fresh(config={...})` is started and is stopped (and proved gone) after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda **more: stack.enter_context(Guard(**more))


@pytest.fixture(params=[False, True], ids=["h1", "h2"])
def h2(request) -> bool:
    """Runs the test over HTTP/1.1 and over HTTP/2."""
    return request.param


@pytest.fixture
def needs_root():
    if not places.AS_ROOT:
        pytest.skip("only root can switch users")

"""Fixtures of the browser tests."""

import shutil

import pytest

from harness import chromium


@pytest.fixture
def profile():
    """Makes browser profiles for one test: `profile(guard)`."""
    made = []

    def make(guard, *others) -> chromium.Profile:
        made.append(chromium.Profile(guard, *others))
        return made[-1]

    yield make
    for one in made:
        one.__exit__()


def pytest_configure(config):
    if not shutil.which("chromium") or not (chromium.SCENARIOS / "node_modules/playwright-core").is_dir():
        pytest.exit("Chromium or its driver is missing: tests/setup first", 2)

"""One caged ComfyUI for each level and test file; shared, so leave it as you found it. And a driver's library for one test."""

import tempfile
from functools import partial
from pathlib import Path

import pytest

from harness import driver
from harness.cage import LEVELS, caged


@pytest.fixture(scope="module", params=LEVELS)
def any_level(request):
    with caged(request.param) as cage:
        cage.level = request.param
        yield cage


@pytest.fixture(scope="module")
def standard():
    with caged("standard") as cage:
        yield cage


@pytest.fixture(scope="module")
def strict():
    with caged("strict") as cage:
        yield cage


@pytest.fixture(scope="module")
def off():
    with caged("off") as cage:
        yield cage


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    return driver.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def library(built):
    # Not pytest's own folder, which is closed to the sensor's user.
    with tempfile.TemporaryDirectory(prefix="comfy-guard-nvml-") as folder:
        Path(folder).chmod(0o755)
        yield driver.Library(Path(folder), built)


@pytest.fixture
def guarded(fresh, library):
    """`guarded("gpus 1", …)`: a guard whose driver plays these lines; more in harness/driver.py."""
    return partial(driver.start, fresh, library)

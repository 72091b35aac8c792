"""One caged ComfyUI for each level and test file; shared, so leave it as you found it."""

import pytest

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

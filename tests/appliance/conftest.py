"""Fixtures: boxes with the package installed. The same test runs in the container and in the machine where it asks for `box`."""

import contextlib
import os

import pytest

from appliance.boxes import packages
from appliance.boxes.container import Container
from appliance.boxes.machine import Machine
from harness.guard import strong_key


# The first test of a kind also makes what is kept (a minute or two) and boots the machine.
LIMIT_S = 900


def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.timeout(LIMIT_S))
        if os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="only root can boot a container"))


def serving(box):
    """The package installed from its repository, ComfyUI's folders given to it, a key set, guests served."""
    packages.add_repository(box)
    packages.install(box)
    packages.give_comfyui_its_folders(box)
    box.key = strong_key()
    box.serve(box.key)
    return box


@pytest.fixture(scope="session")
def container():
    """A serving container that many tests share: leave it as you found it."""
    with Container() as box:
        yield serving(box)


@pytest.fixture(scope="session")
def machine():
    """The serving machine, of which there is one: leave it as you found it."""
    with Machine() as box:
        yield serving(box)


@pytest.fixture(params=["container", pytest.param("machine", marks=pytest.mark.machine)])
def box(request):
    """A serving box, once the container and once the machine: leave it as you found it."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def new_container():
    """Makes bare containers for one test: `new_container()` has booted and has no package of ours."""
    with contextlib.ExitStack() as stack:
        yield lambda **more: stack.enter_context(Container(**more))


@pytest.fixture
def new_serving(new_container):
    """Makes serving containers for one test that breaks them."""
    return lambda **more: serving(new_container(**more))

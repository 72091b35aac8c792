"""`/health` is the guide's example key by key and type by type, with a GPU and without, with a credential and without."""

import copy
import json

import pytest

from harness import guide, places
from harness.driver import GIB, becomes, health
from harness.wait import until


def paths(value, at=()):
    """Every place in a document, the inner ones too."""
    for name, inner in value.items() if isinstance(value, dict) else ():
        yield (*at, name)
        yield from paths(inner, (*at, name))


def changed(document, path, change):
    copied = copy.deepcopy(document)
    place = copied
    for name in path[:-1]:
        place = place[name]
    change(place, path[-1])
    return copied


def test_the_guides_example_fits_and_each_departure_from_it_does_not():
    example = json.loads(guide.EXAMPLE)
    assert guide.faults(example) == []
    places_in_it = list(paths(example))
    assert len(places_in_it) == 10
    for path in places_in_it:
        without = changed(example, path, lambda place, name: place.pop(name))
        another = changed(example, path, lambda place, name: place.update({name: None}))
        beside = changed(example, path, lambda place, name: place.update({name + "_too": 1}))
        assert guide.faults(without) and guide.faults(another) and guide.faults(beside), path
    for path, value in [(("vram", "total"), "68719476736"), (("vram", "free"), 0.5), (("queue", "pending"), -1), (("device", "name"), "")]:
        assert guide.faults(changed(example, path, lambda place, name, value=value: place.update({name: value}))), path


def test_without_a_gpu(guard, h2):
    for key in (False, True):
        told = guard.get("/health", key=key, h2=h2).json()
        assert guide.faults(told) == []
        assert told["device"] == {"name": "cpu", "type": "cpu"} and ("detail" in told) == key


@pytest.mark.skipif(not places.AS_ROOT, reason="a library is loaded only if root owns it")
def test_with_a_gpu(guarded):
    guard = guarded("gpus 1", f"memory 0 {80 * GIB} {GIB}")
    becomes(guard, "ok", 30)
    until(lambda: health(guard).json()["vram"] == {"total": 80 * GIB, "free": 79 * GIB}, 5, "the driver's figures")
    for key in (False, True):
        told = health(guard, key).json()
        assert guide.faults(told) == []
        assert told["device"]["type"] == "cuda" and ("detail" in told) == key


def test_while_comfyui_starts(fresh):
    running = fresh(wait="answers", comfyui_arguments=["--start-delay", "1"])
    starting = running.get("/health")
    assert starting.status == 503 and starting.json()["status"] == "starting" and guide.faults(starting.json()) == []
    until(running.healthy, 15, "ComfyUI serves")

"""The guide's word on `/health`, as a JSON Schema."""

import json
from functools import cache

import jsonschema

from .places import ROOT

EXAMPLE = """{ "status": "ok", "queue": { "pending": 0, "running": 0 }, "device": { "name": "mps", "type": "mps" },
    "vram": { "total": 68719476736, "free": 68719476736 } }"""


@cache
def schema() -> jsonschema.Draft202012Validator:
    told = json.loads((ROOT / "tests/health.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(told)
    return jsonschema.Draft202012Validator(told)


def faults(told) -> list[str]:
    """What is wrong with an answer of `/health`, by place; empty if nothing is."""
    return [f"{error.json_path}: {error.message}" for error in schema().iter_errors(told)]

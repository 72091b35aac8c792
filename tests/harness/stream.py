"""The stand-in's endless pattern: bytes that can be made and checked at any length without keeping them."""

import importlib.util

from . import places

_spec = importlib.util.spec_from_file_location("standin_pattern", places.ROOT / "tests/standin/standin/extras/pattern.py")
pattern = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(pattern)

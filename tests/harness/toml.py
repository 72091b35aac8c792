"""Configuration as a dictionary, written as TOML (the subset that the product's file uses)."""

import json


def merge(base: dict, change: dict) -> dict:
    """`base` with `change` laid over it; None removes a key."""
    result = dict(base)
    for name, value in change.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict) and isinstance(result.get(name), dict):
            result[name] = merge(result[name], value)
        else:
            result[name] = value
    return result


def _value(value) -> str:
    # A JSON string, number, boolean or list of these is the same in TOML.
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_value(item)}" for name, item in value.items()) + " }"
    return json.dumps(value)


def write(config: dict) -> str:
    lines = []
    for section, values in config.items():
        lines.append(f"[{section}]")
        lines += [f"{json.dumps(name) if '.' in name else name} = {_value(value)}" for name, value in values.items()]
    return "\n".join(lines) + "\n"

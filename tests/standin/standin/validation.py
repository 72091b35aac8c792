"""Is this prompt one that can run? The refusals have the shapes that clients of ComfyUI know."""

from .nodes import ALL

CONVERSIONS = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}


def _problem(kind: str, message: str, details: str, **extra) -> dict:
    return {"type": kind, "message": message, "details": details, "extra_info": extra}


def validate(prompt: dict, only: list | None) -> tuple[dict | None, list[str], dict]:
    """Gives (the error that refuses the whole, the outputs to run, the errors by node). Converts inputs in place."""
    outputs = []
    for name, node in prompt.items():
        place = f"Node ID '#{name}'"
        if "class_type" not in node:
            message = "Cannot execute because a node is missing the class_type property."
            return _problem("invalid_prompt", message, place), [], {}
        kind = node["class_type"]
        if kind not in ALL:
            return _problem("invalid_prompt", f"Cannot execute because node {kind} does not exist.", place), [], {}
        if ALL[kind].is_output and (only is None or name in only):
            outputs.append(name)
    if not outputs:
        return _problem("prompt_no_outputs", "Prompt has no outputs", ""), [], {}
    return _check_outputs(prompt, outputs)


def _check_outputs(prompt: dict, outputs: list[str]) -> tuple[dict | None, list[str], dict]:
    checked: dict[str, tuple[bool, list]] = {}
    good, node_errors, own_reasons = [], {}, []
    for output in outputs:
        try:
            if _check(prompt, output, checked):
                good.append(output)
                continue
        except Exception as error:  # any shape of nonsense in a prompt is the client's, and is answered
            reason = _problem("exception_during_validation", "Exception when validating node", str(error),
                              exception_type=type(error).__name__, traceback=[])
            checked[output] = (False, [reason])
        own_reasons += checked[output][1]
        for name, (fine, reasons) in checked.items():
            if fine or not reasons:
                continue
            kind = prompt[name]["class_type"]
            report = node_errors.setdefault(name, {"errors": reasons, "dependent_outputs": [], "class_type": kind})
            report["dependent_outputs"].append(output)
    if good:
        return None, good, node_errors
    details = "\n".join(f"{reason['message']}: {reason['details']}" for reason in own_reasons)
    return _problem("prompt_outputs_failed_validation", "Prompt outputs failed validation", details), [], node_errors


def _check(prompt: dict, name: str, checked: dict) -> bool:
    """True where this node and all before it can run; the node's own faults go into `checked`."""
    if name in checked:
        return checked[name][0]
    node = ALL[prompt[name]["class_type"]]
    given = prompt[name]["inputs"]
    faults, upstream_fine = [], True
    for key, declared in {**node.inputs, **node.optional}.items():
        if key not in given:
            if key in node.inputs:
                faults.append(_problem("required_input_missing", "Required input is missing", key, input_name=key))
            continue
        if isinstance(given[key], list):
            fault, fine = _check_link(prompt, key, declared, given[key], checked)
            upstream_fine = upstream_fine and fine
        else:
            fault = _check_value(given, key, declared)
        faults += [fault] if fault else []
    checked[name] = (not faults and upstream_fine, faults)
    return checked[name][0]


def _config(declared: list) -> list:
    return [declared[0], declared[1] if len(declared) > 1 else {}]


def _check_link(prompt: dict, key: str, declared: list, link: list, checked: dict) -> tuple[dict | None, bool]:
    about = {"input_name": key, "input_config": _config(declared)}
    if len(link) != 2:
        message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
        return _problem("bad_linked_input", message, key, **about, received_value=link), True
    source, slot = link
    received = ALL[prompt[source]["class_type"]].outputs[slot]
    if received != declared[0]:
        details = f"{key}, received_type({received}) mismatch input_type({declared[0]})"
        return _problem("return_type_mismatch", "Return type mismatch between linked nodes", details,
                        **about, received_type=received, linked_node=link), True
    return None, _check(prompt, source, checked)


def _check_value(given: dict, key: str, declared: list) -> dict | None:
    kind, value = declared[0], given[key]
    about = {"input_name": key, "input_config": _config(declared)}
    limits = about["input_config"][1]
    if kind in CONVERSIONS:
        try:
            value = given[key] = CONVERSIONS[kind](value)
        except (ValueError, TypeError) as error:
            return _problem("invalid_input_type", f"Failed to convert an input value to a {kind} value",
                            f"{key}, {value}, {error}", **about, received_value=value, exception_message=str(error))
    if "min" in limits and value < limits["min"]:
        message = f"Value {value} smaller than min of {limits['min']}"
        return _problem("value_smaller_than_min", message, key, **about, received_value=value)
    if "max" in limits and value > limits["max"]:
        message = f"Value {value} bigger than max of {limits['max']}"
        return _problem("value_bigger_than_max", message, key, **about, received_value=value)
    return None

"""Running one prompt: nodes in the order of their links, what is heard of it, and what the next one can reuse."""

import json
import logging
import time
import traceback

from .nodes import ALL, Context, Interrupted


class Execution:
    """Results of the last prompt are kept: a node whose inputs and ancestors are unchanged does not run again."""

    def __init__(self, worker, folders, cache: bool, metadata: bool) -> None:
        self._worker = worker
        self._folders = folders
        self._cache = cache
        self._metadata = metadata
        self._kept: dict[str, dict] = {}
        self.say = logging.info

    def forget(self) -> None:
        self._kept = {}

    def run(self, item: tuple) -> dict:
        """Gives the history entry but for the prompt itself."""
        job = _Job(self._worker, item, self._folders, self._metadata)
        signatures = {name: _signature(job.prompt, name) for name in job.prompt if _is_whole(job.prompt, name)}
        kept = {name: self._kept[mark] for name, mark in signatures.items() if mark in self._kept}
        job.hear("execution_start")
        job.hear("execution_cached", nodes=list(kept))
        success = job.run_all(item[4], kept)
        # What this prompt has in it stays, reached or not; what it has not is forgotten.
        stays = {**kept, **job.results} if self._cache else {}
        self._kept = {signatures[name]: result for name, result in stays.items()}
        return job.history_entry(success)


def _links(prompt: dict, name: str) -> list[str]:
    values = prompt[name].get("inputs", {}).values()
    return [value[0] for value in values if isinstance(value, list) and len(value) == 2]


def _is_whole(prompt: dict, name: str) -> bool:
    return all(source in prompt and _is_whole(prompt, source) for source in _links(prompt, name))


def _signature(prompt: dict, name: str) -> str:
    """Says what this node and all before it compute; the names of the nodes do not matter."""
    node = prompt[name]
    inputs = {
        key: [_signature(prompt, value[0]), value[1]] if isinstance(value, list) and len(value) == 2 else value
        for key, value in sorted(node.get("inputs", {}).items())
    }
    return json.dumps([node["class_type"], inputs])


class _Job:
    """One prompt on its way."""

    def __init__(self, worker, item: tuple, folders, metadata: bool) -> None:
        _, self.id, self.prompt, self.extra, _ = item
        self.results: dict[str, dict] = {}
        self._worker = worker
        self._client = self.extra.get("client_id")
        self._messages: list = []
        self._states: dict[str, dict] = {}
        self._folders = folders
        self._metadata = metadata

    def hear(self, kind: str, everybody: bool = False, **data) -> None:
        """A message that is also kept in the history; without a client it is only kept."""
        data = {**data, "prompt_id": self.id, "timestamp": int(time.time() * 1000)}
        self._messages.append([kind, data])
        if self._client is not None or everybody:
            self._worker.tell(kind, data, self._client)

    def run_all(self, outputs: list[str], kept: dict[str, dict]) -> bool:
        for name in outputs:
            if not self._run_with_sources(name, kept):
                return False
        self.hear("execution_success")
        return True

    def _run_with_sources(self, name: str, kept: dict[str, dict]) -> bool:
        if name in self.results:
            return True
        if name in kept:
            self.results[name] = kept[name]
            if "ui" in kept[name]:
                self._tell_executed(name, kept[name]["ui"])
                self._progress(name, "finished", 1, 1)
            return True
        if not all(self._run_with_sources(source, kept) for source in _links(self.prompt, name)):
            return False
        return self._run_node(name)

    def _run_node(self, name: str) -> bool:
        self._worker.node = name
        self._progress(name, "running", 0.0, 1.0)
        if self._client is not None:
            self._worker.tell("executing", {"node": name, "display_node": name, "prompt_id": self.id}, self._client)
        node = ALL[self.prompt[name]["class_type"]]
        given = self.prompt[name]["inputs"]
        try:
            if self._worker.interrupted.is_set():
                raise Interrupted
            inputs = {key: self._value(given[key]) for key in {**node.inputs, **node.optional} if key in given}
            result = node.run(self._context(name), **inputs)
        except Interrupted:
            self.hear("execution_interrupted", everybody=True, **self._where(name))
            logging.info("Processing interrupted")
            return False
        except Exception as error:
            self._hear_error(name, error)
            return False
        self.results[name] = result
        if "ui" in result:
            self._tell_executed(name, result["ui"])
        state = self._states[name]
        self._progress(name, "finished", state["max"], state["max"])
        return True

    def _value(self, given):
        is_link = isinstance(given, list) and len(given) == 2
        return self.results[given[0]]["result"][given[1]] if is_link else given

    def _context(self, name: str) -> Context:
        def progress(value: int, of: int, jpeg: bytes | None) -> None:
            if self._worker.interrupted.is_set():
                raise Interrupted
            self._progress(name, "running", value, of)
            data = {"value": value, "max": of, "prompt_id": self.id, "node": name}
            self._worker.tell("progress", data, self._client)
            if jpeg and self._client is not None:
                self._worker.tell_preview(jpeg, _identity(name, self.id), self._client)

        pnginfo = self.extra.get("extra_pnginfo") or {}
        return Context(self._folders, self.prompt, pnginfo, self._metadata, progress)

    def _progress(self, name: str, state: str, value: float, of: float) -> None:
        self._states[name] = {"value": value, "max": of, "state": state, **_identity(name, self.id)}
        self._worker.tell("progress_state", {"prompt_id": self.id, "nodes": dict(self._states)}, self._client)

    def _tell_executed(self, name: str, shown: dict) -> None:
        data = {"node": name, "display_node": name, "output": shown, "prompt_id": self.id}
        if self._client is not None:
            self._worker.tell("executed", data, self._client)

    def _where(self, name: str) -> dict:
        kind = self.prompt[name]["class_type"]
        return {"node_id": name, "node_type": kind, "executed": list(self.results)}

    def _hear_error(self, name: str, error: Exception) -> None:
        logging.error("!!! Exception during processing !!! %s", error)
        logging.error(traceback.format_exc())
        given = self.prompt[name]["inputs"]
        self.hear(
            "execution_error", **self._where(name),
            exception_message=str(error), exception_type=type(error).__name__,
            traceback=traceback.format_tb(error.__traceback__),
            current_inputs={key: [value] for key, value in given.items()}, current_outputs=list(self.results),
        )

    def history_entry(self, success: bool) -> dict:
        shown = {name: result["ui"] for name, result in self.results.items() if "ui" in result}
        said = {"status_str": "success" if success else "error", "completed": success, "messages": self._messages}
        meta = {name: {"node_id": name, "display_node": name, "parent_node": None, "real_node_id": name}
                for name in shown}
        return {"outputs": shown, "status": said, "meta": meta}


def _identity(name: str, prompt_id: str) -> dict:
    return {"node_id": name, "prompt_id": prompt_id, "display_node_id": name, "parent_node_id": None,
            "real_node_id": name}

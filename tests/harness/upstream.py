"""ComfyUI's own side, past the guard: what the stand-in recorded, and its routes."""

import json
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from . import places

# Asks the stand-in's own code for its table, in a process of its own so that nothing of it stays in the tests'.
LIST_ROUTES = """
import asyncio, json, sys
sys.path.insert(0, sys.argv[1])
from aiohttp.web_urldispatcher import StaticResource
from standin import application, cli, folders, log
options = cli.parse(["--test-extras", "--base-directory", sys.argv[2]])
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
made = application.Standin(options, folders.from_arguments(options), log.set_up("INFO", False), loop)
routes = [(r.method, r.resource.canonical) for r in application.build(made).router.routes()
          if r.resource is not None and not isinstance(r.resource, StaticResource)]
sys.__stdout__.write(json.dumps(routes))
"""


@cache
def routes() -> list[tuple[str, str]]:
    """(method, pattern) of every handler that is not a static tree, in the router's order."""
    import tempfile

    with tempfile.TemporaryDirectory() as base:
        line = [sys.executable, "-c", LIST_ROUTES, str(places.ROOT / "tests/standin"), base]
        done = subprocess.run(line, capture_output=True, check=True, timeout=60)
    return [tuple(pair) for pair in json.loads(done.stdout)]


@dataclass
class Seen:
    """One request as it came off the wire at ComfyUI; `handler` None: no handler ran (404, 405, or the guard of ComfyUI)."""

    handler: str | None
    line: str
    headers: list[tuple[str, str]]

    @property
    def method(self) -> str:
        return self.line.split(" ", 1)[0]

    @property
    def target(self) -> str:
        return self.line.split(" ", 1)[1].rsplit(" ", 1)[0]

    def all(self, name: str) -> list[str]:
        return [value for field, value in self.headers if field.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        found = self.all(name)
        return found[0] if found else None


class Upstream:
    def __init__(self, port: int, record_file: Path, is_real: bool = False):
        self.port, self.record_file, self.is_real = port, record_file, is_real

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def mark(self) -> int:
        """The record's present end, for `since`."""
        return self.record_file.stat().st_size if self.record_file.exists() else 0

    def since(self, mark: int = 0) -> list[Seen]:
        """Every request after `mark`, the guard's own health questions left out."""
        if not self.record_file.exists():
            return []
        with open(self.record_file, "rb") as file:
            file.seek(mark)
            lines = file.read().decode().splitlines()
        seen = [Seen(entry["handler"], entry["line"], [tuple(pair) for pair in entry["headers"]]) for entry in map(json.loads, lines)]
        return [one for one in seen if not is_own_question(one)]

    def raw_record(self) -> str:
        return self.record_file.read_text()

    def ask(self, path: str, data: bytes | None = None, timeout: float = 10.0):
        """A call straight to ComfyUI, past the guard; the JSON of its answer."""
        call = urllib.request.Request(self.url + path, data=data, headers={"Content-Type": "application/json"} if data else {})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(call, timeout=timeout) as answer:
            text = answer.read()
        return json.loads(text) if text else None


def is_own_question(one: Seen) -> bool:
    """The guard asks for the queue's length, the device and how jobs ended; a guest's request would carry a user agent of its own."""
    return one.target.split("?")[0] in ("/prompt", "/system_stats", "/history", "/api/jobs") and one.method == "GET" and not one.get("user-agent")

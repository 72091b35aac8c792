"""Which handler ran for every request, in order, with the request as it came off the wire."""

import json
from collections import deque
from pathlib import Path

from aiohttp import web
from aiohttp.web_urldispatcher import SystemRoute

# Enough for a generated-paths run of 100,000 with room to spare; older entries fall out.
KEPT = 250_000
# The record does not record the reading of itself.
OWN_PATH = "/_standin/record"
ENTRY = "standin.entry"


class Record:
    """`note` is called once a request: by the innermost middleware if a handler runs, else by the outermost."""

    def __init__(self, file: Path | None) -> None:
        self.entries: deque[dict] = deque(maxlen=KEPT)
        # Line-buffered append: a crash a moment later must not lose the line.
        self._file = file.open("a", buffering=1) if file else None

    def note(self, request: web.Request, ran: bool) -> dict:
        message = request._message  # the public request has only a case-folded view of the headers
        route = request.match_info.route
        entry = {
            "handler": f"{route.method} {resource_name(request)}" if ran else None,
            "line": f"{message.method} {message.path} HTTP/{message.version.major}.{message.version.minor}",
            "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in message.raw_headers],
            "status": None,
        }
        if not request.path.startswith(OWN_PATH):
            self.entries.append(entry)
            if self._file:
                line = {key: entry[key] for key in ("handler", "line", "headers")}
                self._file.write(json.dumps(line) + "\n")
        return entry


def resource_name(request: web.Request) -> str:
    """The pattern that matched, e.g. `/api/history/{prompt_id}`; a static tree as `static PREFIX`."""
    resource = request.match_info.route.resource
    if resource is None:
        return "none"
    if isinstance(resource, web.StaticResource):
        return f"static {resource.canonical or '/'}"
    return resource.canonical


def middlewares(record: Record) -> tuple:
    """The outermost and the innermost of the chain."""

    @web.middleware
    async def outer(request: web.Request, handler):
        try:
            return await handler(request)
        finally:
            # An answer by a middleware, or a 404 or 405 by the router, reaches no handler.
            if ENTRY not in request:
                request[ENTRY] = record.note(request, ran=False)

    @web.middleware
    async def inner(request: web.Request, handler):
        if not isinstance(request.match_info.route, SystemRoute):
            request[ENTRY] = record.note(request, ran=True)
        return await handler(request)

    return outer, inner


async def note_status(request: web.Request, response: web.StreamResponse) -> None:
    """Called when the head goes out: a file that is missing or a handler that raised is known only then."""
    if ENTRY in request:
        request[ENTRY]["status"] = response.status

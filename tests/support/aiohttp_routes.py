"""Tells how aiohttp, with ComfyUI's routes, reads request lines.

Standard input: one JSON line with ComfyUI's routes ([[method, path], ...]), then one JSON line [method, path] for each
request. Standard output: one JSON line for each request, in order: its decoded path (null if the parser refuses it),
the canonical pattern of the resource that would answer it (null if none would), and whether that is a static one.
"""

import asyncio
import json
import sys
import tempfile

try:
    from aiohttp import web
    from aiohttp.http import HttpProcessingError, HttpRequestParser
except ImportError as missing:
    sys.exit(f"{missing}: run tests/setup, which installs it")

NOBODY = {"path": None, "resource": None, "is_static": False}


async def handler(request):
    return web.Response()


def application(routes, directory):
    """Registers in ComfyUI's order: API under /api, API, own pages, static trees, and the front end last."""
    app = web.Application()
    for method, path in routes:
        if not path.startswith("/internal"):
            app.router.add_route(method, "/api" + path, handler)
    for method, path in routes:
        app.router.add_route(method, path, handler)
        if method == "GET":
            app.router.add_route("HEAD", path, handler)
            if not path.startswith("/internal"):
                app.router.add_route("HEAD", "/api" + path, handler)
    app.router.add_get("/", handler)
    app.router.add_get("/api/", handler)
    for tree in ("/extensions/core", "/extensions/My Node", "/templates", "/docs", "/"):
        app.add_routes([web.static(tree, directory)])
    return app


def reader(app, loop):
    """A function from method and path to what aiohttp makes of them, by way of the bytes on the wire."""
    protocol = web.Server(handler)()

    async def resolve(method, path):
        wire = method.encode() + b" " + path.encode() + b" HTTP/1.1\r\nHost: 127.0.0.1:8188\r\n\r\n"
        parser = HttpRequestParser(protocol, loop, 2**16, max_line_size=8190, max_field_size=8190)
        try:
            messages, _, rest = parser.feed_data(wire)
        except HttpProcessingError:
            return NOBODY
        if len(messages) != 1 or rest:
            raise SystemExit(f"aiohttp read {len(messages)} requests from {wire!r}")
        message, payload = messages[0]
        request = web.Request(message, payload, protocol, None, None, loop)
        found = await app.router.resolve(request)
        if found.http_exception is not None:
            return {"path": request.path, "resource": None, "is_static": False}
        resource = found.route.resource
        static = isinstance(resource, web.StaticResource)
        return {"path": request.path, "resource": resource.canonical, "is_static": static}

    return resolve


async def main():
    routes = json.loads(sys.stdin.readline())
    with tempfile.TemporaryDirectory() as directory:
        resolve = reader(application(routes, directory), asyncio.get_running_loop())
        for line in sys.stdin:
            method, path = json.loads(line)
            sys.stdout.write(json.dumps(await resolve(method, path)) + "\n")


asyncio.run(main())

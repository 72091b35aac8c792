"""Everything below /_standin: what a test needs that ComfyUI does not have. Served with --test-extras only."""

from aiohttp import web

from . import bodies, broken, node, process, recording, sockets, timing


def add_routes(app: web.Application, standin) -> None:
    for part in (recording, bodies, timing, broken, sockets, process, node):
        routes = web.RouteTableDef()
        part.add_routes(routes, standin)
        app.add_routes([web.route(r.method, f"/_standin{r.path}", r.handler, **r.kwargs) for r in routes])

"""What custom nodes add: nothing by default; with the extras one that behaves as the worst of the real ones."""

from pathlib import Path

from aiohttp import web

_HOME = Path(__file__).resolve().parent.parent


def add_routes(routes: web.RouteTableDef, standin) -> None:
    @routes.get("/workflow_templates")
    async def templates(request: web.Request) -> web.Response:
        return web.json_response({})

    @routes.get("/i18n")
    async def translations(request: web.Request) -> web.Response:
        return web.json_response({})


def add_example(app: web.Application) -> None:
    """Handlers that look like files, also below /extensions/NAME, beside a true static tree."""

    async def private(request: web.Request) -> web.Response:
        return web.json_response({"private": True, "method": request.method})

    for method in ("GET", "POST", "DELETE"):
        app.router.add_route(method, "/extensions/example/private.json", private)
        app.router.add_route(method, "/example/run.js", private)
    app.router.add_static("/extensions/example", _HOME / "example_web")

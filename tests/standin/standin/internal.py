"""What only the front end asks, below /internal and without a twin: logs, folders, files."""

import shutil

from aiohttp import web

from .folders import MODEL_KINDS


def build(standin) -> web.Application:
    routes = web.RouteTableDef()
    _add_logs(routes, standin)
    _add_folders(routes, standin.folders)
    app = web.Application()
    app.add_routes(routes)
    return app


def _add_logs(routes: web.RouteTableDef, standin) -> None:
    log, sockets = standin.log, standin.sockets

    @routes.get("/logs")
    async def as_text(request: web.Request) -> web.Response:
        return web.json_response("".join(f"{line['t']} - {line['m']}" for line in list(log.lines)))

    @routes.get("/logs/raw")
    async def as_entries(request: web.Request) -> web.Response:
        size = shutil.get_terminal_size()
        return web.json_response({"entries": list(log.lines), "size": {"cols": size.columns, "rows": size.lines}})

    @routes.patch("/logs/subscribe")
    async def subscribe(request: web.Request) -> web.Response:
        asked = await request.json()
        change = sockets.log_listeners.add if asked["enabled"] else sockets.log_listeners.discard
        change(asked["clientId"])
        return web.Response()


def _add_folders(routes: web.RouteTableDef, folders) -> None:
    @routes.get("/folder_paths")
    async def folder_paths(request: web.Request) -> web.Response:
        return web.json_response({kind: [str(path) for path in folders.model_folders(kind)] for kind in MODEL_KINDS})

    @routes.get("/files/{directory_type}")
    async def files(request: web.Request) -> web.Response:
        folder = folders.by_type(request.match_info["directory_type"])
        if folder is None:
            return web.json_response({"error": "Invalid directory type"}, status=400)
        found = [path for path in folder.iterdir() if path.is_file()]
        found.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        return web.json_response([path.name for path in found])

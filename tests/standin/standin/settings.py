"""The front end's settings, one JSON document per user: /settings."""

import json
import logging
from pathlib import Path

from aiohttp import web

FILE = "comfy.settings.json"


def _load(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        logging.error("The user settings file is corrupted: %s", path)
        return {}


def add_routes(routes: web.RouteTableDef, standin) -> None:
    def place(request: web.Request) -> Path:
        try:
            return standin.users.path(request, FILE)
        except KeyError:
            raise web.HTTPUnauthorized() from None

    def change(request: web.Request, new: dict) -> web.Response:
        path = place(request)
        path.write_text(json.dumps({**_load(path), **new}, indent=4))
        return web.Response()

    @routes.get("/settings")
    async def show_all(request: web.Request) -> web.Response:
        return web.json_response(_load(place(request)))

    @routes.get("/settings/{id}")
    async def show_one(request: web.Request) -> web.Response:
        return web.json_response(_load(place(request)).get(request.match_info["id"]))

    @routes.post("/settings")
    async def change_several(request: web.Request) -> web.Response:
        return change(request, await request.json())

    @routes.post("/settings/{id}")
    async def change_one(request: web.Request) -> web.Response:
        return change(request, {request.match_info["id"]: await request.json()})

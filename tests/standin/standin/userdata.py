"""A user's own files, workflows above all: /userdata, /v2/userdata, /users."""

import logging
import shutil
from pathlib import Path
from urllib.parse import unquote

from aiohttp import web

from .folders import inside


def add_routes(routes: web.RouteTableDef, standin) -> None:
    _add_users(routes, standin.users)
    _add_lists(routes, standin.users)
    _add_files(routes, standin.users)
    _add_move(routes, standin.users)


def _is_set(request: web.Request, name: str) -> bool:
    return request.query.get(name, "").lower() == "true"


def _facts(path: Path, root: Path) -> dict:
    found = path.stat()
    return {"path": str(path.relative_to(root)), "size": found.st_size, "modified": found.st_mtime,
            "created": found.st_ctime}


def _described(request: web.Request, path: Path, root: Path) -> web.Response:
    return web.json_response(_facts(path, root) if _is_set(request, "full_info") else str(path.relative_to(root)))


def _add_users(routes: web.RouteTableDef, users) -> None:
    @routes.get("/users")
    async def show(request: web.Request) -> web.Response:
        if users.several:
            return web.json_response({"storage": "server", "users": users.names})
        return web.json_response({"storage": "server", "migrated": users.home(request).exists()})

    @routes.post("/users")
    async def add(request: web.Request) -> web.Response:
        name = (await request.json())["username"]
        if name in users.names.values():
            return web.json_response({"error": "Duplicate username."}, status=400)
        return web.json_response(users.add(name))


def _add_lists(routes: web.RouteTableDef, users) -> None:
    @routes.get("/userdata")
    async def files(request: web.Request) -> web.Response:
        wanted = request.query.get("dir", "")
        if not wanted:
            return web.Response(status=400, text="Directory not provided")
        folder = users.path(request, wanted)
        if folder is None:
            return web.Response(status=403, text="Invalid directory")
        if not folder.exists():
            return web.Response(status=404, text="Directory not found")
        found = folder.rglob("*") if _is_set(request, "recurse") else folder.glob("*")
        # Hidden files are not listed, nor what lies in hidden folders.
        seen = [path for path in found if path.is_file() and "/." not in f"/{path.relative_to(folder)}"]
        if _is_set(request, "full_info"):
            return web.json_response([_facts(path, folder) for path in seen])
        names = [str(path.relative_to(folder)) for path in seen]
        return web.json_response([[name, *name.split("/")] for name in names] if _is_set(request, "split") else names)

    @routes.get("/v2/userdata")
    async def everything(request: web.Request) -> web.Response:
        home = users.home(request)
        wanted = unquote(request.query.get("path", ""))
        folder = inside(home, unquote(wanted)) if wanted else home
        if folder is None:
            return web.Response(status=400, text="Invalid path requested")
        if not folder.exists():
            # A user who has saved nothing yet has no folder.
            nothing = web.Response(status=404, text="Requested path not found")
            return web.json_response([]) if folder == home else nothing
        if not folder.is_dir():
            return web.Response(status=400, text="Requested path is not a directory")
        entries = [_entry(path, home) for path in folder.rglob("*")]
        return web.json_response(sorted(entries, key=lambda entry: (entry["type"] == "file", entry["name"].lower())))


def _entry(path: Path, home: Path) -> dict:
    named = {"name": path.name, "path": str(path.relative_to(home))}
    if path.is_dir():
        return {**named, "type": "directory"}
    return {**named, "type": "file", "size": path.stat().st_size, "modified": path.stat().st_mtime}


def _add_files(routes: web.RouteTableDef, users) -> None:
    @routes.get("/userdata/{file}")
    async def read(request: web.Request) -> web.StreamResponse:
        path = users.path(request, request.match_info["file"])
        if path is None:
            return web.Response(status=403)
        return web.FileResponse(path) if path.exists() else web.Response(status=404)

    @routes.post("/userdata/{file}")
    async def write(request: web.Request) -> web.Response:
        path = users.path(request, request.match_info["file"])
        if path is None:
            return web.Response(status=403)
        if request.query.get("overwrite") == "false" and path.exists():
            return web.Response(status=409, text="File already exists")
        body = await request.read()
        try:
            path.write_bytes(body)
        except OSError as error:
            logging.warning("Error saving file '%s': %s", path, error)
            return web.Response(status=400, reason="Invalid filename")
        return _described(request, path, users.home(request))

    @routes.delete("/userdata/{file}")
    async def remove(request: web.Request) -> web.Response:
        path = users.path(request, request.match_info["file"])
        if path is None:
            return web.Response(status=403)
        if not path.exists():
            return web.Response(status=404)
        path.unlink()
        return web.Response(status=204)


def _add_move(routes: web.RouteTableDef, users) -> None:
    @routes.post("/userdata/{file}/move/{dest}")
    async def move(request: web.Request) -> web.Response:
        source = users.path(request, request.match_info["file"])
        target = users.path(request, request.match_info["dest"])
        if source is None or target is None:
            return web.Response(status=403)
        if not source.exists():
            return web.Response(status=404)
        if request.query.get("overwrite") == "false" and target.exists():
            return web.Response(status=409, text="File already exists")
        shutil.move(source, target)
        return _described(request, target, users.home(request))

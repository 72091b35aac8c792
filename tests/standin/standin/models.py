"""Models as lists: /models, /experiment/models, /embeddings, /view_metadata."""

import io
import json
import struct
from pathlib import Path

from aiohttp import web
from PIL import Image

from .folders import MODEL_KINDS, Folders, inside, models_below

PREVIEW_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif")
HEADER_LIMIT = 1 << 20


def add_routes(routes: web.RouteTableDef, standin) -> None:
    _add_plain(routes, standin.folders)
    _add_experiment(routes, standin.folders)


def _add_plain(routes: web.RouteTableDef, folders: Folders) -> None:
    @routes.get("/embeddings")
    async def embeddings(request: web.Request) -> web.Response:
        return web.json_response([str(Path(name).with_suffix("")) for name in folders.model_files("embeddings")])

    @routes.get("/models")
    async def kinds(request: web.Request) -> web.Response:
        return web.json_response(MODEL_KINDS)

    @routes.get("/models/{folder}")
    async def files(request: web.Request) -> web.Response:
        kind = request.match_info["folder"]
        if kind not in MODEL_KINDS:
            return web.Response(status=404)
        return web.json_response(folders.model_files(kind))

    @routes.get("/view_metadata/{folder_name}")
    async def metadata(request: web.Request) -> web.Response:
        kind, name = request.match_info["folder_name"], request.query.get("filename", "")
        if not name.endswith(".safetensors"):
            return web.Response(status=404)
        # An unknown kind of model gives None here and 404, as a known kind without that file does.
        roots = folders.model_folders(kind) if kind in MODEL_KINDS else []
        paths = [path for root in roots if (path := inside(root, name)) and path.is_file()]
        found = _safetensors_metadata(paths[0]) if paths else None
        return web.json_response(found) if found is not None else web.Response(status=404)


def _safetensors_metadata(path: Path) -> dict | None:
    with path.open("rb") as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else HEADER_LIMIT + 1
        if length > HEADER_LIMIT:
            return None
        return json.loads(file.read(length)).get("__metadata__")


def _add_experiment(routes: web.RouteTableDef, folders: Folders) -> None:
    @routes.get("/experiment/models")
    async def kinds(request: web.Request) -> web.Response:
        listed = [kind for kind in MODEL_KINDS if kind not in ("configs", "custom_nodes")]
        return web.json_response([
            {"name": kind, "folders": [str(path) for path in folders.model_folders(kind)]} for kind in listed
        ])

    @routes.get("/experiment/models/{folder}")
    async def files(request: web.Request) -> web.Response:
        kind = request.match_info["folder"]
        if kind not in MODEL_KINDS:
            return web.Response(status=404)
        return web.json_response(list(_file_facts(folders, kind)))

    @routes.get("/experiment/models/preview/{folder}/{path_index}/{filename:.*}")
    async def preview(request: web.Request) -> web.Response:
        kind, index = request.match_info["folder"], int(request.match_info["path_index"])
        if kind not in MODEL_KINDS:
            return web.Response(status=404)
        model = inside(folders.model_folders(kind)[index], request.match_info["filename"])
        pictures = [model.with_suffix(suffix) for suffix in PREVIEW_SUFFIXES] if model else []
        found = next((path for path in pictures if path.is_file()), None)
        if found is None:
            return web.Response(status=404)
        buffer = io.BytesIO()
        with Image.open(found) as picture:
            picture.save(buffer, "WEBP")
        return web.Response(body=buffer.getvalue(), content_type="image/webp")


def _file_facts(folders: Folders, kind: str):
    for index, root in enumerate(folders.model_folders(kind)):
        for name in models_below(root):
            facts = (root / name).stat()
            yield {"name": name, "pathIndex": index, "modified": facts.st_mtime, "created": facts.st_ctime,
                   "size": facts.st_size}

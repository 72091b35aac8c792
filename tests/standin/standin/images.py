"""Pictures in and out: /upload/image, /upload/mask, /view."""

import hashlib
import io
import json
import mimetypes
from pathlib import Path

from aiohttp import web
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .folders import Folders, inside

# Kinds that a browser would run: handed out as plain bytes, so that an upload cannot become a page.
ACTIVE_TYPES = {"text/html", "text/html-sandboxed", "application/xhtml+xml", "text/javascript", "text/css"}


def add_routes(routes: web.RouteTableDef, standin) -> None:
    folders: Folders = standin.folders

    @routes.post("/upload/image")
    async def upload_image(request: web.Request) -> web.Response:
        form = await request.post()
        return _keep(folders, form, lambda image, path: path.write_bytes(image.file.read()))

    @routes.post("/upload/mask")
    async def upload_mask(request: web.Request) -> web.Response:
        form = await request.post()
        if "image" not in form:
            return web.Response(status=400)
        original, refusal = _find(folders, json.loads(form.get("original_ref")))
        if refusal:
            return web.Response(status=refusal)
        return _keep(folders, form, lambda image, path: _put_alpha(original, image, path))

    @routes.get("/view")
    async def view(request: web.Request) -> web.StreamResponse:
        if "filename" not in request.query:
            return web.Response(status=404)
        path, refusal = _find(folders, request.query)
        if refusal:
            return web.Response(status=refusal)
        if path is None:
            return web.Response(status=404)
        named = {"Content-Disposition": f'filename="{path.name}"'}
        made = _converted(path, request.query)
        if made:
            body, kind = made
            return web.Response(body=body, content_type=kind, headers=named)
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        kind = "application/octet-stream" if kind in ACTIVE_TYPES else kind
        return web.FileResponse(path, headers={**named, "Content-Type": kind})


def _keep(folders: Folders, form, write) -> web.Response:
    """Stores an upload under its name, or under `NAME (1)` where another picture has that name already."""
    kind = form.get("type") or "input"
    image, root, subfolder = form.get("image"), folders.by_type(kind), form.get("subfolder", "")
    if not image:
        return web.Response(status=400)
    # An unknown kind, or an image that is no file, raises from here on: the client gets ComfyUI's 500.
    path = inside(root, subfolder, image.filename)
    if path is None:
        return web.Response(status=400)
    path.parent.mkdir(parents=True, exist_ok=True)
    duplicate = False
    if form.get("overwrite") not in ("true", "1"):
        path, duplicate = _free_path(path, image)
    if not duplicate:
        write(image, path)
    return web.json_response({"name": path.name, "subfolder": subfolder, "type": kind})


def _free_path(wanted: Path, image) -> tuple[Path, bool]:
    """A path not taken yet; or one that holds the very same bytes already, and True."""
    content = hashlib.sha256(image.file.read()).digest()
    image.file.seek(0)
    path, number = wanted, 0
    while path.exists():
        if hashlib.sha256(path.read_bytes()).digest() == content:
            return path, True
        number += 1
        path = wanted.with_name(f"{wanted.stem} ({number}){wanted.suffix}")
    return path, False


def _find(folders: Folders, asked) -> tuple[Path | None, int]:
    """The file that `filename`, `type` and `subfolder` mean, and the status that refuses (0: none)."""
    name, kind = asked["filename"], asked.get("type", "output")
    for marked in ("output", "input", "temp"):
        if name.endswith(f"[{marked}]"):
            name, kind = name.removesuffix(f"[{marked}]"), marked
    root = folders.by_type(kind)
    if not name or name.startswith("/") or ".." in name or root is None:
        return None, 400
    folder = inside(root, asked.get("subfolder", ""))
    if folder is None:
        return None, 403
    path = folder / Path(name).name
    return (path, 0) if path.is_file() else (None, 0)


def _converted(path: Path, asked) -> tuple[bytes, str] | None:
    """The picture in another form, where `preview` or `channel` asks for one."""
    channel = asked.get("channel", "rgba")
    if "preview" in asked:
        form, *rest = asked["preview"].split(";")
        form = form if form in ("webp", "jpeg") and "a" not in asked.get("channel", "") else "webp"
        quality = int(rest[-1]) if rest and rest[-1].isdigit() else 90
        mode = "RGB" if form == "jpeg" or channel == "rgb" else None
        return _saved(path, form, mode, quality=quality), f"image/{form}"
    if channel == "rgb":
        return _saved(path, "png", "RGB"), "image/png"
    if channel == "a":
        with Image.open(path) as picture:
            alpha = picture.getchannel("A") if picture.mode == "RGBA" else Image.new("L", picture.size, 255)
            out = Image.new("RGBA", picture.size)
            out.putalpha(alpha)
        buffer = io.BytesIO()
        out.save(buffer, "PNG")
        return buffer.getvalue(), "image/png"
    return None


def _saved(path: Path, form: str, mode: str | None, **options) -> bytes:
    buffer = io.BytesIO()
    with Image.open(path) as picture:
        (picture.convert(mode) if mode else picture).save(buffer, form, **options)
    return buffer.getvalue()


def _put_alpha(original: Path | None, mask, path: Path) -> None:
    """The original with the mask's alpha; its texts (the workflow) stay in it."""
    if original is None:
        return
    with Image.open(original) as picture:
        texts = PngInfo()
        for key, value in getattr(picture, "text", {}).items():
            texts.add_text(key, value)
        out = picture.convert("RGBA")
    out.putalpha(Image.open(mask.file).convert("RGBA").getchannel("A"))
    out.save(path, compress_level=4, pnginfo=texts)

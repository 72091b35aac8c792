"""Bodies of any length in constant memory: /_standin/bytes/N down, /_standin/sink up."""

import asyncio
import hashlib
import time

from aiohttp import web

from .pattern import span


def add_routes(routes: web.RouteTableDef, standin) -> None:
    routes.get("/bytes/{length:\\d+}")(_give)
    routes.post("/sink")(_take)
    routes.put("/sink")(_take)


def _wanted(request: web.Request, length: int) -> tuple[int, int, bool] | None:
    """(start, end, partial); None for a range that cannot be given."""
    try:
        asked = request.http_range
    except ValueError:
        return None
    if asked.start is None and asked.stop is None:
        return 0, length, False
    start, end, _ = asked.indices(length)
    return (start, end, True) if start < end else None


async def _give(request: web.Request) -> web.StreamResponse:
    """?chunked=1 hides the length; ?type= sets the media type."""
    length = int(request.match_info["length"])
    tag = f'"pattern-{length}"'
    headers = {"ETag": tag, "Accept-Ranges": "bytes"}
    if request.headers.get("If-None-Match") in (tag, "*"):
        return web.Response(status=304, headers=headers)
    ranged = request.headers.get("If-Range", tag) == tag
    wanted = _wanted(request, length) if ranged else (0, length, False)
    if wanted is None:
        return web.Response(status=416, headers={**headers, "Content-Range": f"bytes */{length}"})
    start, end, partial = wanted
    response = web.StreamResponse(status=206 if partial else 200, headers=headers)
    response.content_type = request.query.get("type", "application/octet-stream")
    if partial:
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{length}"
    if "chunked" in request.query:
        response.enable_chunked_encoding()
    else:
        response.content_length = end - start
    await response.prepare(request)
    if request.method != "HEAD":
        for piece in span(start, end):
            await response.write(piece)
    await response.write_eof()
    return response


async def _take(request: web.Request) -> web.Response:
    """Counts and hashes. ?pause=S waits before reading; ?refuse=1 answers 413 without reading at all."""
    if "refuse" in request.query:
        return web.Response(status=413, text="refused before reading")
    await asyncio.sleep(float(request.query.get("pause", 0)))
    hashed, count, pieces, began = hashlib.sha256(), 0, 0, time.monotonic()
    async for piece in request.content.iter_any():
        hashed.update(piece)
        count += len(piece)
        pieces += 1
    return web.json_response({
        "bytes": count, "sha256": hashed.hexdigest(), "pieces": pieces, "seconds": time.monotonic() - began,
        "content_length": request.headers.get("Content-Length"),
        "transfer_encoding": request.headers.get("Transfer-Encoding"),
    })

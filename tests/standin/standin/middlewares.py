"""What every request passes: the record, the cache marks, optional compression, the origin guard or CORS."""

import argparse
import ipaddress
import logging
import socket
from urllib.parse import urlsplit

from aiohttp import web

from . import record as recording

PICTURES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
KEPT_A_DAY = {200, 201, 202, 203, 204, 205, 206, 301, 308}
NOT_KEPT = {302, 303, 307}


def chain(record: recording.Record, options: argparse.Namespace) -> list:
    outer, inner = recording.middlewares(record)
    guard = cors(options.enable_cors_header) if options.enable_cors_header else origin_guard
    compression = [compress] if options.enable_compress_response_body else []
    return [outer, cache_marks, *compression, guard, inner]


def cache_mark(path: str, status: int) -> str | None:
    """Cache-Control by the path's ending alone, whatever the path leads to: ComfyUI's own weakness, kept."""
    last = path.rsplit("/", 1)[-1]
    if path.endswith((".js", ".css")) or (last.startswith("index") and last.endswith(".json")):
        return "no-cache"
    if not path.lower().endswith(PICTURES):
        return None
    if status == 404:
        return "public, max-age=3600"
    if status in KEPT_A_DAY:
        return "public, max-age=86400"
    return "no-cache" if status in NOT_KEPT else None


@web.middleware
async def cache_marks(request: web.Request, handler) -> web.StreamResponse:
    response = await handler(request)
    mark = cache_mark(request.path, response.status)
    if mark and not response.prepared:
        response.headers.setdefault("Cache-Control", mark)
    return response


@web.middleware
async def compress(request: web.Request, handler) -> web.StreamResponse:
    response = await handler(request)
    eligible = isinstance(response, web.Response) and response.content_type in ("application/json", "text/plain")
    if eligible and response.body and "gzip" in request.headers.get("Accept-Encoding", ""):
        response.enable_compression()
    return response


def cors(origin: str):
    """Takes the guard's place; answers every OPTIONS itself."""

    @web.middleware
    async def middleware(request: web.Request, handler) -> web.StreamResponse:
        response = web.Response() if request.method == "OPTIONS" else await handler(request)
        response.headers.update({
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": "POST, GET, DELETE, PUT, OPTIONS",
            "Access-Control-Allow-Headers": "Content-Type, Authorization",
            "Access-Control-Allow-Credentials": "true",
        })
        return response

    return middleware


@web.middleware
async def origin_guard(request: web.Request, handler) -> web.StreamResponse:
    # 0.3.64 looks at Host and Origin only; the second rule is that of the versions after it.
    foreign = is_foreign(request.headers.get("Host"), request.headers.get("Origin"))
    if foreign or request.headers.get("Sec-Fetch-Site") == "cross-site":
        logging.warning("WARNING: request from a foreign site, returning 403")
        return web.Response(status=403)
    return web.Response() if request.method == "OPTIONS" else await handler(request)


def is_foreign(host: str | None, origin: str | None) -> bool:
    """True where Host is this machine and Origin names another place; ports count only if both have one."""
    if host is None or origin is None:
        return False
    here, there = urlsplit(f"//{host.lower()}"), urlsplit(origin.lower())
    if not _is_this_machine(here.hostname):
        return False
    host_name = host.lower() if there.port is not None else here.hostname
    origin_name = there.netloc if here.port is not None else there.hostname
    # `null`, an empty Origin and file:// have no host part: they pass.
    return bool(host_name) and bool(origin_name) and host_name != origin_name


def _is_this_machine(name: str | None) -> bool:
    """Asks the resolver, blocking, as ComfyUI does; every address found must be a loopback one."""
    if name is None:
        return False
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        return False
    return bool(found) and all(ipaddress.ip_address(address[4][0]).is_loopback for address in found)

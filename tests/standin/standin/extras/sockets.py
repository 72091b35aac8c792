"""WebSockets without ComfyUI's limits: /_standin/echo gives back every frame, /_standin/push sends by itself."""

import asyncio

import aiohttp
from aiohttp import web

from .pattern import span

BINARY, TEXT, CLOSE = aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.CLOSE


def add_routes(routes: web.RouteTableDef, standin) -> None:
    routes.get("/echo")(_echo)
    routes.get("/push")(_push)


async def _open(request: web.Request) -> web.WebSocketResponse:
    """Agrees to deflate and to the first subprotocol that is offered; no limit on a message."""
    offered = [name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if name.strip()]
    socket = web.WebSocketResponse(max_msg_size=0, compress=True, autoclose=False, protocols=offered)
    await socket.prepare(request)
    return socket


async def _echo(request: web.Request) -> web.WebSocketResponse:
    """A close code comes back as it went. ?close=CODE&reason=R&after=N closes first, after N messages."""
    socket = await _open(request)
    code, left = request.query.get("close"), int(request.query.get("after", 0))
    while not (code and left == 0):
        message = await socket.receive()
        if message.type is TEXT:
            await socket.send_str(message.data)
        elif message.type is BINARY:
            await socket.send_bytes(message.data)
        elif message.type is CLOSE:
            await socket.close(code=message.data or 1000, message=(message.extra or "").encode())
            return socket
        else:
            return socket
        left -= 1
    await socket.close(code=int(code), message=request.query.get("reason", "").encode())
    return socket


async def _push(request: web.Request) -> web.WebSocketResponse:
    """?count= binary messages of ?size= bytes of the pattern, ?interval= apart; ?ping=1 sends a ping before each."""
    socket = await _open(request)
    size, interval = int(request.query.get("size", 1024)), float(request.query.get("interval", 0))
    for number in range(int(request.query.get("count", 1))):
        if "ping" in request.query:
            await socket.ping(b"ping %d" % number)
        await socket.send_bytes(b"".join(span(number * size, (number + 1) * size)))
        await asyncio.sleep(interval)
    await socket.close(code=1000, message=b"all sent")
    return socket

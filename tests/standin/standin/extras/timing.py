"""Answers that take their time, or that come in drops: slow, trickle, sse, hang. Whether the client left is counted."""

import asyncio
import json
import time

from aiohttp import web


def add_routes(routes: web.RouteTableDef, standin) -> None:
    # Streams under way, streams that ran to their end, and streams whose reader went away before.
    streams = {"open": 0, "finished": 0, "abandoned": 0}

    @routes.get("/streams")
    async def show(request: web.Request) -> web.Response:
        return web.json_response(streams)

    @routes.route("*", "/slow")
    async def slow(request: web.Request) -> web.Response:
        """Reads the body, waits ?seconds=, then answers; ?status= sets what."""
        await request.read()
        ends = time.monotonic() + float(request.query.get("seconds", 1))
        streams["open"] += 1
        try:
            while (left := ends - time.monotonic()) > 0:
                if request.transport is None or request.transport.is_closing():
                    streams["abandoned"] += 1
                    break
                await asyncio.sleep(min(left, 0.05))
            else:
                streams["finished"] += 1
        finally:
            streams["open"] -= 1
        return web.Response(status=int(request.query.get("status", 200)), text="slow but sure\n")

    async def drip(request: web.Request, kind: str, make) -> web.StreamResponse:
        """?count= pieces (0: for ever), one every ?interval= seconds, each sent when it is made."""
        count, interval = int(request.query.get("count", 10)), float(request.query.get("interval", 0.1))
        response = web.StreamResponse(headers={"Content-Type": kind, "Cache-Control": "no-store"})
        response.enable_chunked_encoding()
        streams["open"] += 1
        try:
            await response.prepare(request)
            number = 0
            while count == 0 or number < count:
                await response.write(make(number))
                number += 1
                await asyncio.sleep(interval)
            await response.write_eof()
            streams["finished"] += 1
        except ConnectionError:
            streams["abandoned"] += 1
        finally:
            streams["open"] -= 1
        return response

    @routes.get("/trickle")
    async def trickle(request: web.Request) -> web.StreamResponse:
        return await drip(request, "text/plain; charset=utf-8", lambda n: f"{n} {time.time():.6f}\n".encode())

    @routes.get("/sse")
    async def events(request: web.Request) -> web.StreamResponse:
        def event(number: int) -> bytes:
            data = json.dumps({"number": number, "time": time.time()})
            return f"id: {number}\nevent: tick\ndata: {data}\n\n".encode()

        return await drip(request, "text/event-stream", event)

    @routes.post("/hang")
    async def hang(request: web.Request) -> web.Response:
        """Blocks the event loop for ?seconds=: every request and every socket waits."""
        time.sleep(float(request.query.get("seconds", 5)))
        return web.Response(text="back\n")

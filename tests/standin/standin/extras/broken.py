"""Answers a server must not give, written past aiohttp onto the wire; and correct ones that aiohttp cannot write."""

import asyncio

from aiohttp import web

BODY = b"x" * 1000
# Name to the bytes that are sent before the connection ends.
ANSWERS = {
    "nothing": b"",
    "garbage": b"\x00\xff\x13 this is not HTTP at all \r\n\r\n" + bytes(range(256)),
    "half-head": b"HTTP/1.1 200 OK\r\nContent-Type: text/pl",
    "half-body": b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + BODY,
    "half-chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n" + BODY + b"\r\n3e8\r\n" + BODY[:10],
    "bad-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    "two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nhello!!",
    "length-and-chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
                          b"5\r\nhello\r\n0\r\n\r\n",
    "folded-header": b"HTTP/1.1 200 OK\r\nX-Folded: one\r\n two\r\nContent-Length: 2\r\n\r\nok",
    "huge-header": b"HTTP/1.1 200 OK\r\nX-Huge: " + b"h" * (1 << 20) + b"\r\nContent-Length: 2\r\n\r\nok",
    "surplus-body": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more than was promised",
    # From here on correct.
    "until-close": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BODY,
    "http10": b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nold but fine",
    "early-hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
                   b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
    "trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Checksum\r\nConnection: close\r\n\r\n"
                b"5\r\nhello\r\n0\r\nX-Checksum: 5d41402abc4b2a76b9719d911017c592\r\n\r\n",
}


def add_routes(routes: web.RouteTableDef, standin) -> None:
    @routes.route("*", "/broken/{kind}")
    async def broken(request: web.Request) -> web.Response:
        """?reset=1 ends with a TCP reset instead of an orderly end."""
        return await _write_raw(request, request.match_info["kind"], "reset" in request.query)

    @routes.get("/trailers")
    async def trailers(request: web.Request) -> web.Response:
        return await _write_raw(request, "trailers", reset=False)

    @routes.get("/garbage")
    async def garbage(request: web.Request) -> web.Response:
        return await _write_raw(request, "garbage", reset=False)

    @routes.route("*", "/status/{code:\\d{3}}")
    async def status(request: web.Request) -> web.Response:
        """Any status from 200; each query pair except `body` becomes a header."""
        code = int(request.match_info["code"])
        headers = [(key, value) for key, value in request.query.items() if key != "body"]
        text = None if code in (204, 304) else request.query.get("body", f"status {code}\n")
        return web.Response(status=code, headers=headers, text=text)


async def _write_raw(request: web.Request, kind: str, reset: bool) -> web.Response:
    if kind not in ANSWERS:
        return web.json_response(sorted(ANSWERS), status=404)
    transport = request.transport
    transport.write(ANSWERS[kind])
    # Let it reach the wire: an abort throws away what is still in the buffer.
    while reset and transport.get_write_buffer_size():
        await asyncio.sleep(0.005)
    if reset:
        transport.abort()
    else:
        transport.close()
    # aiohttp finds the connection closed and sends nothing after it.
    return web.Response()

"""/_standin/record: which handlers ran. /_standin/connections: how many sockets are open."""

from aiohttp import web


def add_routes(routes: web.RouteTableDef, standin) -> None:
    record = standin.record

    @routes.get("/record")
    async def show(request: web.Request) -> web.Response:
        """All entries in order, or with ?since=N those after the first N."""
        since = int(request.query.get("since", 0))
        return web.json_response(list(record.entries)[since:])

    @routes.delete("/record")
    async def clear(request: web.Request) -> web.Response:
        record.entries.clear()
        return web.Response(status=204)

    @routes.get("/connections")
    async def open_now(request: web.Request) -> web.Response:
        """This request's own connection is counted too."""
        connections = standin.runner.server.connections
        return web.json_response({"open": len(connections), "websockets": len(standin.sockets.by_id)})

"""Whatever a custom node may do: Python that a test sends runs inside ComfyUI's process, as the code of a node does."""

import asyncio
import errno
import traceback

from aiohttp import web


def _run(source: str) -> dict:
    names: dict = {"__name__": "node"}
    try:
        exec(compile(source, "node.py", "exec"), names)
    except OSError as error:
        return {"refused": errno.errorcode.get(error.errno, str(error.errno)), "text": str(error)}
    except BaseException as error:
        return {"failed": repr(error), "text": traceback.format_exc()}
    return {"result": names.get("result")}


def add_routes(routes: web.RouteTableDef, standin) -> None:
    @routes.post("/node")
    async def node(request: web.Request) -> web.Response:
        """Runs the body; answers what it left in `result`, or `refused` with the name of the errno, or `failed`."""
        return web.json_response(await asyncio.to_thread(_run, (await request.read()).decode()))

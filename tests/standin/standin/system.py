"""What this installation is and can: /system_stats, /features, /object_info."""

import os
import sys
from importlib import metadata

from aiohttp import web
from comfyui_version import __version__

from .nodes import ALL

TEMPLATES = "0.1.95"


def add_routes(routes: web.RouteTableDef, standin) -> None:
    @routes.get("/system_stats")
    async def stats(request: web.Request) -> web.Response:
        return web.json_response({"system": _system(standin), "devices": [standin.device.values]})

    @routes.get("/features")
    async def features(request: web.Request) -> web.Response:
        return web.json_response(standin.sockets.features)

    @routes.get("/object_info")
    async def all_nodes(request: web.Request) -> web.Response:
        return web.json_response({name: node.info(name) for name, node in ALL.items()})

    @routes.get("/object_info/{node_class}")
    async def one_node(request: web.Request) -> web.Response:
        name = request.match_info["node_class"]
        return web.json_response({name: ALL[name].info(name)} if name in ALL else {})


def _system(standin) -> dict:
    try:
        templates = metadata.version("comfyui-workflow-templates")
    except metadata.PackageNotFoundError:
        templates = None
    return {
        "os": os.name,
        "ram_total": standin.device.ram_total,
        "ram_free": standin.device.ram_free,
        "comfyui_version": __version__,
        "required_frontend_version": standin.frontend_version,
        "installed_templates_version": templates,
        "required_templates_version": TEMPLATES,
        "python_version": sys.version,
        "pytorch_version": "none (stand-in)",
        "embedded_python": False,
        "argv": sys.argv,
    }

"""The application: which parts there are and in which order their routes and middlewares come."""

import argparse
import asyncio
from importlib import metadata

from aiohttp import web

from . import custom_nodes, images, internal, jobs, manager, middlewares, models, prompts, settings, statics, system, userdata
from .device import Device
from .folders import Folders
from .log import Kept
from .record import Record, note_status
from .sockets import Sockets
from .users import Users
from .worker import Worker


class Standin:
    """What the handlers share; one per process."""

    def __init__(self, options: argparse.Namespace, folders: Folders, log: Kept, loop: asyncio.AbstractEventLoop):
        self.options = options
        self.folders = folders
        self.log = log
        self.frontend_version = metadata.version("comfyui-frontend-package")
        self.device = Device(options.device)
        self.record = Record(options.record)
        self.users = Users(folders.user, options.multi_user)
        self.worker = Worker(folders, cache=not options.cache_none, metadata=not options.disable_metadata)
        self.sockets = Sockets(loop, self.worker, round(options.max_upload_size * 1024 * 1024))
        self.runner: web.AppRunner | None = None


def build(standin: Standin) -> web.Application:
    """The same 72 resources as ComfyUI; the extras only on demand, so that the count stays true without them."""
    options = standin.options
    app = web.Application(
        client_max_size=round(options.max_upload_size * 1024 * 1024),
        middlewares=middlewares.chain(standin.record, options),
    )
    app.on_response_prepare.append(note_status)
    routes = web.RouteTableDef()
    for part in (standin.sockets, statics, models, images, system, prompts, settings, userdata, custom_nodes):
        part.add_routes(routes, standin)
    app.add_subapp("/internal", internal.build(standin))
    # The twin below /api comes first: a static tree of the same name must not shadow it.
    app.add_routes([web.route(r.method, f"/api{r.path}", r.handler, **r.kwargs) for r in routes])
    app.add_routes(routes)
    if options.list_jobs:
        jobs.add_routes(app, standin)
    if options.test_extras:
        from . import extras

        manager.add_routes(app, standin)
        custom_nodes.add_example(app)
        extras.add_routes(app, standin)
    statics.add_trees(app, options.front_end_root)
    return app

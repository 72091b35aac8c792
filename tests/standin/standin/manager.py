"""ComfyUI-Manager's restart from inside, in both of its forms."""

import logging
import os
import sys
from pathlib import Path

from aiohttp import web

MARKER = "__COMFY_CLI_SESSION__"


def add_routes(app: web.Application, standin) -> None:
    async def reboot(request: web.Request) -> web.Response:
        logging.info("Restarting... [by the Manager's request]")
        session = os.environ.get(MARKER)
        if session:
            # Whoever started us restarts us: it finds the mark and sees exit code 0.
            Path(f"{session}.reboot").touch()
            standin.folders.remove_temp()
            sys.stderr.flush()
            os._exit(0)
        sys.stderr.flush()
        # Same process id, same pipes; the port closes now and opens again when loading is done.
        os.execv(sys.executable, [sys.executable, *sys.argv])

    app.router.add_get("/manager/reboot", reboot)
    app.router.add_post("/v2/manager/reboot", reboot)

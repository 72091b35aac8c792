"""The process itself: what it was given, how it dies, what it leaves behind, what it prints."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from aiohttp import web

# Leaves the session, the process group and its parent, as a miner in a custom node does.
ORPHAN = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        time.sleep(3600)
    os._exit(0)
"""


def add_routes(routes: web.RouteTableDef, standin) -> None:
    _add_inspection(routes, standin)
    _add_endings(routes)
    _add_output(routes)


def _add_inspection(routes: web.RouteTableDef, standin) -> None:
    @routes.get("/env")
    async def given(request: web.Request) -> web.Response:
        """What it got from its parent: environment, arguments, identity, open files."""
        proc = Path("/proc/self")
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        return web.json_response({
            "environment": dict(os.environ), "argv": sys.argv, "orig_argv": sys.orig_argv, "cwd": os.getcwd(),
            "pid": os.getpid(), "ppid": os.getppid(), "pgid": os.getpgid(0), "sid": os.getsid(0),
            "groups": os.getgroups(), "status": {key: value.strip() for key, value in status.items()},
            "files": {name: _target(proc / "fd" / name) for name in os.listdir(proc / "fd")},
            "sigint": str(signal.getsignal(signal.SIGINT)),
        })

    @routes.put("/device")
    async def device(request: web.Request) -> web.Response:
        """From now on /system_stats shows these values."""
        standin.device.scripted = await request.json()
        return web.json_response(standin.device.values)


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return "gone"


def _add_endings(routes: web.RouteTableDef) -> None:
    @routes.post("/crash")
    async def crash(request: web.Request) -> web.Response:
        """Ends at once, by ?code= or by ?signal=; nothing is cleaned up."""
        if "signal" in request.query:
            os.kill(os.getpid(), int(request.query["signal"]))
            time.sleep(1)
        os._exit(int(request.query.get("code", 1)))

    @routes.post("/stubborn")
    async def stubborn(request: web.Request) -> web.Response:
        """From now on only SIGKILL ends it."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        return web.Response(text="stubborn\n")

    @routes.post("/orphan")
    async def orphan(request: web.Request) -> web.Response:
        """A sleeping grandchild in a session of its own that holds our stderr; answers its process id."""
        made = subprocess.run([sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE, check=True)
        return web.json_response({"pid": int(made.stdout)})


def _add_output(routes: web.RouteTableDef) -> None:
    @routes.post("/log")
    async def write(request: web.Request) -> web.Response:
        """Writes the body's bytes to ?to=stdout or stderr as they are, ?times= over."""
        number = 1 if request.query.get("to") == "stdout" else 2
        body = await request.read()
        for _ in range(int(request.query.get("times", 1))):
            view = memoryview(body)
            while view:
                view = view[os.write(number, view):]
        return web.Response(status=204)

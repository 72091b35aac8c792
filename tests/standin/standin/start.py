"""Start and end of the process: what is said, when the port opens, which exit code a signal gives."""

import asyncio
import logging
import mimetypes
import ssl
import sys
import time

from aiohttp import web
from comfyui_version import __version__

from . import cli, folders, log
from .application import Standin, build


def main(arguments: list[str]) -> int:
    options = cli.parse(arguments)
    kept = log.set_up(options.verbose, options.log_stdout)
    places = folders.from_arguments(options)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    standin = Standin(options, places, kept, loop)
    # As ComfyUI has it: an uploaded script is shown as a script by /view.
    mimetypes.add_type("application/javascript; charset=utf-8", ".js")
    mimetypes.add_type("image/webp", ".webp")
    _say_what_loads(standin)
    app = build(standin)
    if options.quick_test_for_ci:
        return 0
    # The signal dispositions stay as Python found them: SIGTERM and SIGHUP kill outright, SIGINT raises
    # KeyboardInterrupt unless the parent left it ignored. ComfyUI is the same in all three.
    try:
        loop.run_until_complete(_serve(standin, app))
    except KeyboardInterrupt:
        logging.info("\nStopped server")
        time.sleep(options.stop_delay)
    places.remove_temp()
    return 0


def _say_what_loads(standin: Standin) -> None:
    device = standin.device.values
    logging.info("Total VRAM %d MB, total RAM %d MB", device["vram_total"] >> 20, standin.device.ram_total >> 20)
    logging.info("Device: %s", device["name"])
    logging.info("Python version: %s", sys.version)
    logging.info("ComfyUI version: %s", __version__)
    logging.info("ComfyUI frontend version: %s", standin.frontend_version)
    # Blocking on purpose: while ComfyUI loads, it handles no event and its port is closed.
    time.sleep(standin.options.start_delay)


async def _serve(standin: Standin, app: web.Application) -> None:
    """Opens the port as the last thing, then hands out messages for ever."""
    options = standin.options
    standin.worker.start()
    standin.runner = web.AppRunner(app, access_log=None)
    await standin.runner.setup()
    tls = None
    if options.tls_keyfile and options.tls_certfile:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(options.tls_certfile, options.tls_keyfile)
    scheme = "https" if tls else "http"
    say = not options.dont_print_server
    if say:
        logging.info("Starting server\n")
    for address in options.listen.split(","):
        await web.TCPSite(standin.runner, address, options.port, ssl_context=tls).start()
        shown = f"[{address}]" if ":" in address else address
        if say:
            logging.info("To see the GUI go to: %s://%s:%d", scheme, shown, options.port)
    await standin.sockets.publish()

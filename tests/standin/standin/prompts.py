"""Work in, work seen, work stopped: /prompt, /queue, /history, /interrupt, /free."""

import json
import logging
import time
import uuid

from aiohttp import web

from .validation import validate

NO_PROMPT = {"type": "no_prompt", "message": "No prompt provided", "details": "No prompt provided", "extra_info": {}}


def add_routes(routes: web.RouteTableDef, standin) -> None:
    _add_prompt(routes, standin)
    _add_queue(routes, standin.worker)
    _add_history(routes, standin.worker)
    _add_control(routes, standin.worker)


def _add_prompt(routes: web.RouteTableDef, standin) -> None:
    worker, counted = standin.worker, 0

    @routes.get("/prompt")
    async def info(request: web.Request) -> web.Response:
        return web.json_response(worker.queue_info())

    @routes.post("/prompt")
    async def submit(request: web.Request) -> web.Response:
        nonlocal counted
        logging.info("got prompt")
        asked = await request.json()
        if "number" in asked:
            number = float(asked["number"])
        else:
            number = -counted if asked.get("front") else counted
            counted += 1
        if "prompt" not in asked:
            return web.json_response({"error": NO_PROMPT, "node_errors": {}}, status=400)
        prompt, prompt_id = asked["prompt"], str(asked.get("prompt_id", uuid.uuid4()))
        error, outputs, node_errors = validate(prompt, asked.get("partial_execution_targets"))
        if error:
            logging.warning("invalid prompt: %s", error)
            return web.json_response({"error": error, "node_errors": node_errors}, status=400)
        extra = dict(asked.get("extra_data", {}))
        if "client_id" in asked:
            extra["client_id"] = asked["client_id"]
        if standin.options.list_jobs:
            extra["create_time"] = int(time.time() * 1000)
        worker.put((number, prompt_id, prompt, extra, outputs))
        return web.json_response({"prompt_id": prompt_id, "number": number, "node_errors": node_errors})


def _add_queue(routes: web.RouteTableDef, worker) -> None:
    @routes.get("/queue")
    async def show(request: web.Request) -> web.Response:
        running, pending = worker.snapshot()
        return web.json_response({"queue_running": running, "queue_pending": pending})

    @routes.post("/queue")
    async def change(request: web.Request) -> web.Response:
        asked = await request.json()
        if asked.get("clear"):
            worker.clear()
        for prompt_id in asked.get("delete", []):
            worker.delete(prompt_id)
        return web.Response()


def _add_history(routes: web.RouteTableDef, worker) -> None:
    @routes.get("/history")
    async def show(request: web.Request) -> web.Response:
        entries = list(worker.history.items())
        limit = request.query.get("max_items")
        offset = int(request.query.get("offset", -1))
        if limit is not None:
            # Without an offset the limit means the newest ones.
            first = offset if offset >= 0 else max(len(entries) - int(limit), 0)
            entries = entries[first:first + int(limit)]
        elif offset > 0:
            entries = entries[offset:]
        return web.json_response(dict(entries))

    @routes.get("/history/{prompt_id}")
    async def show_one(request: web.Request) -> web.Response:
        prompt_id = request.match_info["prompt_id"]
        entry = worker.history.get(prompt_id)
        return web.json_response({prompt_id: entry} if entry else {})

    @routes.post("/history")
    async def change(request: web.Request) -> web.Response:
        asked = await request.json()
        if asked.get("clear"):
            worker.history = {}
        for prompt_id in asked.get("delete", []):
            worker.history.pop(prompt_id, None)
        return web.Response()


def _add_control(routes: web.RouteTableDef, worker) -> None:
    @routes.post("/interrupt")
    async def interrupt(request: web.Request) -> web.Response:
        try:
            prompt_id = (await request.json()).get("prompt_id")
        except json.JSONDecodeError:
            prompt_id = None
        running, _ = worker.snapshot()
        # Without an id it stops whatever runs, whoever's it is.
        if not prompt_id or any(item[1] == prompt_id for item in running):
            logging.info("Interrupting %s", prompt_id or "whatever runs")
            worker.interrupted.set()
        return web.Response()

    @routes.post("/free")
    async def free(request: web.Request) -> web.Response:
        asked = await request.json()
        if asked.get("free_memory"):
            worker.free()
        return web.Response()

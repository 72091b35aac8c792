"""`/api/jobs` of the versions after 0.3.64: what is queued, runs and has ended, each in a few words and without its workflow."""

from aiohttp import web

ENDED = ("completed", "failed", "cancelled")
STATUSES = ("pending", "in_progress", *ENDED)
ENDS = ("execution_success", "execution_error", "execution_interrupted")


def add_routes(app: web.Application, standin) -> None:
    app.router.add_get("/api/jobs", lambda request: _list(request, standin.worker))


async def _list(request: web.Request, worker) -> web.Response:
    asked = [word.strip().lower() for word in request.query.get("status", "").split(",") if word.strip()] or list(STATUSES)
    wrong = [word for word in asked if word not in STATUSES]
    if wrong:
        text = f"Invalid status value(s): {', '.join(wrong)}. Valid values: {', '.join(STATUSES)}"
        return web.json_response({"error": text}, status=400)
    try:
        limit = int(request.query["limit"]) if "limit" in request.query else None
    except ValueError:
        return web.json_response({"error": "limit must be an integer"}, status=400)
    if limit is not None and limit <= 0:
        return web.json_response({"error": "limit must be a positive integer"}, status=400)
    running, pending = worker.snapshot()
    jobs = [_queued(item, "in_progress") for item in running] + [_queued(item, "pending") for item in pending]
    jobs += [_ended(prompt_id, entry) for prompt_id, entry in worker.history.items()]
    jobs = [job for job in jobs if job["status"] in asked]
    # By the time of queueing, not of the end: the newest first.
    jobs.sort(key=lambda job: job.get("create_time", 0), reverse=True)
    total, jobs = len(jobs), jobs[:limit]
    return web.json_response({"jobs": jobs, "pagination": {"offset": 0, "limit": limit, "total": total, "has_more": len(jobs) < total}})


def _queued(item: tuple, status: str) -> dict:
    return _known(id=item[1], status=status, priority=item[0], create_time=item[3].get("create_time"), outputs_count=0)


def _ended(prompt_id: str, entry: dict) -> dict:
    messages = dict(entry["status"]["messages"])
    error, last = messages.get("execution_error"), next((messages[kind] for kind in ENDS if kind in messages), {})
    status = "completed" if entry["status"]["status_str"] == "success" else "cancelled" if "execution_interrupted" in messages else "failed"
    outputs = [image for shown in entry["outputs"].values() for image in shown.get("images", [])]
    return _known(
        id=prompt_id, status=status, priority=entry["prompt"][0], create_time=entry["prompt"][3].get("create_time"),
        execution_start_time=messages.get("execution_start", {}).get("timestamp"), execution_end_time=last.get("timestamp"),
        execution_error=error, outputs_count=len(outputs), preview_output=outputs[0] if outputs else None,
    )


def _known(**fields) -> dict:
    return {name: value for name, value in fields.items() if value is not None}

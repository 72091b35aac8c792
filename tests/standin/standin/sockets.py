"""The WebSocket /ws: who listens under which id, and the one task that hands every message out."""

import asyncio
import json
import logging
import struct
import uuid

import aiohttp
from aiohttp import web

PREVIEW = 1
PREVIEW_WITH_METADATA = 4
JPEG = 1


class Sockets:
    """One entry per client id. Messages come from the worker's thread and leave in their order."""

    def __init__(self, loop: asyncio.AbstractEventLoop, worker, max_upload: int) -> None:
        self.by_id: dict[str, web.WebSocketResponse] = {}
        self.flags: dict[str, dict] = {}
        self.log_listeners: set[str] = set()
        self.features = {"supports_preview_metadata": True, "max_upload_size": max_upload}
        self._loop = loop
        self._worker = worker
        self._waiting: asyncio.Queue = asyncio.Queue()
        worker.tell = self.tell
        worker.tell_preview = self.tell_preview

    def tell(self, kind: str, data: dict, client: str | None = None) -> None:
        """From any thread; without `client` to everybody."""
        self._post((json.dumps({"type": kind, "data": data}), client))

    def tell_preview(self, jpeg: bytes, metadata: dict, client: str) -> None:
        """The form follows what that client said it understands in its first message."""
        if self.flags.get(client, {}).get("supports_preview_metadata"):
            text = json.dumps({**metadata, "image_type": "image/jpeg"}).encode()
            frame = struct.pack(">II", PREVIEW_WITH_METADATA, len(text)) + text + jpeg
        else:
            frame = struct.pack(">II", PREVIEW, JPEG) + jpeg
        self._post((frame, client))

    def tell_log_line(self, line: dict) -> None:
        self.log_listeners &= self.by_id.keys()
        for client in tuple(self.log_listeners):
            self.tell("logs", {"entries": [line], "size": None}, client)

    def _post(self, message: tuple) -> None:
        self._loop.call_soon_threadsafe(self._waiting.put_nowait, message)

    async def publish(self) -> None:
        while True:
            payload, client = await self._waiting.get()
            targets = list(self.by_id.values()) if client is None else [self.by_id.get(client)]
            for socket in filter(None, targets):
                await _send(socket, payload)

    def add_routes(self, routes: web.RouteTableDef, standin) -> None:
        standin.log.on_line = self.tell_log_line
        routes.get("/ws")(self._serve)

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        # aiohttp's defaults are ComfyUI's: 4 MiB a message from the client, deflate if offered, no ping of its own.
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        client = request.query.get("clientId") or uuid.uuid4().hex
        self.by_id[client] = socket
        self.flags[client] = {}
        try:
            status = {"status": self._worker.queue_info(), "sid": client}
            await _send(socket, json.dumps({"type": "status", "data": status}))
            if self._worker.client == client and self._worker.node is not None:
                await _send(socket, json.dumps({"type": "executing", "data": {"node": self._worker.node}}))
            await self._listen(socket, client)
        finally:
            # The end of a replaced socket removes its successor's entry as well: ComfyUI's behaviour.
            self.by_id.pop(client, None)
            self.flags.pop(client, None)
        return socket

    async def _listen(self, socket: web.WebSocketResponse, client: str) -> None:
        """Only the first message counts, and only if it is `feature_flags`."""
        first = True
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            try:
                said = json.loads(message.data)
            except json.JSONDecodeError:
                logging.warning("Invalid JSON from client %s", client)
                continue
            if first and isinstance(said, dict) and said.get("type") == "feature_flags":
                self.flags[client] = said.get("data", {})
                await _send(socket, json.dumps({"type": "feature_flags", "data": self.features}))
            first = False


async def _send(socket: web.WebSocketResponse, payload: str | bytes) -> None:
    try:
        await (socket.send_str(payload) if isinstance(payload, str) else socket.send_bytes(payload))
    except (aiohttp.ClientError, ConnectionError) as error:
        logging.warning("send error: %s", error)

"""WebSockets to the guard: `open_async` for asyncio, `open_` with blocking calls for everyone else.

The blocking one runs the asyncio client in a thread of its own. The `websockets` package's own blocking client reads and
writes one TLS object from two threads, which Python before 3.13 does not guard: one connection in a few hundred stands still.
"""

import asyncio
import threading
from functools import cache

from websockets.asyncio.client import ClientConnection, connect


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return loop


def _run(waited, timeout: float | None):
    async def bounded():
        return await asyncio.wait_for(waited, timeout)

    return asyncio.run_coroutine_threadsafe(bounded(), _loop()).result()


def open_async(guard, target: str, *, headers=None, compression=None, key=False, timeout: float = 10.0, **more) -> connect:
    """For `async with`. `key`: with the right Bearer key. No limit on a message; no ping by itself."""
    sent = {**(headers or {}), **(guard.bearer if key else {})}
    return connect(f"wss://{guard.host}:{guard.port}{target}", ssl=guard.tls(), additional_headers=sent, compression=compression,
                   max_size=None, ping_interval=None, open_timeout=timeout, close_timeout=timeout, proxy=None, **more)


class Socket:
    """An open WebSocket with blocking calls; for `with`."""

    def __init__(self, connection: ClientConnection):
        self.connection = connection

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __getattr__(self, name: str):
        """response, subprotocol, close_code, close_reason, protocol: as the connection has them."""
        return getattr(self.connection, name)

    def send(self, message: str | bytes) -> None:
        _run(self.connection.send(message), 60)

    def recv(self, timeout: float) -> str | bytes:
        return _run(self.connection.recv(), timeout)

    def ping(self, data: bytes, timeout: float = 5.0) -> None:
        """Sends a ping and waits for its pong."""
        async def there_and_back():
            await (await self.connection.ping(data))

        _run(there_and_back(), timeout)

    def close(self, code: int = 1000, reason: str = "") -> None:
        _run(self.connection.close(code, reason), 20)


def open_(guard, target: str, **more) -> Socket:
    async def opened() -> ClientConnection:
        return await open_async(guard, target, **more)

    return Socket(_run(opened(), 90))

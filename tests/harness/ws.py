"""WebSockets to the guard, by the `websockets` package: blocking, or with asyncio where both directions run at once."""

from websockets.asyncio.client import connect as connect_async
from websockets.sync.client import ClientConnection, connect


def open_(guard, target: str, *, headers=None, compression=None, key=False, timeout: float = 10.0, **more) -> ClientConnection:
    """`key`: with the right Bearer key. No limit on a message; no ping by itself."""
    sent = {**(headers or {}), **(guard.bearer if key else {})}
    return connect(f"wss://{guard.host}:{guard.port}{target}", ssl=guard.tls(), additional_headers=sent, compression=compression,
                   max_size=None, ping_interval=None, open_timeout=timeout, close_timeout=timeout, proxy=None, **more)


def open_async(guard, target: str, *, key=False, timeout: float = 10.0) -> connect_async:
    """The same for `async with`."""
    return connect_async(f"wss://{guard.host}:{guard.port}{target}", ssl=guard.tls(), additional_headers=guard.bearer if key else {}, compression=None,
                         max_size=None, ping_interval=None, open_timeout=timeout, proxy=None)

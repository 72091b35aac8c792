"""WebSockets to the guard, by the `websockets` package's blocking client."""

from websockets.sync.client import ClientConnection, connect


def open_(guard, target: str, *, headers=None, compression=None, key=False, timeout: float = 10.0, **more) -> ClientConnection:
    """`key`: with the right Bearer key. No limit on a message; no ping by itself."""
    sent = {**(headers or {}), **(guard.bearer if key else {})}
    return connect(f"wss://{guard.host}:{guard.port}{target}", ssl=guard.tls(), additional_headers=sent, compression=compression,
                   max_size=None, ping_interval=None, open_timeout=timeout, close_timeout=timeout, proxy=None, **more)

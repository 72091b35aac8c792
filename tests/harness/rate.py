"""So many requests a second over a few connections that stay open, and how long each answer took.

Each connection has its own timetable, and a late answer is not made up for in a burst: `rate` of the result says what was reached.
"""

import asyncio
import gc
import time
from dataclasses import dataclass, field


@dataclass
class Figures:
    """`took`: seconds of each answer; `codes`: what they were; `rate`: answers a second."""

    took: list[float] = field(default_factory=list)
    codes: dict[int, int] = field(default_factory=dict)
    rate: float = 0.0

    def percentile(self, share: float) -> float:
        return sorted(self.took)[min(len(self.took) - 1, int(len(self.took) * share))]

    def __str__(self) -> str:
        median, high, most = (f"{1000 * self.percentile(share):.1f}" for share in (0.5, 0.99, 1.0))
        return f"{len(self.took)} answers, {self.rate:.0f} a second, ms: median {median}, 99 % {high}, longest {most}, codes {self.codes}"


def ask(guard, target: str, *, a_second: int = 1000, seconds: float = 2.0, connections: int = 8, with_key: bool = True) -> Figures:
    """GETs of `target` over HTTP/1.1, from every other connection with the key (or from none)."""
    gc.collect()
    return asyncio.run(_ask(guard, target, a_second, seconds, connections, with_key))


async def _ask(guard, target, a_second, seconds, connections, with_key) -> Figures:
    figures, context = Figures(), guard.tls()
    opened = [await asyncio.open_connection(guard.host, guard.port, ssl=context, server_hostname=guard.host) for _ in range(connections)]
    began = time.monotonic()
    try:
        await asyncio.gather(*(
            _ask_on(reader, writer, _head(guard, target, with_key and number % 2 == 0), figures, began + number / a_second, connections / a_second, began + seconds)
            for number, (reader, writer) in enumerate(opened)
        ))
    finally:
        for _, writer in opened:
            writer.close()
    figures.rate = len(figures.took) / (time.monotonic() - began)
    return figures


def _head(guard, target: str, with_key: bool) -> bytes:
    key = f"Authorization: Bearer {guard.key}\r\n" if with_key else ""
    return f"GET {target} HTTP/1.1\r\nHost: {guard.host}:{guard.port}\r\n{key}\r\n".encode()


async def _ask_on(reader, writer, head: bytes, figures: Figures, due: float, pace: float, end: float) -> None:
    while (now := time.monotonic()) < end:
        if now < due:
            await asyncio.sleep(due - now)
        due = max(due + pace, time.monotonic() - pace)
        sent = time.monotonic()
        writer.write(head)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.partition(b":")[2]) for line in answer.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        await reader.readexactly(length)
        figures.took.append(time.monotonic() - sent)
        code = int(answer[9:12])
        figures.codes[code] = figures.codes.get(code, 0) + 1

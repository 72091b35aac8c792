"""Many guests at once, of every kind: each gets its own answer, whole, and nothing of another's.

The proof that pooled connections, streams and sockets are not mixed up under load.
"""

import asyncio
import hashlib
import json
import os
import ssl

import httpx
import pytest
from websockets.asyncio.client import connect

from harness import places, procs
from harness.stream import pattern
from harness.wait import until

ROUNDS = 30


async def bodies(guard, h2: bool, name: int, wrong: list):
    """Asks for bodies of its own lengths and sends its own bytes."""
    context = guard.tls(("h2",) if h2 else ("http/1.1",))
    async with httpx.AsyncClient(base_url=guard.url, verify=context, http1=not h2, http2=h2, headers=guard.bearer, timeout=60, trust_env=False) as client:
        for turn in range(ROUNDS):
            length = 1 + (name * 7919 + turn * 104729) % 300_000
            got = await client.get(f"/_standin/bytes/{length}")
            if got.status_code != 200 or hashlib.sha256(got.content).hexdigest() != pattern.digest(length):
                wrong.append(("down", name, turn, got.status_code))
            sent = os.urandom(length % 50_000)
            told = await client.post("/_standin/sink", content=sent)
            if told.status_code != 200 or told.json()["sha256"] != hashlib.sha256(sent).hexdigest():
                wrong.append(("up", name, turn, told.status_code))


async def strangers(guard, name: int, wrong: list):
    """Guests without a key, in between, over connections like the others'."""
    async with httpx.AsyncClient(base_url=guard.url, verify=guard.tls(), timeout=60, trust_env=False) as client:
        for turn in range(ROUNDS * 2):
            got = await client.get("/queue", headers={"X-API-Key": ""} if turn % 2 else {})
            if got.status_code != 401:
                wrong.append(("stranger", name, turn, got.status_code))


async def sockets(guard, name: int, wrong: list):
    context: ssl.SSLContext = guard.tls()
    async with connect(f"wss://{guard.host}:{guard.port}/_standin/echo", ssl=context, additional_headers=guard.bearer, max_size=None, proxy=None) as socket:
        for turn in range(ROUNDS):
            text = json.dumps([name, turn, "x" * (turn * 997)])
            await socket.send(text)
            if await socket.recv() != text:
                wrong.append(("socket", name, turn))


def test_everybody_gets_their_own(guard):
    wrong: list = []

    async def all_at_once():
        await asyncio.gather(*(bodies(guard, name % 2 == 1, name, wrong) for name in range(16)), *(strangers(guard, name, wrong) for name in range(8)),
                             *(sockets(guard, name, wrong) for name in range(16)))

    asyncio.run(all_at_once())
    assert wrong == []


@pytest.mark.skipif(not places.AS_ROOT, reason=places.ROOT_SEES)
def test_nothing_stays_open_afterwards(guard):
    """Descriptors of the gateway go back to where they were."""
    pid = guard.pids()["gateway"]
    guard.get("/queue", key=True)
    before = len(procs.descriptors(pid))
    for h2 in (False, True):
        for _ in range(50):
            guard.get("/queue", key=True, h2=h2)
    until(lambda: len(procs.descriptors(pid)) <= before + 10, 15, "connections are closed")

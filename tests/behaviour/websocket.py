"""WebSockets pass as bytes: large, many, compressed, silent; the anonymous one hears the queue's status and nothing else.

Pitfalls P24 (timeouts) and P9/P17 as far as they need no cookie. COMFYUI.md: no ping from ComfyUI, so silence is normal.
"""

import asyncio
import json
import os
import random
import struct
from socket import SO_LINGER, SOL_SOCKET

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from harness import ws
from harness.guard import Guard
from harness.wait import Stopwatch, until

KIB, MIB = 1 << 10, 1 << 20


def test_thousand_messages_of_256_kib_each_way(guard):
    """Both directions at once: a proxy that serves only one at a time stands still when both buffers are full."""
    messages = [os.urandom(256 * KIB) for _ in range(8)]

    async def both():
        async with ws.open_async(guard, "/_standin/echo", key=True) as socket:
            async def send():
                for number in range(1000):
                    await socket.send(messages[number % 8])

            sender = asyncio.create_task(send())
            wrong = [number for number in range(1000) if await asyncio.wait_for(socket.recv(), 30) != messages[number % 8]]
            await sender
            return wrong

    assert asyncio.run(both()) == []


def test_one_message_of_20_mib(guard):
    message = os.urandom(20 * MIB)
    with ws.open_(guard, "/_standin/echo", key=True) as socket:
        socket.send(message)
        assert socket.recv(timeout=60) == message


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_text_and_binary_and_compression_pass(guard, compression):
    with ws.open_(guard, "/_standin/echo", key=True, compression=compression) as socket:
        agreed = socket.response.headers.get("Sec-WebSocket-Extensions", "")
        assert ("permessage-deflate" in agreed) is (compression is not None)
        for message in ("text ✓", "", b"", b"\x00\xff", "a" * 100_000, "ä" * 1000):
            socket.send(message)
            assert socket.recv(timeout=10) == message


def test_subprotocol_is_agreed_end_to_end(guard):
    with ws.open_(guard, "/_standin/echo", key=True, subprotocols=["one", "two"]) as socket:
        assert socket.subprotocol == "one"


def test_ping_and_pong_pass(guard):
    with ws.open_(guard, "/_standin/echo", key=True) as socket:
        socket.ping(b"are you there")
    with ws.open_(guard, "/_standin/push?count=3&ping=1", key=True) as socket:
        assert [len(socket.recv(timeout=5)) for _ in range(3)] == [1024] * 3
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=5)
        assert socket.close_code == 1000 and socket.close_reason == "all sent"


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1008, 1011, 3000, 4999])
def test_close_codes_pass_both_ways(guard, code):
    with ws.open_(guard, f"/_standin/echo?close={code}&reason=why&after=0", key=True) as socket:
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=5)
        assert (socket.close_code, socket.close_reason) == (code, "why")
    with ws.open_(guard, "/_standin/echo", key=True) as socket:
        socket.close(code, "bye")
    assert (socket.protocol.close_rcvd.code, socket.protocol.close_rcvd.reason) == (code, "bye")


UPGRADES = {
    "bearer": lambda key: ({"Authorization": f"Bearer {key}"}, ""),
    "x-api-key": lambda key: ({"X-API-Key": key}, ""),
    "api_key": lambda key: ({}, f"?api_key={key}"),
    "token": lambda key: ({}, f"?token={key}"),
    "token among others": lambda key: ({}, f"?clientId=me&token={key}"),
}


@pytest.mark.parametrize("form", UPGRADES)
@pytest.mark.parametrize("place", ["/ws", "/api/ws"])
def test_credential_on_the_upgrade_opens_comfyuis_own_socket(guard, form, place):
    headers, query = UPGRADES[form](guard.key)
    mark = guard.upstream.mark()
    with ws.open_(guard, place + query, headers=headers) as socket:
        told = json.loads(socket.recv(timeout=5))
        assert told["type"] == "status" and "sid" in told["data"]
        socket.send(json.dumps({"type": "feature_flags", "data": {}}))
        assert json.loads(socket.recv(timeout=5))["type"] == "feature_flags"
    (seen,) = guard.upstream.since(mark)
    assert seen.handler == f"GET {place}" and guard.key not in str(seen)


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
def test_header_or_query_key_needs_no_origin(guard, origin):
    """P9: a foreign page cannot send these; ComfyUI's own guard must not answer 403 either (P23)."""
    with ws.open_(guard, f"/ws?api_key={guard.key}", headers={"Origin": origin}) as socket:
        assert "sid" in json.loads(socket.recv(timeout=5))["data"]


@pytest.mark.parametrize("place", ["/ws", "/api/ws"])
@pytest.mark.parametrize("form", ["nothing", "a client id", "an origin"])
def test_anonymous_socket_hears_status_only_and_never_reaches_comfyui(fresh_once, place, form):
    headers, query = {"nothing": ({}, ""), "a client id": ({}, "?clientId=victim"), "an origin": ({"Origin": "https://x.example"}, "")}[form]
    running, mark = fresh_once, fresh_once.upstream.mark()
    with ws.open_(running, place + query, headers=headers) as socket, ws.open_(running, "/ws?clientId=victim", key=True) as victim:
        told = json.loads(socket.recv(timeout=5))
        assert told["type"] == "status" and told["data"]["status"]["exec_info"] == {"queue_remaining": 0}
        victim.recv(timeout=5)
        socket.send(json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}}))
        socket.send(b"\x00" * 100)
        # No two jobs alike, or ComfyUI would answer from its cache.
        job = {"1": {"class_type": "Sleep", "inputs": {"seconds": 2 + random.random(), "steps": 5, "preview": True}}}
        body = json.dumps({"prompt": job, "client_id": "victim", "extra_data": {"api_key_comfy_org": "private"}}).encode()
        assert running.request("POST", "/prompt", content=body, headers={"Content-Type": "application/json"}, key=True).status == 200
        owners = set()
        while "done" not in owners:
            message = victim.recv(timeout=10)
            told = {"type": "binary"} if isinstance(message, bytes) else json.loads(message)
            owners.add("done" if told["type"] == "executing" and told["data"]["node"] is None else told["type"])
        assert {"progress", "binary"} <= owners, "the measure itself: the owner hears progress and previews"
        heard, lengths = [], []
        while 1 not in lengths or lengths[-1] != 0:
            heard.append(socket.recv(timeout=10))
            lengths.append(json.loads(heard[-1])["data"]["status"]["exec_info"]["queue_remaining"])
    assert all(isinstance(one, str) for one in heard)
    assert {json.loads(one)["type"] for one in heard} == {"status"}
    assert "private" not in "".join(heard) and "prompt" not in "".join(heard)
    assert [seen.handler for seen in running.upstream.since(mark) if seen.target.startswith(place) and "victim" not in seen.target] == []


@pytest.fixture(scope="module")
def fresh_once():
    with Guard() as running:
        yield running


@pytest.mark.parametrize("query", ["?api_key=wrong", "?token=wrong", "?api_key=", "?token="])
def test_wrong_credential_is_401_not_an_anonymous_socket(guard, query):
    with pytest.raises(InvalidStatus) as refused:
        ws.open_(guard, "/ws" + query)
    assert refused.value.response.status_code == 401


@pytest.mark.parametrize("place", ["/_standin/echo", "/wsx", "/ws/", "/api/ws/x", "/internal/logs", "/%77s%2F"])
def test_no_other_place_takes_an_anonymous_upgrade(guard, place):
    mark = guard.upstream.mark()
    with pytest.raises(InvalidStatus) as refused:
        ws.open_(guard, place)
    assert refused.value.response.status_code == 401
    assert guard.upstream.since(mark) == []


def test_deny_mode(fresh):
    running = fresh(config={"auth": {"anonymous_websocket": "deny"}})
    with pytest.raises(InvalidStatus) as refused:
        ws.open_(running, "/ws")
    assert refused.value.response.status_code == 401
    with ws.open_(running, "/ws", key=True) as socket:
        assert "sid" in json.loads(socket.recv(timeout=5))["data"]


def test_passthrough_mode(fresh):
    running = fresh(config={"auth": {"anonymous_websocket": "passthrough"}})
    with ws.open_(running, "/ws?clientId=me") as socket:
        assert json.loads(socket.recv(timeout=5))["data"]["sid"] == "me"
    assert running.get("/queue").status == 401


def open_in_comfyui(guard) -> int:
    return guard.upstream.ask("/_standin/connections")["websockets"]


@pytest.mark.slow
def test_five_hundred_silent_sockets_stay_up_for_two_minutes(fresh):
    """Half of them ComfyUI's own, half of them anonymous."""
    running = fresh()

    async def open_all():
        opened = [ws.open_async(running, f"/ws?clientId=silent-{number}" if number % 2 else "/ws", key=bool(number % 2), timeout=60) for number in range(500)]
        sockets = await asyncio.gather(*opened)
        await asyncio.gather(*(asyncio.wait_for(one.recv(), 20) for one in sockets))
        await asyncio.sleep(120)
        assert open_in_comfyui(running) == 250
        pongs = [await one.ping() for one in sockets]
        await asyncio.wait_for(asyncio.gather(*pongs), 20)
        await asyncio.gather(*(one.close() for one in sockets))

    asyncio.run(open_all())
    until(lambda: open_in_comfyui(running) == 0, 15, "ComfyUI's sockets are gone too")


@pytest.mark.parametrize("end", ["FIN", "RST"])
def test_guest_that_vanishes_is_gone_for_comfyui_too(guard, end):
    """No close frame: a laptop lid, a killed browser."""
    before = open_in_comfyui(guard)
    wire = guard.raw()
    wire.send(f"GET /ws?clientId=vanishing-{end} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {guard.key}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
              "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    assert wire.socket.recv(4096).startswith(b"HTTP/1.1 101 ")
    until(lambda: open_in_comfyui(guard) == before + 1, 5, "it is open")
    if end == "RST":
        wire.socket.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    wire.socket.close()
    until(lambda: open_in_comfyui(guard) == before, 10, "it is closed in ComfyUI")


def test_idle_limit_ends_a_silent_socket_when_configured(fresh):
    running = fresh(config={"proxy": {"websocket_idle": "1s"}})
    with ws.open_(running, "/_standin/echo", key=True) as socket:
        for _ in range(4):
            socket.send("alive")
            assert socket.recv(timeout=5) == "alive"
        clock = Stopwatch()
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=10)
        assert 0.5 < clock() < 5


def test_end_of_comfyui_is_the_end_of_its_sockets(fresh):
    running = fresh()
    with ws.open_(running, "/ws", key=True) as socket:
        socket.recv(timeout=5)
        os.kill(running.pids()["comfyui"], 9)
        with pytest.raises(ConnectionClosed):
            while True:
                socket.recv(timeout=5)
    until(running.healthy, 20, "ComfyUI is back")

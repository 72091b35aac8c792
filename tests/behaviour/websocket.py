"""WebSockets pass as bytes: large, many, compressed, silent; the anonymous one hears the queue's status and nothing else.

Pitfalls P24 (timeouts) and P9/P17 as far as they need no cookie. COMFYUI.md: no ping from ComfyUI, so silence is normal.
"""

import json
import os
import threading

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from harness import ws
from harness.guard import Guard
from harness.wait import Stopwatch, until

KIB, MIB = 1 << 10, 1 << 20


def test_thousand_messages_of_256_kib_each_way(guard):
    messages = [os.urandom(256 * KIB) for _ in range(8)]
    with ws.open_(guard, "/_standin/echo", key=True) as socket:
        def send():
            for number in range(1000):
                socket.send(messages[number % 8])

        sender = threading.Thread(target=send)
        sender.start()
        for number in range(1000):
            assert socket.recv(timeout=30) == messages[number % 8]
        sender.join()


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
        assert socket.ping(b"are you there").wait(5)
    with ws.open_(guard, "/_standin/push?count=3&ping=1", key=True) as socket:
        assert len([message for message in socket]) == 3
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
        sleep = {"1": {"class_type": "Sleep", "inputs": {"seconds": 0.5, "steps": 5, "preview": True}}}
        body = json.dumps({"prompt": sleep, "client_id": "victim", "extra_data": {"api_key_comfy_org": "private"}}).encode()
        assert running.request("POST", "/prompt", content=body, headers={"Content-Type": "application/json"}, key=True).status == 200
        kinds = set()
        while "executing-end" not in kinds:
            heard = victim.recv(timeout=10)
            kinds.add("binary" if isinstance(heard, bytes) else json.loads(heard)["type"])
            if isinstance(heard, str) and json.loads(heard) ["type"] == "executing" and json.loads(heard)["data"]["node"] is None:
                kinds.add("executing-end")
        assert {"progress", "binary"} <= kinds, "the measure itself: the owner hears progress and previews"
        heard = []
        try:
            while True:
                heard.append(socket.recv(timeout=2))
        except TimeoutError:
            pass
    assert heard and all(isinstance(one, str) for one in heard)
    assert {json.loads(one)["type"] for one in heard} == {"status"}
    assert {json.loads(one)["data"]["status"]["exec_info"]["queue_remaining"] for one in heard} <= {0, 1}
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


@pytest.mark.slow
def test_five_hundred_silent_sockets_stay_up_for_two_minutes(guard):
    sockets = [ws.open_(guard, f"/ws?clientId=silent-{number}" if number % 2 else "/ws", key=bool(number % 2), timeout=30) for number in range(500)]
    try:
        clock = Stopwatch()
        for one in sockets:
            one.recv(timeout=10)
        until(lambda: clock() > 120, 130, "two minutes", every=1)
        for one in sockets:
            assert one.ping().wait(10)
    finally:
        for one in sockets:
            one.close_socket() if hasattr(one, "close_socket") else one.close()
    until(lambda: guard.upstream.ask("/_standin/connections")["websockets"] == 0, 15, "ComfyUI's sockets are gone too")


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

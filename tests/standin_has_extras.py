"""The stand-in's own tools below /_standin do what they say; only the stand-in has them."""

import asyncio
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from http.client import HTTPException
from pathlib import Path

import aiohttp
import pytest
from comfyui_process import IS_STANDIN, STANDIN, Comfy

sys.path.insert(0, str(STANDIN))
from standin.extras import pattern  # noqa: E402

pytestmark = pytest.mark.skipif(not IS_STANDIN, reason="a real ComfyUI has no extras")


@pytest.fixture
def comfy(tmp_path):
    with Comfy(tmp_path, "--test-extras", "--record", str(tmp_path / "record.jsonl")) as running:
        yield running


def test_the_extras_are_absent_without_their_flag(tmp_path):
    with Comfy(tmp_path) as plain:
        for target in ("/_standin/record", "/_standin/env", "/manager/reboot", "/example/run.js"):
            assert plain.ask("GET", target)[0] == 404


def test_the_record_tells_which_handler_ran(comfy):
    comfy.raw(b"GET /api/history/x%2Ejson?q=%7e HTTP/1.1\r\nhost: 127.0.0.1\r\nX-CASE: Kept\r\n"
              b"Connection: close\r\n\r\n")
    for method, target in (("HEAD", "/queue"), ("GET", "/none"), ("PUT", "/queue"), ("OPTIONS", "/queue"),
                           ("GET", "/extensions/example/private.json"), ("GET", "/extensions/example/example.js"),
                           ("GET", "/internal/logs/raw"), ("POST", "/prompt"), ("GET", "/ws")):
        comfy.ask(method, target)
    comfy.ask("GET", "/queue", Host="127.0.0.1", Origin="https://guest.example")
    record = comfy.json("GET", "/_standin/record")
    assert [(entry["handler"], entry["status"]) for entry in record] == [
        ("GET /api/history/{prompt_id}", 200), ("HEAD /queue", 200), ("GET static /", 404), (None, 405), (None, 200),
        ("GET /extensions/example/private.json", 200), ("GET static /extensions/example", 200),
        ("GET /internal/logs/raw", 200), ("POST /prompt", 500), ("GET /ws", 400), (None, 403)]
    assert record[0]["line"] == "GET /api/history/x%2Ejson?q=%7e HTTP/1.1"
    assert ["X-CASE", "Kept"] in record[0]["headers"]
    lines = [json.loads(line) for line in (comfy.base / "record.jsonl").read_text().splitlines()]
    assert [line["handler"] for line in lines] == [entry["handler"] for entry in record]
    assert comfy.ask("DELETE", "/_standin/record")[0] == 204
    assert comfy.json("GET", "/_standin/record") == []


def test_bytes_come_as_the_pattern_says(comfy):
    length = 300_001
    status, headers, body = comfy.ask("GET", f"/_standin/bytes/{length}")
    assert (status, hashlib.sha256(body).hexdigest()) == (200, pattern.digest(length))
    assert comfy.ask("GET", f"/_standin/bytes/{length}?chunked=1")[2] == body
    status, partial, piece = comfy.ask("GET", f"/_standin/bytes/{length}", Range="bytes=65530-131080")
    assert (status, piece, partial["Content-Range"]) == (206, body[65530:131081], f"bytes 65530-131080/{length}")
    assert comfy.ask("GET", f"/_standin/bytes/{length}", Range="bytes=-7")[2] == body[-7:]
    assert comfy.ask("GET", f"/_standin/bytes/{length}", Range=f"bytes={length}-")[0] == 416
    assert comfy.ask("GET", f"/_standin/bytes/{length}", If_None_Match=headers["ETag"])[0] == 304
    status, head, body = comfy.ask("HEAD", f"/_standin/bytes/{length}")
    assert (status, head["Content-Length"], body) == (200, str(length), b"")


def peak_kib(comfy) -> int:
    text = Path(f"/proc/{comfy.process.pid}/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0])


def test_a_quarter_gibibyte_goes_up_and_down_in_constant_memory(comfy):
    length, before = 1 << 28, peak_kib(comfy)
    with socket.create_connection(("127.0.0.1", comfy.port)) as wire:
        wire.sendall(f"POST /_standin/sink HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
        for piece in pattern.span(0, length):
            wire.sendall(piece)
        answer = json.loads(wire.recv(65536).partition(b"\r\n\r\n")[2])
    assert (answer["bytes"], answer["sha256"]) == (length, pattern.digest(length))
    with socket.create_connection(("127.0.0.1", comfy.port)) as wire:
        wire.sendall(f"GET /_standin/bytes/{length} HTTP/1.0\r\n\r\n".encode())
        received = 0
        while piece := wire.recv(1 << 20):
            received += len(piece)
    assert received > length
    assert peak_kib(comfy) - before < 16 << 10


def test_drops_come_as_they_fall_and_a_reader_who_leaves_is_noticed(comfy):
    with socket.create_connection(("127.0.0.1", comfy.port)) as wire:
        wire.sendall(b"GET /_standin/trickle?count=0&interval=0.1 HTTP/1.1\r\nHost: x\r\n\r\n")
        began, seen = time.monotonic(), b""
        while seen.count(b"\n") < 8:
            seen += wire.recv(4096)
        assert time.monotonic() - began < 1
        assert comfy.json("GET", "/_standin/streams") == {"open": 1, "finished": 0, "abandoned": 0}
    time.sleep(0.5)
    assert comfy.json("GET", "/_standin/streams") == {"open": 0, "finished": 0, "abandoned": 1}
    events = comfy.ask("GET", "/_standin/sse?count=3&interval=0")
    assert events[1]["Content-Type"] == "text/event-stream" and events[2].count(b"event: tick\n") == 3
    assert comfy.ask("GET", "/_standin/slow?seconds=0.2&status=201")[0] == 201


BROKEN = [("garbage", b"\x00\xff"), ("half-head", b"HTTP/1.1 200 OK\r\nContent-Type: text/pl"), ("nothing", b""),
          ("half-body", b"Content-Length: 2000"), ("two-lengths", b"Content-Length: 7"), ("bad-chunk", b"zz\r\n"),
          ("trailers", b"0\r\nX-Checksum: "), ("early-hints", b"HTTP/1.1 103 ")]


@pytest.mark.parametrize("kind,contained", BROKEN)
def test_broken_answers_reach_the_wire_and_nothing_follows(comfy, kind, contained):
    from standin.extras.broken import ANSWERS

    got = comfy.raw(f"GET /_standin/broken/{kind} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert got == ANSWERS[kind] and contained in got


def test_any_status_can_be_had(comfy):
    status, headers, body = comfy.ask("GET", "/_standin/status/418?X-Tea=green&body=short")
    assert (status, headers["X-Tea"], body) == (418, "green", b"short")
    assert comfy.ask("GET", "/_standin/status/304")[0] == 304


def test_sockets_echo_what_comes_push_what_is_asked_and_close_with_the_code(comfy):
    async def run() -> None:
        async with aiohttp.ClientSession() as session:
            base = f"http://127.0.0.1:{comfy.port}/_standin"
            echo = await session.ws_connect(f"{base}/echo", max_msg_size=0, compress=15, protocols=["one"])
            assert echo.protocol == "one" and echo.compress
            big = bytes(20 << 20)
            await echo.send_bytes(big)
            assert (await echo.receive(60)).data == big
            await echo.send_str("text")
            assert (await echo.receive(5)).data == "text"
            await echo.close(code=4001)
            assert echo.close_code == 4001
            shut = await session.ws_connect(f"{base}/echo?close=4002&reason=enough")
            told = await shut.receive(5)
            assert (told.data, told.extra) == (4002, "enough")
            push = await session.ws_connect(f"{base}/push?size=1000&count=3&ping=1")
            got = [(await push.receive(5)).data for _ in range(3)]
            assert b"".join(got) == b"".join(pattern.span(0, 3000))
            assert (await push.receive(5)).data == 1000

    asyncio.run(run())


def test_the_process_dies_stays_and_leaves_things_behind_on_demand(comfy):
    told = comfy.json("GET", "/_standin/env")
    assert (told["pid"], told["argv"][0], told["status"]["Name"]) == (comfy.process.pid, "main.py", "python")
    orphan = comfy.json("POST", "/_standin/orphan")["pid"]
    try:
        assert os.getsid(orphan) != os.getsid(comfy.process.pid) and os.getpgid(orphan) != os.getpgid(0)
        assert comfy.ask("POST", "/_standin/log?times=2", b"raw \xff line\n")[0] == 204
        assert comfy.log.read_bytes().count(b"raw \xff line\n") == 2
        assert comfy.json("PUT", "/_standin/device", {"name": "cuda:0 X", "vram_total": 7})["vram_total"] == 7
        assert comfy.json("GET", "/system_stats")["devices"][0]["name"] == "cuda:0 X"
        comfy.ask("POST", "/_standin/stubborn")
        comfy.process.send_signal(signal.SIGTERM)
        comfy.process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert comfy.ask("GET", "/prompt")[0] == 200
        with pytest.raises((ConnectionError, HTTPException)):
            comfy.ask("POST", "/_standin/crash?code=7")
        assert comfy.process.wait(5) == 7
        os.kill(orphan, 0)
    finally:
        os.kill(orphan, signal.SIGKILL)


def test_the_managers_reboot_keeps_the_process_or_leaves_its_mark(tmp_path, monkeypatch):
    with Comfy(tmp_path / "one", "--test-extras", "--start-delay", "0.5") as comfy:
        comfy.raw(b"GET /manager/reboot HTTP/1.1\r\nHost: x\r\n\r\n")
        # execve closes the connection and the listening socket in no given order.
        time.sleep(0.1)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", comfy.port))
        comfy.wait_open()
        assert comfy.process.poll() is None and comfy.said.count("To see the GUI") == 2
    monkeypatch.setenv("__COMFY_CLI_SESSION__", str(tmp_path / "session"))
    with Comfy(tmp_path / "two", "--test-extras") as comfy:
        comfy.raw(b"POST /v2/manager/reboot HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert comfy.process.wait(5) == 0
        assert (tmp_path / "session.reboot").exists()


def test_a_hung_loop_answers_nobody(comfy):
    with subprocess.Popen(["curl", "-s", "-X", "POST", f"http://127.0.0.1:{comfy.port}/_standin/hang?seconds=1"],
                          stdout=subprocess.DEVNULL):
        time.sleep(0.2)
        began = time.monotonic()
        comfy.ask("GET", "/prompt")
        assert 0.5 < time.monotonic() - began < 3

"""Answers arrive as they come, whatever their kind, and an end on one side is an end on the other.

Pitfall P24 (60 s read timeout, buffering) and the HTTP corners that proxies get wrong: Range, HEAD, 304, Expect, early 413.
"""

import json
import time

import httpx
import pytest

from harness.stream import pattern
from harness.wait import Stopwatch, until


def streams(guard) -> dict:
    return guard.upstream.ask("/_standin/streams")


@pytest.mark.slow
def test_answer_that_takes_ninety_seconds_arrives(guard):
    clock = Stopwatch()
    answer = guard.get("/_standin/slow?seconds=90", key=True, timeout=120)
    assert answer.status == 200 and answer.body == b"slow but sure\n" and clock() >= 90


@pytest.mark.parametrize("kind", ["trickle", "sse"])
def test_pieces_arrive_one_by_one(guard, h2, kind):
    """Each before the next one is made: nothing is gathered on the way."""
    with guard.client(h2) as client, client.stream("GET", f"/_standin/{kind}?count=8&interval=0.25", headers=guard.bearer) as stream:
        assert stream.status_code == 200
        late, text = [], ""
        for piece in stream.iter_text():
            text += piece
            for line in piece.splitlines():
                if kind == "sse" and line.startswith("data: "):
                    late.append(time.time() - json.loads(line[6:])["time"])
                elif kind == "trickle" and line:
                    late.append(time.time() - float(line.split()[1]))
    assert len(late) == 8 and max(late) < 0.2, late
    if kind == "sse":
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert text.count("\n\n") == 8


def test_head_carries_the_lengths_and_no_body(guard, h2):
    answer = guard.request("HEAD", "/_standin/bytes/1000000", key=True, h2=h2)
    assert answer.status == 200 and answer.headers["content-length"] == "1000000" and answer.body == b""
    with guard.client(h2) as client:  # and the connection is still good
        for _ in range(3):
            guard.request("HEAD", "/_standin/bytes/1000000", key=True, client=client)
            assert guard.get("/_standin/bytes/10", key=True, client=client).body == next(pattern.span(0, 10))


RANGES = {"bytes=0-9": (0, 10), "bytes=500-": (500, 70000), "bytes=-7": (69993, 70000), "bytes=65530-65540": (65530, 65541)}


@pytest.mark.parametrize("asked", RANGES)
def test_range(guard, h2, asked):
    start, end = RANGES[asked]
    answer = guard.get("/_standin/bytes/70000", headers={"Range": asked}, key=True, h2=h2)
    assert answer.status == 206 and answer.headers["content-range"] == f"bytes {start}-{end - 1}/70000"
    assert answer.body == b"".join(pattern.span(start, end))


def test_range_that_cannot_be_given_is_416(guard, h2):
    answer = guard.get("/_standin/bytes/10", headers={"Range": "bytes=20-30"}, key=True, h2=h2)
    assert answer.status == 416 and answer.headers["content-range"] == "bytes */10"


def test_not_modified_passes_without_a_body(guard, h2):
    tag = guard.get("/_standin/bytes/10", key=True, h2=h2).headers["etag"]
    answer = guard.get("/_standin/bytes/10", headers={"If-None-Match": tag}, key=True, h2=h2)
    assert answer.status == 304 and answer.body == b"" and answer.headers["etag"] == tag
    page = guard.get("/", key=True, h2=h2)
    if "etag" in page.headers and page.headers["etag"]:
        assert guard.get("/", headers={"If-None-Match": page.headers["etag"]}, key=True, h2=h2).status in (200, 304)


@pytest.mark.parametrize("code", [201, 202, 204, 206, 301, 302, 304, 307, 400, 403, 404, 409, 418, 429, 500, 501, 502, 503, 504, 599])
def test_status_of_comfyui_is_the_guests_status(guard, h2, code):
    """Its own errors are its own: they are not turned into ours."""
    answer = guard.get(f"/_standin/status/{code}?X-Own=yes", key=True, h2=h2)
    assert answer.status == code and answer.headers["x-own"] == "yes"


def test_several_fields_of_one_name_stay_several(guard, h2):
    answer = guard.get("/_standin/status/200?Set-Cookie=a%3D1&Set-Cookie=b%3D2", key=True, h2=h2)
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]


def test_expect_100_is_answered_before_the_body(guard):
    with guard.raw() as wire:
        wire.send(f"POST /_standin/sink HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {guard.key}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert wire.socket.recv(4096).startswith(b"HTTP/1.1 100 ")
        wire.send(b"hello")
        assert wire.answer("POST").json()["bytes"] == 5


def test_expect_100_without_a_key_gets_401_and_no_invitation(guard):
    """Nobody uploads a gigabyte to hear that the key was wrong."""
    with guard.raw() as wire:
        wire.send("POST /_standin/sink HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert wire.socket.recv(4096).startswith(b"HTTP/1.1 401 ")


def test_refusal_comes_while_the_body_is_still_coming(guard):
    """401 after a part of a large body: the guest hears it instead of a reset."""
    with guard.raw() as wire:
        wire.send("POST /_standin/sink HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n")
        wire.send(b"x" * 100_000)
        assert wire.answer("POST").status == 401


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_too_large_is_413_json_that_names_the_limit_while_the_body_still_comes(fresh, framing):
    running = fresh(config={"proxy": {"max_upload": "1MB"}})
    head = f"POST /userdata/big.json?overwrite=true HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {running.key}\r\n"
    with running.raw(timeout=20) as wire:
        if framing == "length":
            wire.send(head + "Content-Length: 50000000\r\n\r\n")
            wire.send(b"x" * 3_000_000)
        else:
            wire.send(head + "Transfer-Encoding: chunked\r\n\r\n")
            for _ in range(30):
                wire.send(b"186a0\r\n" + b"x" * 100_000 + b"\r\n")
        answer = wire.answer("POST")
    assert answer.status == 413 and answer.kind == "application/json", answer.body
    told = answer.json()
    assert {"error", "message"} <= set(told) and "1" in told["message"] and "max_upload" in json.dumps(told)
    by_curl = running.curl("-H", f"X-API-Key: {running.key}", "-T", "/dev/zero", "--max-time", "20", "-X", "POST", f"{running.url}/userdata/x.json") \
        if framing == "chunked" else running.request("POST", "/userdata/x.json", content=b"x" * 30_000_000, key=True, h2=True)
    assert by_curl.status == 413
    assert running.request("POST", "/userdata/small.json", content=b"x" * 900_000, key=True).status == 200


def test_guest_that_leaves_ends_comfyuis_work(guard, h2):
    """A closed tab must not keep a stream running in ComfyUI."""
    before = streams(guard)
    for target in ("/_standin/trickle?count=0&interval=0.05", "/_standin/sse?count=0&interval=0.05"):
        client = guard.client(h2)
        with client.stream("GET", target, headers=guard.bearer) as stream:
            next(stream.iter_raw())
        client.close()
    until(lambda: streams(guard)["abandoned"] >= before["abandoned"] + 2 and streams(guard)["open"] == before["open"], 5, "both are abandoned")


def test_guest_that_leaves_before_the_answer_ends_the_wait(guard, h2):
    before = streams(guard)
    with guard.client(h2, timeout=0.5) as client, pytest.raises(httpx.ReadTimeout):
        guard.get("/_standin/slow?seconds=60", key=True, client=client)
    until(lambda: streams(guard)["abandoned"] > before["abandoned"], 5, "the wait is abandoned")


@pytest.mark.parametrize("kind", ["half-body", "half-chunks", "bad-chunk"])
def test_answer_that_breaks_off_breaks_off_for_the_guest_too(guard, h2, kind):
    """A half file must not look whole; where the answer had not yet begun, 502 is as good."""
    for reset in ("", "?reset=1"):
        try:
            assert guard.get(f"/_standin/broken/{kind}{reset}", key=True, h2=h2).status == 502
        except (httpx.RemoteProtocolError, httpx.ReadError):
            continue


@pytest.mark.parametrize("kind", ["nothing", "garbage", "half-head", "two-lengths", "huge-header"])
def test_answer_that_is_no_http_is_502_json(guard, h2, kind):
    answer = guard.get(f"/_standin/broken/{kind}", key=True, h2=h2)
    assert answer.status == 502 and answer.kind == "application/json" and {"error", "message"} <= set(answer.json())


def test_answer_with_two_lengths_has_one_meaning(guard, h2):
    """RFC 9112 6.3: chunked wins and Content-Length goes, or the answer is refused; the guest never sees both."""
    answer = guard.get("/_standin/broken/length-and-chunked", key=True, h2=h2)
    assert answer.status == 502 or (answer.body == b"hello" and answer.headers.get("content-length", "5") == "5")


@pytest.mark.parametrize("kind", ["until-close", "http10", "early-hints", "trailers"])
def test_unusual_but_right_answers_pass(guard, h2, kind):
    answer = guard.get(f"/_standin/broken/{kind}", key=True, h2=h2)
    bodies = {"until-close": b"x" * 1000, "http10": b"old but fine", "early-hints": b"ok", "trailers": b"hello"}
    assert answer.status == 200 and answer.body == bodies[kind]


def test_surplus_bytes_of_one_answer_are_not_the_next_guests(guard):
    """Response smuggling: what ComfyUI sent too much must not be taken for the answer to another request."""
    for _ in range(20):
        guard.get("/_standin/broken/surplus-body", key=True)
        assert guard.get("/_standin/bytes/3", key=True).body == next(pattern.span(0, 3))


def test_post_is_not_sent_twice(guard):
    """A retry is for requests that may be repeated: a job that ran twice costs a GPU hour."""
    mark = guard.upstream.mark()
    for _ in range(5):
        assert guard.request("POST", "/_standin/broken/nothing", content=b"{}", key=True).status == 502
    assert len(guard.upstream.since(mark)) == 5


def test_failures_are_json_for_programs_and_a_page_that_reloads_for_browsers(fresh):
    running = fresh(wait="answers", comfyui_arguments=["--start-delay", "2"])
    program = running.get("/queue", key=True, headers={"Accept": "*/*"})
    assert program.status in (502, 503) and program.kind == "application/json"
    browser = running.get("/", key=True, headers={"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", "Sec-Fetch-Mode": "navigate"})
    assert browser.status in (502, 503) and browser.kind == "text/html"
    assert "refresh" in browser.body.decode().lower() + str(browser.headers).lower()
    until(running.healthy, 20, "ComfyUI serves")

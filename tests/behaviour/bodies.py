"""Bodies of a gigabyte pass both ways byte for byte, over HTTP/1.1 and HTTP/2, in the memory of a handshake.

Pitfall P24: 1 MB body limits and buffering. COMFY_GUARD_TEST_MIB sets the size (1024 unless told).
"""

import hashlib
import json
import os
import subprocess
from functools import cache

import pytest

from harness import procs
from harness.guard import Guard
from harness.stream import pattern
from harness.wait import Stopwatch, until

MIB = 1 << 20
SIZE = int(os.environ.get("COMFY_GUARD_TEST_MIB", "1024")) * MIB
ALLOWED_KIB = 32 * 1024


@pytest.fixture(scope="module")
def large():
    with Guard(config={"proxy": {"max_upload": "4GB"}}) as running:
        running.get("/queue", key=True)
        running.get("/queue", key=True, h2=True)
        yield running


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "body"
    with open(path, "wb") as out:
        for piece in pattern.span(0, SIZE):
            out.write(piece)
    yield path
    path.unlink()


digest = cache(pattern.digest)


class Growth:
    """How far the gateway's peak rises above its size at the beginning."""

    def __init__(self, guard):
        self.pid = guard.pids()["gateway"]

    def __enter__(self):
        procs.reset_peak(self.pid)
        self.before = procs.kilobytes(self.pid, "VmHWM")
        return self

    def __exit__(self, kind, *_):
        grown = procs.kilobytes(self.pid, "VmHWM") - self.before
        print(f"gateway's peak grew by {grown} KiB")
        if kind is None:
            assert grown < ALLOWED_KIB


def curl(guard, h2: bool, *arguments) -> list[str]:
    return ["curl", "-sS", "--fail-with-body", "--noproxy", "*", "--http2" if h2 else "--http1.1", "--cacert", str(guard.ca),
            "-H", f"X-API-Key: {guard.key}", *arguments]


def test_download(large, h2):
    clock = Stopwatch()
    with Growth(large):
        sending = subprocess.Popen(curl(large, h2, f"{large.url}/_standin/bytes/{SIZE}"), stdout=subprocess.PIPE)
        hashed, count = hashlib.sha256(), 0
        while piece := sending.stdout.read(MIB):
            hashed.update(piece)
            count += len(piece)
        assert sending.wait(10) == 0
    assert (count, hashed.hexdigest()) == (SIZE, digest(SIZE))
    print(f"{SIZE / MIB / clock():.0f} MiB/s down")


@pytest.mark.parametrize("how", ["with its length", "chunked"])
def test_upload(large, h2, file, how):
    if how == "chunked" and h2:
        pytest.skip("HTTP/2 has no chunks")
    clock, more = Stopwatch(), ["-H", "Transfer-Encoding: chunked"] if how == "chunked" else []
    with Growth(large):
        done = subprocess.run(curl(large, h2, *more, "-T", str(file), f"{large.url}/_standin/sink"), capture_output=True, timeout=200)
        assert done.returncode == 0, done.stderr + done.stdout
    told = json.loads(done.stdout)
    assert (told["bytes"], told["sha256"]) == (SIZE, digest(SIZE))
    assert (told["content_length"] == str(SIZE)) is (how == "with its length")
    print(f"{SIZE / MIB / clock():.0f} MiB/s up")


def test_reader_that_stops_stops_comfyui_not_our_memory(large, h2):
    """Backpressure down: a guest on a bad line must not fill the box."""
    with Growth(large):
        with large.client(h2) as client, client.stream("GET", f"/_standin/bytes/{SIZE}", headers=large.bearer) as stream:
            parts = stream.iter_raw(MIB)
            next(parts)
            settled = _settled(lambda: procs.kilobytes(large.pids()["gateway"], "VmRSS"))
            print(f"resident while nobody reads: {settled} KiB")
    assert large.healthy()


def test_comfyui_that_does_not_read_stops_the_guest(large, h2, file):
    """Backpressure up: the stand-in reads nothing for three seconds while the guest pushes with all its might."""
    with Growth(large):
        done = subprocess.run(curl(large, h2, "-T", str(file), f"{large.url}/_standin/sink?pause=3"), capture_output=True, timeout=200)
        assert done.returncode == 0, done.stderr
    assert digest(SIZE).encode() in done.stdout


def _settled(measure, within: float = 10.0) -> int:
    """A figure once it has not moved by 1 % for half a second."""
    state = {"last": measure(), "since": Stopwatch()}

    def same():
        now = measure()
        if abs(now - state["last"]) > state["last"] / 100:
            state.update(last=now, since=Stopwatch())
        return state["since"]() > 0.5

    until(same, within, "memory settles")
    return state["last"]


@pytest.mark.parametrize("length", [0, 1, 16383, 16384, 16385, 65535, 65536, 1_000_003])
def test_every_odd_length_arrives_whole(large, h2, length):
    """Edges of frames, chunks and buffers."""
    got = large.get(f"/_standin/bytes/{length}", key=True, h2=h2)
    assert hashlib.sha256(got.body).hexdigest() == pattern.digest(length) and got.headers["content-length"] == str(length)
    chunked = large.get(f"/_standin/bytes/{length}?chunked=1", key=True, h2=h2)
    assert chunked.body == got.body
    told = large.request("POST", "/_standin/sink", content=got.body, key=True, h2=h2).json()
    assert (told["bytes"], told["sha256"]) == (length, pattern.digest(length))

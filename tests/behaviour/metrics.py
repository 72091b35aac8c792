"""`/metrics`: every figure is what was done, exactly; nobody makes a series by what he sends; without a key it is this machine's alone."""

import base64
import http.client
import json
import os
import signal
import socket
import ssl
import stat
import uuid
from pathlib import Path

import pytest

from harness import ws
from harness.guard import Guard, free_port
from harness.metrics import FAIL, SLEEP, Scrape, UnixConnection, plainly, queue, scrape, workflow
from harness.wait import until

class Difference:
    """What has changed since it was made: `since("requests_total", class_="api")`."""

    def __init__(self, guard):
        self.guard, self.before = guard, scrape(guard)

    def now(self) -> "Difference":
        self.after = scrape(self.guard)
        return self

    def __call__(self, name: str, **labels) -> float:
        return self.after(name, **labels) - sum(self.before.values(name, **labels))


@pytest.fixture(scope="module")
def own():
    """A guard that only these tests speak to: the figures are theirs."""
    with Guard() as running:
        yield running


# --- who may read it ------------------------------------------------------------------------------------------------------


def test_it_needs_the_key(own, h2):
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"X-API-Key": ""}, {"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}):
        answer = own.get("/metrics", headers=headers, h2=h2)
        assert answer.status == 401 and answer.kind == "application/json", (headers, answer.status)
        assert b"comfy_guard_" not in answer.body
    for headers in (own.bearer, {"X-API-Key": own.key}):
        assert own.get("/metrics", headers=headers, h2=h2).status == 200
    assert own.get(f"/metrics?api_key={own.key}", h2=h2).status == 200
    assert own.request("HEAD", "/metrics", key=True, h2=h2).body == b""
    for method in ("POST", "PUT", "DELETE"):
        assert own.request(method, "/metrics", key=True, h2=h2).status == 405


def test_the_certificates_end_is_the_one_that_guests_see(own):
    with socket.create_connection(("127.0.0.1", own.port)) as plain, own.tls().wrap_socket(plain, server_hostname="127.0.0.1") as connection:
        ends = ssl.cert_time_to_seconds(connection.getpeercert()["notAfter"])
    assert scrape(own)("certificate_expiry_timestamp_seconds") == ends
    assert own.get("/health", key=True).json()["detail"]["certificate_ends"] == ends


def test_the_format_is_the_one_that_is_asked_for(own):
    text = own.get("/metrics", key=True)
    assert text.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8" and "# EOF" not in text.body.decode()
    prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    answer = own.get("/metrics", key=True, headers={"Accept": prometheus})
    assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert answer.body.decode().endswith("# EOF\n") and answer.headers["cache-control"] == "no-store"


def test_nothing_of_a_guest_stands_there(own):
    own.get("/view?filename=secret-name.png", headers={"User-Agent": "secret-agent", **own.bearer})
    page = scrape(own).text
    for word in (own.key, "secret-name", "secret-agent", "127.0.0.1"):
        assert word not in page


# --- the figures are what was done --------------------------------------------------------------------------------------


def test_requests_by_class_and_status(own):
    since = Difference(own)
    with own.client() as client:
        for _ in range(3):
            assert own.get("/queue", key=True, client=client).status == 200
        assert own.get("/queue", client=client).status == 401
        assert own.get("/no/such/route", key=True, client=client).status == 404
        for _ in range(4):
            assert own.get("/health", client=client).status == 200
        assert own.get("/user.css", client=client).status in (200, 404)
    assert own.raw().send("GET /queue HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").answer().status == 400
    since.now()
    assert since("requests_total", class_="api", code="200") == 3
    assert since("requests_total", class_="api", code="401") == 1
    assert since("requests_total", class_="api", code="404") == 1
    assert since("requests_total", class_="static") == 1
    assert since("requests_total", class_="refused", code="400") == 1
    # Four times /health, and the page that was asked for before.
    assert since("requests_total", class_="own", code="200") == 5
    assert since("response_seconds_count", class_="api") == 5
    assert 0 < since("response_seconds_sum", class_="api") < 5
    assert since("response_seconds_bucket", class_="api", le="+Inf") == 5
    assert since("refusals_total", error="unauthorized") == 1
    assert since("refusals_total", error="bad_host") == 1


def test_credentials_by_form_and_what_came_of_them(own):
    since = Difference(own)
    basic = "Basic " + base64.b64encode(f"x:{own.key}".encode()).decode()
    with own.client() as client:
        get = lambda target, headers=None: own.get(target, headers=headers, client=client).status
        assert [get("/queue", {"Authorization": f"Bearer {own.key}"}) for _ in range(2)] == [200, 200]
        assert get("/queue", {"Authorization": "Bearer wrong"}) == 401
        assert get("/queue", {"X-API-Key": own.key}) == 200
        assert get("/queue", {"X-API-Key": ""}) == 401
        assert get(f"/queue?token={own.key}") == 200
        assert get("/queue?api_key=wrong") == 401
        assert get("/queue", {"Authorization": basic}) == 200
        assert get("/queue", {"Authorization": "Basic !!!"}) == 401
        assert get("/queue") == 401
        assert get("/queue", {"Cookie": "__Host-comfyui_session=" + "0" * 64}) == 401
    since.now()
    # The page before and this one come with a Bearer key; the first is counted by now.
    expected = {("bearer", "right"): 3, ("bearer", "wrong"): 1, ("x_api_key", "right"): 1, ("x_api_key", "malformed"): 1, ("query", "right"): 1,
                ("query", "wrong"): 1, ("basic", "right"): 1, ("basic", "malformed"): 1, ("none", "none"): 1}
    for (kind, result), count in expected.items():
        assert since("authentications_total", kind=kind, result=result) == count, (kind, result)


def test_sign_in_and_the_session_that_comes_of_it(own):
    since = Difference(own)
    with own.client() as client:
        wrong = client.post("/auth_session", json={"key": "wrong"})
        right = client.post("/auth_session", json={"key": own.key})
        assert (wrong.status_code, right.status_code) == (401, 200)
        assert client.get("/queue").status_code == 200
        assert client.post("/interrupt", headers={"Origin": "https://evil.example"}).status_code == 403
        assert client.delete("/auth_session", headers={"Authorization": f"Bearer {right.json()['token']}"}).status_code == 204
    since.now()
    assert since("authentications_total", kind="login", result="wrong") == 1
    assert since("authentications_total", kind="login", result="right") == 1
    assert since("authentications_total", kind="cookie", result="right") == 2
    assert since("authentications_total", kind="cookie", result="cross_site") == 1
    assert since("refusals_total", error="cross_site") == 1


def test_connections_and_handshakes(own):
    since = Difference(own)
    held = [own.raw() for _ in range(3)]
    assert since.now().after("connections_open") == 4, "three held, and the one that asks"
    for connection in held:
        connection.socket.close()
    with socket.create_connection((own.host, own.port), 5) as wire:
        wire.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        wire.settimeout(5)
        try:
            wire.recv(100)
        except ConnectionResetError:
            pass
    with pytest.raises(ssl.SSLError):
        with socket.create_connection((own.host, own.port), 5) as wire:
            ssl.create_default_context().wrap_socket(wire, server_hostname="localhost")
    old = ssl._create_unverified_context()
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection((own.host, own.port), 5) as wire, old.wrap_socket(wire):
        pass
    socket.create_connection((own.host, own.port), 5).close()
    until(lambda: since.now()("handshakes_total", result="left") == 1, 5, "one that left")
    assert since("handshakes_total", result="not_tls") == 1
    assert since("handshakes_total", result="alert") == 1
    assert since("tls_connections_total", version="1.2") == 1
    assert since("handshakes_total", result="ok") == since("tls_connections_total") == since("handshake_seconds_count")
    assert since("connections_accepted_total") == since("handshakes_total") + 0
    until(lambda: since.now().after("connections_open") == 1, 5, "only who asks is connected")


def test_a_resumed_session_of_tls_is_told_apart(own):
    since = Difference(own)
    context = own.tls()
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def connect(session=None):
        with socket.create_connection((own.host, own.port), 5) as wire, context.wrap_socket(wire, server_hostname=own.host, session=session) as tls:
            return tls.session

    connect(connect())
    since.now()
    assert since("tls_connections_total", version="1.2", resumed="false") == 1
    assert since("tls_connections_total", version="1.2", resumed="true") == 1


def test_bytes_both_ways_with_bodies_and_tunnels(own):
    since = Difference(own)
    size, up = 3_000_000, 2_000_000
    assert len(own.get(f"/_standin/bytes/{size}", key=True).body) == size
    assert own.request("POST", "/_standin/sink", content=b"x" * up, key=True).status == 200
    since.now()
    page = len(since.before.text)
    assert size <= since("sent_bytes_total") - page <= size + 4096
    assert up <= since("received_bytes_total") <= up + 4096
    since = Difference(own)
    with ws.open_(own, "/_standin/echo", key=True) as echo:
        for _ in range(10):
            echo.send(b"y" * 100_000)
            assert len(echo.recv(10)) == 100_000
    until(lambda: since.now()("websockets_open", kind="comfyui") == 0, 5, "the tunnel has ended")
    assert 1_000_000 <= since("received_bytes_total") <= 1_000_000 + 20_000


def test_bytes_and_requests_over_http2(own):
    since = Difference(own)
    size = 1_500_000
    assert len(own.get(f"/_standin/bytes/{size}", key=True, h2=True).body) == size
    since.now()
    assert since("requests_total", class_="api", code="200") == 1
    assert size <= since("sent_bytes_total") - len(since.before.text) <= size + 8192


def test_websockets_by_kind(own):
    since = Difference(own)
    with ws.open_(own, "/ws", key=True), ws.open_(own, "/ws"), ws.open_(own, "/api/ws"):
        until(lambda: since.now()("websockets_open", kind="anonymous") == 2, 5, "two anonymous ones")
        assert since("websockets_open", kind="comfyui") == 1
    until(lambda: since.now().after("websockets_open") == 0, 5, "none is open")
    assert (since("websockets_total", kind="comfyui"), since("websockets_total", kind="anonymous")) == (1, 2)
    assert since("requests_total", class_="websocket", code="101") == 3


# --- jobs ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("listed", [False, True], ids=["history", "jobs"])
def test_jobs_by_how_they_ended_and_how_long_they_ran(fresh, listed):
    guard = fresh(comfyui_arguments=["--list-jobs"] if listed else [])
    assert scrape(guard)("jobs_total") == 0
    for number in range(3):
        queue(guard, workflow(number))
    queue(guard, FAIL)
    queue(guard, SLEEP)
    until(lambda: scrape(guard)("jobs_total") == 5, 15, "five jobs", every=0.2)
    page = scrape(guard)
    assert (page("jobs_total", result="completed"), page("jobs_total", result="failed"), page("jobs_total", result="cancelled")) == (4, 1, 0)
    assert page("jobs_queued_total") == page("job_seconds_count") == 5
    history = guard.get("/history", key=True).json().values()
    at = lambda entry, place: entry["status"]["messages"][place][1]["timestamp"]
    assert page("job_seconds_sum") == pytest.approx(sum(at(entry, -1) - at(entry, 0) for entry in history) / 1000)
    long = {"1": {"class_type": "Sleep", "inputs": {"seconds": 60, "steps": 600}}}
    queue(guard, long)
    until(lambda: guard.upstream.ask("/queue")["queue_running"], 5, "it runs")
    assert guard.request("POST", "/interrupt", key=True).status == 200
    until(lambda: scrape(guard)("jobs_total", result="cancelled") == 1, 10, "a job that was interrupted")
    # Past the guard too, where only the queue's length shows them; and nothing twice.
    for prompt in (*map(workflow, range(10, 13)), {"1": {"class_type": "Sleep", "inputs": {"seconds": 2.5, "steps": 1}}}):
        guard.upstream.ask("/prompt", json.dumps({"prompt": prompt}).encode())
    until(lambda: scrape(guard)("jobs_total", result="completed") == 8, 30, "four more, queued past the guard", every=0.2)
    assert scrape(guard)("jobs_total") == 10


def test_jobs_with_large_workflows_cost_no_more_than_the_budget(fresh):
    """12 prompts with 1 MB each: all counted, in the end, and ComfyUI is never asked for more than 512 KiB a second."""
    guard = fresh()
    for number in range(12):
        body = json.dumps({"prompt": workflow(number), "client_id": "x", "extra_data": {"extra_pnginfo": {"workflow": {"x": "y" * (1 << 20)}}}}).encode()
        assert guard.request("POST", "/prompt", content=body, headers={"Content-Type": "application/json"}, key=True).status == 200
    until(lambda: guard.upstream.ask("/prompt")["exec_info"]["queue_remaining"] == 0, 30, "all done")
    until(lambda: scrape(guard)("jobs_total") >= 4, 60, "what can be read", every=0.5)
    assert all("max_items=" in line for line in guard.upstream.raw_record().splitlines() if "GET /history" in line and "user-agent" not in line.lower())


# --- without a key, for this machine ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def local():
    port = free_port()
    with Guard(config={"metrics": {"listen": [f"127.0.0.1:{port}"]}}, before=lambda guard: guard.change({"metrics": {"listen": [
            f"127.0.0.1:{port}", f"unix:{guard.dir}/state/metrics.sock"]}})) as running:
        yield running, port, str(running.dir / "state/metrics.sock")


def test_loopback_and_unix_tell_the_same_without_a_key(local):
    guard, port, path = local
    names = set()
    for connection in (http.client.HTTPConnection("127.0.0.1", port, timeout=5), UnixConnection(path)):
        status, fields, body = plainly(connection)
        assert status == 200 and fields["content-type"].startswith("text/plain; version=0.0.4")
        names |= Scrape(body.decode()).names()
    assert names == scrape(guard).names()


def test_there_is_nothing_else_and_no_key_opens_it(local):
    guard, port, path = local
    mark = guard.upstream.mark()
    for target in ("/", "/queue", "/metrics/", "/health", "/prompt", "//metrics", "/metrics%2f"):
        for connection in (http.client.HTTPConnection("127.0.0.1", port, timeout=5), UnixConnection(path)):
            status, _, body = plainly(connection, target, headers=guard.bearer)
            assert status == 404 and body == b""
    status, fields, _ = plainly(UnixConnection(path), method="POST")
    assert status == 405 and fields["allow"] == "GET, HEAD"
    assert guard.upstream.since(mark) == []


def test_a_guest_that_says_nothing_is_let_go(local):
    """The listener's own deadline: whoever holds a connection there holds it for seconds."""
    _, port, path = local
    with socket.create_connection(("127.0.0.1", port), 5) as silent, socket.socket(socket.AF_UNIX) as half:
        half.connect(path)
        half.sendall(b"GET /metrics HTTP/1.1\r\n")
        for wire in (silent, half):
            wire.settimeout(20)
            assert wire.recv(100) == b""


def test_the_socket_is_its_users_and_groups_alone_and_goes_with_the_guard(fresh):
    guard = fresh(before=lambda guard: guard.change({"metrics": {"listen": [f"unix:{guard.dir}/state/metrics.sock"]}}))
    path = guard.dir / "state/metrics.sock"
    facts = path.stat()
    assert stat.S_ISSOCK(facts.st_mode) and facts.st_mode & 0o777 == 0o660
    assert facts.st_uid == Path(f"/proc/{guard.process.pid}").stat().st_uid or os.geteuid() != 0
    # Killed, it leaves the name behind; the next start takes it over.
    guard.kill("supervisor")
    assert plainly(UnixConnection(str(path)))[0] == 200
    guard.kill("gateway")
    assert plainly(UnixConnection(str(path)))[0] == 200
    guard.stop()
    assert not path.exists()


def test_what_lies_there_already_stays(fresh):
    with pytest.raises(AssertionError, match="comfy-guard ended with 71"):
        with Guard(before=lambda guard: (guard.change({"metrics": {"listen": [f"unix:{guard.config_file}"]}}))):
            pass


@pytest.mark.parametrize("address", ["0.0.0.0:9188", "[::]:9188", "192.0.2.7:9188"])
def test_an_address_of_the_network_is_refused(own, address):
    config = own.dir / "etc/open.toml"
    config.write_text(f'comfyui.external = "127.0.0.1:1"\nmetrics.listen = ["{address}"]\n')
    for command in ("check", "run"):
        done = own.run_command(command, config=config)
        assert done.returncode == 78 and b"nobody is asked for a key there" in done.stderr, done.stderr


def test_a_socket_of_that_name_from_the_service_manager(fresh, tmp_path):
    listener = socket.create_server(("127.0.0.1", 0))
    named = socket.socket(socket.AF_UNIX)
    named.bind(str(tmp_path / "passed.sock"))
    named.listen()
    guard = fresh(sockets={"metrics": [listener, named]})
    assert plainly(http.client.HTTPConnection(*listener.getsockname(), timeout=5))[0] == 200
    assert plainly(UnixConnection(str(tmp_path / "passed.sock")))[0] == 200
    assert guard.get("/metrics").status == 401
    guard.stop()
    assert (tmp_path / "passed.sock").exists(), "it is the service manager's"


def test_one_that_the_network_reaches_is_refused(own):
    listener = socket.create_server(("0.0.0.0", 0))
    guard = Guard(sockets={"metrics": [listener]}, wait=None)
    with guard:
        assert guard.process.wait(10) == 78
        assert "can be reached from the network" in guard.log()


# --- bounded --------------------------------------------------------------------------------------------------------------


def test_a_thousand_different_guests_make_no_series(own):
    with own.client() as client:
        for method in ("GET", "POST"):
            own.request(method, "/x", client=client)
        before = set(scrape(own).series)
        for number in range(1000):
            method = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", f"BREW{number}")[number % 7]
            headers = {"User-Agent": f"agent-{number}", "X-Forwarded-For": f"10.0.{number % 250}.1", "Authorization": f"Bearer {number}" if number % 50 == 0 else "Digest x"}
            answer = own.request(method, f"/{uuid.uuid4().hex}/{number}?q={number}", headers=headers, client=client)
            assert answer.status in (401, 429), answer.status
    after = scrape(own)
    assert set(after.series) - before <= {("comfy_guard_refusals_total", frozenset({("error", "busy")}))}
    assert len(after.series) < 1000 and len(after.text) < 100_000

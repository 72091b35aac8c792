"""`listen.http_redirect`: a plain port that says "https" to everyone and serves nothing; there is no other plaintext.

Pitfall P18, and P8's lesson: the place it sends to is built from its own configuration and a checked Host.
"""

import http.client
import socket
import ssl

import pytest

from harness.guard import Guard, free_port


@pytest.fixture(scope="module")
def redirecting():
    port = free_port()
    with Guard(config={"listen": {"http_redirect": [f"127.0.0.1:{port}"]}}) as running:
        yield running, port


def plain(port: int, method: str, target: str, headers=None, body=None):
    wire = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    wire.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    for name, value in (headers or {"Host": f"localhost:{port}"}).items():
        wire.putheader(name, value)
    wire.endheaders(body)
    answer = wire.getresponse()
    answer.read()
    wire.close()
    return answer


@pytest.mark.parametrize("target", ["/", "/queue", "/api/userdata/a%2Fb.json", "/view?filename=a%20b&type=output"])
def test_everything_is_sent_to_https_with_its_path(redirecting, target):
    running, port = redirecting
    mark = running.upstream.mark()
    answer = plain(port, "GET", target)
    assert answer.status in (301, 302, 307, 308)
    assert answer.getheader("location") == f"https://localhost:{running.port}{target}"
    assert running.upstream.since(mark) == []


def test_credential_in_the_query_is_not_repeated(redirecting):
    """It went over the wire in the clear once; no need to write it into another URL, a log or a history."""
    running, port = redirecting
    location = plain(port, "GET", f"/queue?api_key={running.key}&x=1").getheader("location")
    assert location is None or running.key not in location
    assert running.key not in running.log()


@pytest.mark.parametrize("target", ["//evil.example/x", "/\\evil.example", "http://evil.example/x", "/%0d%0aSet-Cookie:x"])
def test_it_sends_nowhere_else(redirecting, target):
    running, port = redirecting
    answer = plain(port, "GET", target)
    location = answer.getheader("location") or ""
    assert answer.status == 400 or location.startswith(f"https://localhost:{running.port}/")
    assert "\n" not in location


@pytest.mark.parametrize("host", ["", "a b", "evil.example@localhost", "local/host", "x\ty"])
def test_broken_host_is_400(redirecting, host):
    _, port = redirecting
    assert plain(port, "GET", "/", {"Host": host}).status == 400


def test_plain_http_on_the_tls_port_gets_no_service(guard):
    with socket.create_connection((guard.host, guard.port), 5) as wire:
        wire.sendall(f"GET /queue HTTP/1.1\r\nHost: x\r\nX-API-Key: {guard.key}\r\n\r\n".encode())
        wire.settimeout(15)
        try:
            answer = wire.recv(4096)
        except ConnectionResetError:
            answer = b""
        assert b"200" not in answer and b"queue" not in answer


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
def test_old_tls_is_refused(guard, version):
    context = ssl._create_unverified_context()
    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, OSError)), socket.create_connection((guard.host, guard.port), 5) as wire:
        context.wrap_socket(wire, server_hostname=guard.host)

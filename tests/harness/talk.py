"""How a test speaks to the guard: httpx for well-formed calls (targets sent byte for byte), sockets for the others."""

import http.client
import json
import socket
import ssl
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import httpx


@dataclass
class Answer:
    status: int
    headers: httpx.Headers
    body: bytes
    version: str = ""

    def json(self):
        return json.loads(self.body)

    @property
    def kind(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0]


class Talk:
    """Mixed into Guard: needs .port, .key and .tls()."""

    host = "127.0.0.1"

    @property
    def url(self) -> str:
        return f"https://{self.host}:{self.port}"

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def client(self, h2: bool = False, timeout: float = 30.0, **more) -> httpx.Client:
        context = self.tls(("h2",) if h2 else ("http/1.1",))
        return httpx.Client(base_url=self.url, verify=context, http1=not h2, http2=h2, timeout=timeout, trust_env=False, **more)

    def get(self, target: str, **more) -> Answer:
        return self.request("GET", target, **more)

    def request(self, method: str, target: str, *, headers=None, content=None, h2=False, client=None, key=False, timeout=30.0) -> Answer:
        """One call; `target` goes out as written (no decoding, no dot segments removed). `key`: with the right Bearer key."""
        sent = {**(headers or {}), **(self.bearer if key else {})}
        own = client or self.client(h2, timeout)
        try:
            got = own.request(method, "/", headers=sent, content=content, extensions={"target": target.encode("latin-1")})
        finally:
            if client is None:
                own.close()
        return Answer(got.status_code, got.headers, got.content, got.http_version)

    def get_as_written(self, target: str, headers: dict[str, str]) -> Answer:
        """GET over HTTP/1.1 with header values as they are: httpx refuses to send `Bearer ` with nothing after it."""
        wire = http.client.HTTPSConnection(self.host, self.port, context=self.tls(), timeout=10)
        wire.request("GET", target, headers=headers)
        got = wire.getresponse()
        answer = Answer(got.status, httpx.Headers(got.getheaders()), got.read(), "HTTP/1.1")
        wire.close()
        return answer

    def answers(self) -> bool:
        """Whether anything at all is said on /health."""
        try:
            return bool(self.get("/health", timeout=2.0).status)
        except (httpx.TransportError, OSError, ssl.SSLError):
            return False

    def healthy(self) -> bool:
        try:
            return self.get("/health", timeout=2.0).status == 200
        except (httpx.TransportError, OSError, ssl.SSLError):
            return False

    def curl(self, *arguments, h2: bool = False, within: float = 60.0) -> Answer:
        """curl as a user types it, trusting the guard's own CA; the body in full."""
        with tempfile.TemporaryDirectory() as folder:
            head, body = Path(folder, "head"), Path(folder, "body")
            line = ["curl", "-sS", "--noproxy", "*", "--http2" if h2 else "--http1.1", "--cacert", str(self.ca), "-D", str(head),
                    "-o", str(body), "-w", "%{http_version}", *arguments]
            done = subprocess.run(line, capture_output=True, timeout=within, text=True)
            assert done.returncode == 0, f"curl: {done.returncode} {done.stderr}"
            last = head.read_bytes().strip().split(b"\r\n\r\n")[-1].decode("latin-1").split("\r\n")
            fields = [tuple(part.strip() for part in line.split(":", 1)) for line in last[1:] if ":" in line]
            status = int(last[0].split()[1])
            return Answer(status, httpx.Headers(fields), body.read_bytes() if body.exists() else b"", done.stdout)

    def raw(self, timeout: float = 10.0) -> "RawConnection":
        return RawConnection(self, timeout)


class RawConnection:
    """An HTTP/1.1 connection on which a test writes the bytes itself."""

    def __init__(self, guard: Talk, timeout: float):
        plain = socket.create_connection((guard.host, guard.port), timeout)
        self.socket = guard.tls().wrap_socket(plain, server_hostname=guard.host)
        self.socket.settimeout(timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data: bytes | str) -> "RawConnection":
        self.socket.sendall(data.encode("latin-1") if isinstance(data, str) else data)
        return self

    def answer(self, method: str = "GET") -> Answer:
        """The next response, read to its end."""
        response = self.begin(method)
        return Answer(response.status, httpx.Headers(response.getheaders()), response.read())

    def begin(self, method: str = "GET") -> http.client.HTTPResponse:
        """The next response's head; its body can be read as it comes."""
        response = http.client.HTTPResponse(self.socket, method=method)
        response.begin()
        return response

    def rest(self) -> bytes:
        """Everything until the other side closes; raises TimeoutError if it does not."""
        found = b""
        try:
            while part := self.socket.recv(65536):
                found += part
        except (ConnectionResetError, ssl.SSLEOFError, ssl.SSLError) as error:
            if isinstance(error, TimeoutError) or "timed out" in str(error):
                raise
        return found

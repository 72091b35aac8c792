"""Another site: a server of the test's own that records what browsers send it and lets every origin read its answers."""

import http.server
import json
import ssl
import tempfile
import threading
from pathlib import Path

from .certs import Authority


class Foreign:
    """`tls`: https on 127.0.0.1, which is the guard's own *site* (only the port differs), so that SameSite keeps no cookie back;
    otherwise plain http on localhost, another site altogether."""

    def __init__(self, tls: bool):
        self.tls, self.record = tls, []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            with tempfile.TemporaryDirectory() as folder:
                pair = [Path(folder, name) for name in ("certificate", "key")]
                for path, pem in zip(pair, Authority("another site's CA").leaf("another site"), strict=True):
                    path.write_bytes(pem)
                context.load_cert_chain(*pair)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.place = ("127.0.0.1", self._server.server_address[1])
        self.origin = f"https://127.0.0.1:{self.place[1]}" if tls else f"http://localhost:{self.place[1]}"

    def _handler(self):
        record = self.record

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode("latin-1")
                record.append({"line": self.requestline, "headers": {name.lower(): value for name, value in self.headers.items()}, "body": body})
                page = b"<!doctype html><title>another site</title><body>"
                self.send_response(200)
                asked = {"Access-Control-Allow-Origin": self.headers.get("Origin") or "*", "Access-Control-Allow-Credentials": "true",
                         "Access-Control-Allow-Headers": "authorization, x-api-key, content-type", "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE",
                         "Content-Type": "text/html", "Content-Length": str(len(page))}
                for name, value in asked.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(page)

            do_GET = do_POST = do_PUT = do_DELETE = do_OPTIONS = answer

            def log_message(self, *_) -> None:
                """The record is enough."""

        return Handler

    def since(self, text: str) -> list[dict]:
        """What was asked of an address that holds `text`."""
        return [one for one in self.record if text in one["line"]]

    def __enter__(self) -> "Foreign":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __str__(self) -> str:
        return json.dumps(self.record)

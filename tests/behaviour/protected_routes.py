"""No handler of ComfyUI runs without a key: every route x every method x every way to make its path look static.

Pitfalls P1 and P3. The stand-in's record, not the status alone, is the judge.
"""

import http.client
import re

import pytest

from harness.upstream import routes

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"]

# What a suffix trick does to a path.
TRICKS = {
    "plain": lambda path: path,
    "json": lambda path: path + ".json",
    "png": lambda path: path + ".png",
    "file below": lambda path: path + "/x.js",
    "encoded slash": lambda path: path + "%2Fx.js",
    "semicolon": lambda path: path + ";.js",
    "semicolon and file": lambda path: path + ";/x.css",
    "query": lambda path: path + "?x=/assets/y.js",
    "trailing slash": lambda path: path + "/",
    "encoded dot": lambda path: path + "%2Ejson",
    "encoded letter": lambda path: path[0] + f"%{ord(path[1]):02x}" + path[2:],
    "double encoded letter": lambda path: path[0] + f"%25{ord(path[1]):02x}" + path[2:],
    "double slash": lambda path: "/" + path,
    "out of a static tree": lambda path: "/assets/.." + path,
    "out of a static tree, encoded": lambda path: "/assets/%2e%2e" + path,
    "out of a static tree, slash encoded": lambda path: "/assets/..%2F" + path[1:],
    "below a static tree": lambda path: "/extensions" + path + ".js",
    "backslash": lambda path: "/assets\\.." + path,
    "NUL": lambda path: path + "%00.js",
    "fragment": lambda path: path + "#.js",
    "capitals": lambda path: path.upper() + ".JS",
    "absolute form": lambda path: "http://127.0.0.1:8188" + path + ".json",
}


def patterns() -> list[str]:
    """Every resource but `/`, with each parameter filled in, once plainly and once ending like a static file."""
    found = sorted({pattern for _, pattern in routes()} - {"/", "/api/", "/api", "", "/ws", "/api/ws"})
    return [path for pattern in found for path in dict.fromkeys([fill(pattern, "x"), fill(pattern, "x.json")])]


def fill(pattern: str, value: str) -> str:
    known = {"{length}": "1", "{code}": "200", "{path_index}": "0"}
    return re.sub(r"\{[^}]*\}", lambda match: known.get(match[0], value), pattern)


def knowingly_open(method: str, target: str) -> bool:
    return method in ("GET", "HEAD") and target.partition("?")[0] == "/extensions/example/private.json"


def protected_handlers(seen) -> list:
    """All that ran but static trees and the one thing that the contract opens knowingly: reading what looks like a file
    below /extensions/, where a custom node may have put a handler."""
    return [one for one in seen if one.handler and "static " not in one.handler and one.handler != "GET /extensions/example/private.json"]


def test_the_table_is_the_whole_router():
    names = {pattern for _, pattern in routes()}
    assert {"/queue", "/api/queue", "/prompt", "/history/{prompt_id}", "/internal/logs"} <= names
    assert len(names) > 80


@pytest.mark.parametrize("trick", TRICKS)
def test_no_protected_handler_runs_without_a_key(guard, trick):
    mark, wrong = guard.upstream.mark(), []
    wire = http.client.HTTPSConnection(guard.host, guard.port, context=guard.tls(), timeout=30)
    for path in patterns():
        target = TRICKS[trick](path)
        for method in METHODS:
            wire.putrequest(method, target.split("\n")[0], skip_accept_encoding=True)
            wire.putheader("User-Agent", "attacker")
            wire.putheader("Content-Length", "0")
            wire.endheaders()
            answer = wire.getresponse()
            answer.read()
            # 404: a file that is not there, in a place where files are open for reading; 400: a broken path. 200 and 204
            # to OPTIONS: a CORS answer by the guard itself, which the record below tells from ComfyUI's.
            if answer.status not in (400, 401, 404, 405, 501) and method != "OPTIONS" and not knowingly_open(method, target):
                wrong.append((method, target, answer.status))
    wire.close()
    assert wrong == []
    assert protected_handlers(guard.upstream.since(mark)) == []


@pytest.mark.parametrize("trick", ["plain", "json", "encoded letter", "out of a static tree, encoded", "semicolon"])
def test_nor_over_http2(guard, trick):
    mark = guard.upstream.mark()
    with guard.client(h2=True) as client:
        for path in patterns():
            for method in ("GET", "POST", "DELETE"):
                status = guard.request(method, TRICKS[trick](path), client=client).status
                assert status in (400, 401, 404, 405) or knowingly_open(method, TRICKS[trick](path)), (method, path, status)
    assert protected_handlers(guard.upstream.since(mark)) == []


def test_every_reading_route_is_reached_with_the_key(guard):
    """The other side of the table: with the key, the same requests do reach the handler that they name."""
    missed = []
    with guard.client() as client:
        for method, pattern in sorted(set(routes())):
            if method != "GET" or "_standin" in pattern or "manager" in pattern or pattern.endswith("/ws") or pattern in ("/api/", "/api", ""):
                continue
            mark = guard.upstream.mark()
            guard.request(method, fill(pattern, "x"), client=client, key=True)
            if [seen.handler for seen in guard.upstream.since(mark)] != [f"{method} {pattern}"]:
                missed.append((pattern, [(seen.line, seen.handler) for seen in guard.upstream.since(mark)]))
    assert missed == []

"""What is open without a key is decided by place and ending together, on the path alone.

Pitfalls P1 (suffix on any method), P2 (the decision is made on the path, not on query, fragment or forwarded headers),
P3 (an ambiguous path is never exempt, a broken one is 400), P4 (no header takes part).
"""

import re

import httpx
import pytest

# Readable without a key; 404 where the file is not there, which is as open.
OPEN = [
    "/assets/index.js", "/assets/deep/er/style.css", "/assets/manifest-1a2b.json", "/assets/a.woff2", "/assets/a.mjs", "/assets/a.js.map",
    "/scripts/app.js", "/fonts/x.ttf", "/cursor/x.png", "/lib/x.js", "/extensions/core/thing.js", "/extensions/x/y/z.css",
    "/templates/index.json", "/templates/pic-1.webp", "/docs/node/en.md", "/favicon.ico", "/manifest.json", "/materialdesignicons.min.css",
    "/assets/sound.mp3", "/assets/film.webm",
]

# Everything else needs a key, however it ends.
CLOSED = [
    "/queue", "/api/queue", "/prompt", "/history/x.json", "/api/history/x.json", "/view?filename=a.png", "/userdata/a.json",
    "/api/userdata/pic.png", "/api/userdata/workflows%2Fx.json", "/internal/logs", "/internal/files/output.json", "/models/x.json", "/settings/x.json",
    "/api/assets/index.js", "/api/favicon.ico", "/object_info/x.png", "/system_stats", "/view_metadata/x.json", "/experiment/models/x.json",
    "/extensions", "/api/extensions", "/extensions/", "/extensions/NAME/route", "/assets", "/assets/noending", "/assets/x.php", "/unknown/x.js",
    "/_standin/env", "/_standin/record", "/assets/x.js/queue", "/assets/UPPER.JS", "/ASSETS/x.js",
]

# A key is needed, and ComfyUI's word for `/../queue` is nobody's guess.
AMBIGUOUS = [
    "/assets/..%2Fqueue.js", "/assets/%2e%2e/queue.js", "/assets/../queue.js", "/assets/./x.js", "//assets/x.js", "/assets//x.js",
    "/assets\\x.js", "/assets/x;.js", "/assets/x.js;a=b", "/assets/%252e%252e/x.js", "/assets/%5cx.js", "/assets/x%2F.js", "/assets/..;/x.js",
    "/assets/%3bx.js", "/assets/x%25.js", "/.%2e/assets/x.js", "/assets/%2E/x.js", "/assets/%61.js", "/%61ssets/x.js",
]

BROKEN = ["/assets/%zz.js", "/assets/%2.js", "/assets/x%.js", "/assets/%00.js", "/assets/x%0a.js", "/assets/x%7f.js", "/queue%00.js", "/assets/%0d%0a.js"]
FRAGMENTS = {"/assets/x.js#": "/assets/x.js", "/assets/x.js#y": "/assets/x.js", "/queue#.js": "/queue", "/queue#/assets/x.js": "/queue"}


@pytest.mark.parametrize("target", OPEN)
def test_static_file_is_open_for_reading(guard, h2, target):
    assert guard.get(target, h2=h2).status in (200, 304, 404)
    assert guard.request("HEAD", target, h2=h2).status in (200, 304, 404)


@pytest.mark.parametrize("target", OPEN)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PROPFIND", "TRACE"])
def test_static_file_is_open_for_nothing_else(guard, method, target):
    mark = guard.upstream.mark()
    assert guard.request(method, target).status in (400, 401, 405, 501)
    assert guard.upstream.since(mark) == []


@pytest.mark.parametrize("target", CLOSED + AMBIGUOUS)
def test_every_other_place_needs_a_key(guard, h2, target):
    mark = guard.upstream.mark()
    assert guard.get(target, h2=h2).status == 401
    assert guard.request("HEAD", target, h2=h2).status == 401
    assert guard.upstream.since(mark) == []


@pytest.mark.parametrize("target", BROKEN)
@pytest.mark.parametrize("with_key", [False, True])
def test_broken_path_is_400_even_with_the_key(guard, h2, target, with_key):
    mark = guard.upstream.mark()
    assert guard.get(target, h2=h2, key=with_key).status == 400
    assert guard.upstream.since(mark) == []


@pytest.mark.parametrize("target", FRAGMENTS)
@pytest.mark.parametrize("with_key", [False, True])
def test_fragment_is_400_or_cut_off_before_anything_is_decided(guard, h2, target, with_key):
    """A target has none (RFC 9112 3.2). Over HTTP/2 the library cuts it off before the guard sees it, as aiohttp would: then
    the rest is all that counts, here and in ComfyUI."""
    mark = guard.upstream.mark()
    status = guard.get(target, h2=h2, key=with_key).status
    seen = [one.target for one in guard.upstream.since(mark)]
    if h2 and status != 400:
        assert status == guard.get(FRAGMENTS[target], h2=True, key=with_key).status
        assert seen in ([], [FRAGMENTS[target]])
    else:
        assert status == 400 and seen == []


@pytest.mark.parametrize("target", [target for target in AMBIGUOUS if "\\" not in target])
def test_ambiguous_path_goes_on_byte_for_byte_with_the_key(guard, h2, target):
    mark = guard.upstream.mark()
    assert guard.get(target, h2=h2, key=True).status in (200, 400, 403, 404, 405)
    assert [seen.target for seen in guard.upstream.since(mark)] == [target]


@pytest.mark.parametrize("query", ["?x=.js", "?/assets/x.js", "?a=/../x.css", "#/x.js", "?.json"])
def test_neither_query_nor_fragment_opens_a_place(guard, query):
    mark = guard.upstream.mark()
    with guard.raw() as wire:
        wire.send(f"GET /queue{query} HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert wire.answer().status in (400, 401)
    assert guard.upstream.since(mark) == []


@pytest.mark.parametrize("header", [
    {"X-Original-URL": "/assets/x.js"}, {"X-Rewrite-URL": "/assets/x.js"}, {"X-Forwarded-Uri": "/assets/x.js"}, {"X-Forwarded-Path": "/assets/x.js"},
    {"X-HTTP-Method-Override": "GET"}, {"X-Method-Override": "GET"}, {"X-Forwarded-Method": "GET"}, {"User-Agent": "kube-probe/1.29"},
    {"X-Forwarded-For": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1"}, {"X-Real-IP": "127.0.0.1"}, {"Host": "127.0.0.1:8188"}, {"Accept": "image/png"},
    {"Sec-Fetch-Dest": "image"}, {"comfy-user": "default"}, {"Origin": "null"}, {"Upgrade": "websocket", "Connection": "Upgrade"},
], ids=lambda header: next(iter(header)))
@pytest.mark.parametrize("target", ["/queue", "/api/userdata/pic.png"])
def test_no_header_opens_a_place(guard, header, target):
    mark = guard.upstream.mark()
    assert guard.get(target, headers=header).status == 401
    assert guard.request("POST", target, headers=header, content=b"{}").status == 401
    assert guard.upstream.since(mark) == []


def test_absolute_form_is_judged_by_its_path(guard):
    """RFC 9112 3.2.2: a server takes the absolute form; ComfyUI would route it by its path."""
    for target, allowed in (("/queue", {400, 401}), ("/assets/none.js", {400, 404})):
        with guard.raw() as wire:
            wire.send(f"GET https://localhost{target} HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert wire.answer().status in allowed


def test_front_ends_own_way_to_write_a_path_works(guard, h2):
    """P3: the front end writes the slash inside a name as %2F; both spellings of ComfyUI see it as it was."""
    target = "/api/userdata/workflows%2Fname.json?overwrite=true"
    assert guard.request("POST", target, content=b'{"nodes": []}', h2=h2, key=True).status == 200
    assert guard.get("/api/userdata/workflows%2Fname.json", h2=h2, key=True).json() == {"nodes": []}
    assert guard.get("/api/userdata/workflows%2Fname.json", h2=h2).status == 401


def test_open_file_is_the_front_ends_own(guard, h2):
    """P29: everything that the real index page names is answered without a credential as ComfyUI itself answers it."""
    page = guard.get("/", h2=h2, key=True)
    assert page.status == 200 and page.kind == "text/html"
    named = re.findall(r'(?:src|href)="\.?/?((?:assets/|scripts/|[\w.-]+\.css)[^"]*)"', page.body.decode())
    assert named
    with guard.client(h2) as client:
        for name in named:
            with httpx.Client(trust_env=False) as direct:
                assert guard.get("/" + name, client=client).status == direct.get(f"{guard.upstream.url}/{name}").status_code, name

"""What the stand-in claims over HTTP, measured on ComfyUI 0.3.64; COMFYUI_DIR and COMFYUI_PYTHON name a real one."""

import json
import socket
import sys

import pytest
from comfyui_process import IS_STANDIN, STANDIN, Comfy, form

sys.path.insert(0, str(STANDIN))
from measure import measure  # noqa: E402


@pytest.fixture(scope="module")
def comfy(tmp_path_factory):
    with Comfy(tmp_path_factory.mktemp("base"), "--max-upload-size", "1") as running:
        yield running


def test_every_resource_answers_every_method_as_measured(comfy):
    expected = (STANDIN / "measured.txt").read_text().splitlines()
    assert measure("127.0.0.1", comfy.port) == expected


HERE = "127.0.0.1:8188"
NEWER = 403 if IS_STANDIN else 200
GUARD = [  # Host, Origin, Sec-Fetch-Site, status
    (HERE, None, None, 200),
    (HERE, "http://127.0.0.1:8188", None, 200),
    (HERE, "https://127.0.0.1:8188", None, 200),
    (HERE, "http://127.0.0.1:9999", None, 403),
    (HERE, "http://127.0.0.1", None, 200),
    ("127.0.0.1", "http://127.0.0.1:9999", None, 200),
    (HERE, "http://localhost:8188", None, 403),
    (HERE, "https://guest.example", None, 403),
    (HERE, "https://guest.example:8188", None, 403),
    ("localhost:8188", "http://LOCALHOST:8188", None, 200),
    ("localhost:8188", "http://127.0.0.1:8188", None, 403),
    ("[::1]:8188", "http://[::1]:8188", None, 200),
    ("[::1]:8188", "http://guest.example", None, 403),
    ("guest.example", "https://other.example", None, 200),
    ("192.0.2.1:8188", "https://other.example", None, 200),
    (HERE, "null", None, 200),
    (HERE, "", None, 200),
    (HERE, "file://", None, 200),
    (HERE, None, "same-origin", 200),
    (HERE, None, "same-site", 200),
    (HERE, None, "none", 200),
    # The rule of newer versions, which the stand-in has and 0.3.64 has not.
    (HERE, None, "cross-site", NEWER),
    ("guest.example", "https://guest.example", "cross-site", NEWER),
]


@pytest.mark.parametrize("host,origin,site,status", GUARD)
@pytest.mark.parametrize("method,target", [("GET", "/prompt"), ("POST", "/api/interrupt"), ("OPTIONS", "/none")])
def test_origin_guard(comfy, host, origin, site, status, method, target):
    headers = {"Origin": origin, "Sec_Fetch_Site": site}
    given = {name: value for name, value in headers.items() if value is not None}
    assert comfy.ask(method, target, Host=host, **given)[0] == status


def test_guard_refuses_a_foreign_websocket(comfy):
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13",
               "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    assert comfy.ask("GET", "/ws", Host=HERE, Origin="https://guest.example", **upgrade)[0] == 403


HOST = b"Host: 127.0.0.1\r\n"
LONG = b"a" * 8300
RAW = [  # what is sent, the first line of what comes back ("" for nothing)
    (b"GET /prompt HTTP/1.1\r\n" + HOST + b"\r\n", "HTTP/1.1 200 OK"),
    (b"GET /prompt HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK"),
    (b"GET /prompt HTTP/1.1\r\n\r\n", "HTTP/1.0 400 Bad Request"),
    (b"GET http://elsewhere.example/prompt HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n", "HTTP/1.1 200 OK"),
    (b"GET /prompt#/none HTTP/1.1\r\n" + HOST + b"\r\n", "HTTP/1.1 200 OK"),
    (b"GET /none#/prompt HTTP/1.1\r\n" + HOST + b"\r\n", "HTTP/1.1 404 Not Found"),
    (b"GET /prompt?" + b"q" * 8100 + b" HTTP/1.1\r\n" + HOST + b"\r\n", "HTTP/1.1 200 OK"),
    (b"GET /prompt?" + LONG + b" HTTP/1.1\r\n" + HOST + b"\r\n", "HTTP/1.0 400 Bad Request"),
    (b"GET /prompt HTTP/1.1\r\n" + HOST + b"X-Long: " + b"a" * 8100 + b"\r\n\r\n", "HTTP/1.1 200 OK"),
    (b"GET /prompt HTTP/1.1\r\n" + HOST + b"X-Long: " + LONG + b"\r\n\r\n", "HTTP/1.0 400 Bad Request"),
    (b"POST /interrupt HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     "HTTP/1.0 400 Bad Request"),
    (b"POST /interrupt HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
     "HTTP/1.0 400 Bad Request"),
    (b"POST /interrupt HTTP/1.1\r\n" + HOST + b"Content-Length: +2\r\n\r\n{}", "HTTP/1.0 400 Bad Request"),
    (b"POST /interrupt HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
     "HTTP/1.1 200 OK"),
    (b"POST /interrupt HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
     "HTTP/1.1 100 Continue"),
    (b"POST /interrupt HTTP/1.1\r\n" + HOST + b"Expect: tea\r\nContent-Length: 2\r\n\r\n{}",
     "HTTP/1.1 417 Expectation Failed"),
    (b"GET /prompt HTTP/1.1\r\n" + HOST + b"X-Fold: a\r\n b\r\n\r\n", "HTTP/1.0 400 Bad Request"),
    (b"GET /prompt HTTP/1.1\r\n" + HOST + b"X Space: a\r\n\r\n", "HTTP/1.0 400 Bad Request"),
    (b"GET /prompt HTTP/2.0\r\n" + HOST + b"\r\n", "HTTP/2.0 200 OK"),
    (b"\x16\x03\x01\x00\xa5\x01\x00\x00", "HTTP/1.0 400 Bad Request"),
]


@pytest.mark.parametrize("sent,first_line", RAW)
def test_raw_request(comfy, sent, first_line):
    assert comfy.raw(sent, 0.5).split(b"\r\n")[0].decode() == first_line


@pytest.mark.parametrize("target", ["/upload/image", "/api/userdata/big.bin"])
def test_too_large_a_body_is_refused_while_it_still_comes(comfy, target):
    body, kind = form({}, "big.png", b"b" * (1 << 20))
    head = f"POST {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {1 << 30}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", comfy.port), 10) as wire:
        wire.sendall(head.encode() + body[: (1 << 20) + 100])
        answer = wire.recv(65536).decode()
    assert answer.startswith("HTTP/1.1 413 ") and "text/plain" in answer
    assert "Maximum request body size 1048576 exceeded" in answer
    assert not (comfy.base / "input/big.png").exists()


UPLOADS = [  # fields, file name, content, status, the name it got, where it lies
    ({}, "a.png", b"one", 200, "a.png", "input/a.png"),
    ({}, "a.png", b"one", 200, "a.png", "input/a.png"),
    ({}, "a.png", b"two", 200, "a (1).png", "input/a (1).png"),
    ({"overwrite": "true"}, "a.png", b"three", 200, "a.png", "input/a.png"),
    ({"subfolder": "sub/deep"}, "b.png", b"four", 200, "b.png", "input/sub/deep/b.png"),
    ({"type": "temp"}, "c.png", b"five", 200, "c.png", "temp/c.png"),
    ({"type": "output"}, "d.png", b"six", 200, "d.png", "output/d.png"),
    ({"subfolder": "../.."}, "e.png", b"no", 400, None, None),
    ({"type": "input"}, None, b"", 400, None, None),
    # An image without a file name, and a folder that there is not: answered by a crash of the handler.
    ({}, "", b"no", 500, None, None),
    ({"type": "secret"}, "f.png", b"no", 500, None, None),
]


def test_uploads(comfy):
    for fields, name, content, status, got_name, place in UPLOADS:
        body, kind = form(fields, name, content)
        got, _, answer = comfy.ask("POST", "/api/upload/image", body, Content_Type=kind)
        assert got == status, (fields, name)
        if status == 200:
            expected = {"name": got_name, "subfolder": fields.get("subfolder", ""), "type": fields.get("type", "input")}
            assert json.loads(answer) == expected
            assert (comfy.base / place).read_bytes() == content


def test_view_serves_ranges_and_conditions(comfy):
    (comfy.base / "input/v.bin").write_bytes(bytes(range(100)))
    target = "/view?filename=v.bin&type=input"
    status, headers, body = comfy.ask("GET", target)
    assert (status, len(body), headers["Accept-Ranges"]) == (200, 100, "bytes")
    assert headers["Content-Disposition"] == 'filename="v.bin"'
    assert comfy.ask("GET", target, Range="bytes=10-19")[2] == bytes(range(10, 20))
    assert comfy.ask("GET", target, Range="bytes=10-19")[1]["Content-Range"] == "bytes 10-19/100"
    assert comfy.ask("GET", target, Range="bytes=-5")[2] == bytes(range(95, 100))
    assert comfy.ask("GET", target, Range="bytes=200-")[0] == 416
    assert comfy.ask("GET", target, If_None_Match=headers["ETag"])[0] == 304
    assert comfy.ask("GET", target, If_Modified_Since=headers["Last-Modified"])[0] == 304
    status, head, body = comfy.ask("HEAD", target)
    assert (status, head["Content-Length"], body) == (200, "100", b"")


def test_view_shows_no_page_but_scripts(comfy):
    kinds = {"x.html": "application/octet-stream", "x.css": "application/octet-stream", "x.svg": "image/svg+xml",
             "x.js": "application/javascript; charset=utf-8", "x.webp": "image/webp", "x.json": "application/json"}
    for name, kind in kinds.items():
        (comfy.base / "input" / name).write_text("active")
        assert comfy.ask("GET", f"/view?filename={name}&type=input")[1]["Content-Type"] == kind


def test_userdata_decodes_twice_and_stays_inside(comfy):
    workflow = "/api/userdata/workflows%2Fone.json"
    assert comfy.json("POST", workflow, {"a": 1}) == "workflows/one.json"
    assert comfy.json("GET", workflow) == {"a": 1}
    assert comfy.json("GET", "/userdata/workflows%252Fone.json") == {"a": 1}
    assert comfy.json("POST", f"{workflow}?overwrite=false", {}) == 409
    assert set(comfy.json("POST", f"{workflow}?full_info=true", {"a": 2})) == {"path", "size", "modified", "created"}
    assert comfy.json("POST", f"{workflow}/move/workflows%2Ftwo.json") == "workflows/two.json"
    assert comfy.json("GET", "/userdata?dir=workflows") == ["two.json"]
    assert comfy.json("GET", "/userdata?dir=workflows&split=true") == [["two.json", "two.json"]]
    assert [entry["name"] for entry in comfy.json("GET", "/v2/userdata?path=workflows")] == ["two.json"]
    assert comfy.json("DELETE", "/userdata/workflows%2Ftwo.json") == 204
    for outside in ("..%2F..%2Fx", "%252e%252e%252fx", "%2Fetc%2Fpasswd"):
        assert comfy.json("GET", f"/userdata/{outside}") == 403


def test_a_private_picture_is_marked_public_by_its_ending(comfy):
    comfy.ask("POST", "/api/userdata/pic.png", b"png")
    assert comfy.ask("GET", "/api/userdata/pic.png")[1]["Cache-Control"] == "public, max-age=86400"
    assert comfy.ask("GET", "/api/userdata/none.png")[1]["Cache-Control"] == "public, max-age=3600"
    assert comfy.ask("GET", "/history/x.js")[1]["Cache-Control"] == "no-cache"


def test_settings_are_kept(comfy):
    assert comfy.json("POST", "/settings", {"one": 1}) == 200
    assert comfy.json("POST", "/api/settings/two", [2]) == 200
    assert comfy.json("GET", "/settings") == {"one": 1, "two": [2]}
    assert comfy.json("GET", "/settings/two") == [2]
    assert json.loads((comfy.base / "user/default/comfy.settings.json").read_text()) == {"one": 1, "two": [2]}


def test_system_stats_have_the_known_shape(comfy):
    stats = comfy.json("GET", "/system_stats")
    device = stats["devices"][0]
    assert (device["name"], device["type"], device["index"]) == ("cpu", "cpu", None)
    assert device["vram_total"] == stats["system"]["ram_total"] > device["vram_free"] > 0
    assert stats["system"]["argv"][0] == "main.py"
    assert comfy.json("GET", "/features") == {"supports_preview_metadata": True, "max_upload_size": 1 << 20}


def test_front_end_is_the_real_one(comfy):
    page = comfy.ask("GET", "/")[2].decode()
    assert 'href="api/userdata/user.css"' in page
    script = page.split('<script type="module" crossorigin src="./')[1].split('"')[0]
    status, headers, _ = comfy.ask("GET", f"/{script}")
    assert (status, headers["Cache-Control"]) == (200, "no-cache")
    assert headers["Content-Type"] == "application/javascript"


def test_model_folders_are_where_comfyui_looks(comfy):
    shown = comfy.json("GET", "/internal/folder_paths")
    near = {kind: [path.removeprefix(f"{comfy.base}/") for path in paths] for kind, paths in shown.items()}
    assert near["text_encoders"] == ["models/text_encoders", "models/clip", "output/clip"]
    assert near["diffusion_models"] == ["models/unet", "models/diffusion_models", "output/diffusion_models"]
    assert near["embeddings"] == ["models/embeddings"] and list(near) == comfy.json("GET", "/models")
    (comfy.base / "output/loras").mkdir(parents=True)
    (comfy.base / "output/loras/l.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    assert comfy.json("GET", "/models/loras") == ["l.safetensors"]
    found = comfy.json("GET", "/api/experiment/models/loras")
    assert [(entry["name"], entry["pathIndex"], entry["size"]) for entry in found] == [("l.safetensors", 1, 10)]
    assert comfy.ask("GET", "/view_metadata/loras?filename=l.safetensors")[0] == 404

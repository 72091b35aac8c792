"""The WebSocket's protocol and the queue's behaviour, measured on ComfyUI 0.3.64; runs on a real one as well."""

import asyncio
import io
import json
import struct
import time

import aiohttp
import pytest
from comfyui_process import Comfy
from PIL import Image


@pytest.fixture(scope="module")
def comfy(tmp_path_factory):
    with Comfy(tmp_path_factory.mktemp("base")) as running:
        yield running


def picture(color: int, prefix: str = "check", output: str = "SaveImage") -> dict:
    shown = {"images": ["1", 0]} | ({"filename_prefix": prefix} if output == "SaveImage" else {})
    return {"1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 48, "batch_size": 1, "color": color}},
            "2": {"class_type": output, "inputs": shown}}


def sleep(seconds: float, steps: int = 10, **more) -> dict:
    return {"1": {"class_type": "Sleep", "inputs": {"seconds": seconds, "steps": steps, **more}}}


def listen(comfy, client: str, body: dict, until: str = "execution_success", first: dict | None = None) -> list:
    """Runs a prompt and gives all that its client hears, text parsed, up to the final `executing` or `until`."""
    async def run() -> list:
        heard = []
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(f"http://127.0.0.1:{comfy.port}/ws?clientId={client}") as socket:
                if first:
                    await socket.send_json(first)
                url = f"http://127.0.0.1:{comfy.port}/prompt"
                async with session.post(url, json={"client_id": client, **body}) as answer:
                    assert answer.status == 200
                while True:
                    message = await socket.receive(30)
                    text = message.type is aiohttp.WSMsgType.TEXT
                    heard.append(json.loads(message.data) if text else message.data)
                    if text and heard[-1]["type"] == "executing" and heard[-1]["data"]["node"] is None:
                        return heard

    heard = asyncio.run(run())
    assert any(isinstance(part, dict) and part["type"] == until for part in heard)
    return heard


def kinds(heard: list) -> list:
    return [part["type"] if isinstance(part, dict) else "binary" for part in heard]


def until(condition, limit_s: float = 20) -> None:
    ends = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < ends, "it did not happen in time"
        time.sleep(0.05)


def test_a_picture_is_made_and_every_step_is_told(comfy):
    heard = listen(comfy, "maker", {"prompt": picture(0x0000FF), "prompt_id": "mine.json"})
    assert heard[0]["data"] == {"status": {"exec_info": {"queue_remaining": 0}}, "sid": "maker"}
    assert kinds(heard) == ["status", "status", "status", "execution_start", "execution_cached", "progress_state",
                            "executing", "progress_state", "progress_state", "executing", "executed",
                            "progress_state", "execution_success", "status", "executing"]
    shown = next(part for part in heard if part["type"] == "executed")["data"]
    assert shown["output"]["images"] == [{"filename": "check_00001_.png", "subfolder": "", "type": "output"}]
    body = comfy.ask("GET", "/view?filename=check_00001_.png")[2]
    made = Image.open(io.BytesIO(body))
    assert (made.size, made.getpixel((0, 0))) == ((64, 48), (0, 0, 255))
    assert json.loads(made.text["prompt"]) == picture(0x0000FF)
    entry = comfy.json("GET", "/history/mine.json")["mine.json"]
    assert entry["status"]["status_str"] == "success" and entry["outputs"]["2"] == shown["output"]


def test_the_same_again_is_answered_from_memory(comfy):
    listen(comfy, "again", {"prompt": picture(1, "again")})
    heard = listen(comfy, "again", {"prompt": picture(1, "again")})
    cached = next(part for part in heard if part["type"] == "execution_cached")
    assert cached["data"]["nodes"] == ["1", "2"]
    assert kinds(heard).count("executed") == 1
    heard = listen(comfy, "again", {"prompt": picture(1, output="PreviewImage")})
    assert next(part for part in heard if part["type"] == "execution_cached")["data"]["nodes"] == ["1"]
    assert next(part for part in heard if part["type"] == "executed")["data"]["output"]["images"][0]["type"] == "temp"


def test_a_failing_node_is_told_and_kept(comfy):
    prompt = {"1": {"class_type": "Fail", "inputs": {"message": "on purpose"}}}
    heard = listen(comfy, "failer", {"prompt": prompt, "prompt_id": "fails"}, until="execution_error")
    told = next(part for part in heard if part["type"] == "execution_error")["data"]
    assert (told["node_id"], told["exception_type"]) == ("1", "RuntimeError")
    assert told["exception_message"].strip() == "on purpose"
    assert comfy.json("GET", "/history/fails")["fails"]["status"]["status_str"] == "error"


FLAGS = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}


@pytest.mark.parametrize("first,kind", [(None, 1), (FLAGS, 4), ({"type": "else"}, 1)])
def test_previews_have_the_form_that_the_client_asked_for(comfy, first, kind):
    heard = listen(comfy, f"viewer{kind}", {"prompt": sleep(0.3 + time.time() % 0.1, 2, preview=True)}, first=first)
    frames = [part for part in heard if isinstance(part, bytes)]
    assert len(frames) == 2 and kinds(heard).count("progress") == 2
    number, second = struct.unpack(">II", frames[0][:8])
    assert number == kind
    if kind == 1:
        assert second == 1 and frames[0][8:10] == b"\xff\xd8"
    else:
        assert json.loads(frames[0][8:8 + second])["image_type"] == "image/jpeg"
        assert frames[0][8 + second:10 + second] == b"\xff\xd8"
    assert ("feature_flags" in kinds(heard)) == (kind == 4)


def test_interrupt_stops_only_the_named_one_or_whatever_runs(comfy):
    for number, data in enumerate(({"prompt_id": "other"}, {"prompt_id": "stop1"}, None)):
        if number != 1:
            comfy.json("POST", "/prompt", {"prompt": sleep(30 + number, 600), "prompt_id": f"stop{number or 1}"})
            until(lambda: comfy.json("GET", "/queue")["queue_running"])
        assert comfy.json("POST", "/interrupt", data) == 200
        if number == 0:
            time.sleep(0.5)
            assert comfy.json("GET", "/queue")["queue_running"]
        else:
            until(lambda: not comfy.json("GET", "/queue")["queue_running"], 5)
    messages = comfy.json("GET", "/history/stop2")["stop2"]["status"]["messages"]
    assert messages[-1][0] == "execution_interrupted"


def test_the_queue_keeps_its_order_and_forgets_what_is_deleted(comfy):
    comfy.json("POST", "/prompt", {"prompt": sleep(31, 600), "prompt_id": "runs"})
    until(lambda: comfy.json("GET", "/queue")["queue_running"])
    for name, more in (("q1", {}), ("q2", {}), ("q3", {"front": True}), ("q4", {"number": -0.5})):
        secret = {"api_key_comfy_org": "token"}
        comfy.json("POST", "/prompt", {"prompt": picture(2), "prompt_id": name, "extra_data": secret, **more})
    assert comfy.json("GET", "/prompt") == {"exec_info": {"queue_remaining": 5}}
    pending = comfy.json("GET", "/queue")["queue_pending"]
    assert [item[1] for item in sorted(pending, key=lambda item: item[0])] == ["q3", "q4", "q1", "q2"]
    assert pending[0][3]["api_key_comfy_org"] == "token"
    comfy.json("POST", "/queue", {"delete": ["q1", "none"]})
    assert comfy.json("GET", "/prompt")["exec_info"]["queue_remaining"] == 4
    comfy.json("POST", "/interrupt")
    until(lambda: comfy.json("GET", "/prompt")["exec_info"]["queue_remaining"] == 0)
    assert list(comfy.json("GET", "/history?max_items=3")) == ["q3", "q4", "q2"]
    assert "api_key_comfy_org" not in comfy.json("GET", "/history/q3")["q3"]["prompt"][3]
    comfy.json("POST", "/history", {"delete": ["q3"]})
    assert comfy.json("GET", "/history/q3") == {}
    comfy.json("POST", "/prompt", {"prompt": sleep(32, 600)})
    comfy.json("POST", "/prompt", {"prompt": picture(3)})
    until(lambda: comfy.json("GET", "/queue")["queue_running"])
    comfy.json("POST", "/queue", {"clear": True})
    comfy.json("POST", "/interrupt")
    until(lambda: comfy.json("GET", "/prompt")["exec_info"]["queue_remaining"] == 0)
    assert comfy.json("POST", "/free", {"free_memory": True, "unload_models": True}) == 200


def node(kind: str, **inputs) -> dict:
    return {"class_type": kind, "inputs": inputs}


GOOD = picture(0)["1"]
REFUSED = [  # body, error type, {node: error types}
    ({}, "no_prompt", {}),
    ({"prompt": {}}, "prompt_no_outputs", {}),
    ({"prompt": {"1": {"inputs": {}}}}, "invalid_prompt", {}),
    ({"prompt": {"1": node("NoSuchNode")}}, "invalid_prompt", {}),
    ({"prompt": {"1": GOOD}}, "prompt_no_outputs", {}),
    ({"prompt": picture(0), "partial_execution_targets": ["1"]}, "prompt_no_outputs", {}),
    ({"prompt": {"1": GOOD, "2": node("SaveImage", images=["1", 0])}}, "prompt_outputs_failed_validation",
     {"2": ["required_input_missing"]}),
    ({"prompt": {"1": GOOD, "2": node("SaveImage", images=["1"], filename_prefix="x")}},
     "prompt_outputs_failed_validation", {"2": ["bad_linked_input"]}),
    ({"prompt": {"2": node("SaveImage", images=["9", 0], filename_prefix="x")}},
     "prompt_outputs_failed_validation", {"2": ["exception_during_validation"]}),
    ({"prompt": {"1": node("EmptyImage", width=0, height=99999, batch_size="x", color=1),
                 "2": picture(0)["2"]}}, "prompt_outputs_failed_validation",
     {"1": ["invalid_input_type", "value_bigger_than_max", "value_smaller_than_min"]}),
]


@pytest.mark.parametrize("body,kind,nodes", REFUSED)
def test_a_bad_prompt_is_refused_with_its_reason(comfy, body, kind, nodes):
    status, _, text = comfy.ask("POST", "/api/prompt", json.dumps(body).encode())
    answer = json.loads(text)
    assert (status, answer["error"]["type"], set(answer["error"])) == (
        400, kind, {"type", "message", "details", "extra_info"})
    reports = answer["node_errors"].items()
    assert {name: sorted(error["type"] for error in report["errors"]) for name, report in reports} == nodes


def test_json_that_is_none_crashes_the_handler(comfy):
    assert comfy.ask("POST", "/prompt", b"{not json")[0] == 500
    assert comfy.ask("POST", "/prompt")[0] == 500
    assert comfy.ask("POST", "/prompt", b"[]")[0] in (400, 500)


def test_one_id_has_one_socket_and_the_old_ones_end_takes_the_new_one_along(comfy):
    async def run() -> None:
        url = f"http://127.0.0.1:{comfy.port}"
        async with aiohttp.ClientSession() as session:
            old = await session.ws_connect(f"{url}/ws?clientId=twice")
            new = await session.ws_connect(f"{url}/api/ws?clientId=twice")
            await old.receive(5), await new.receive(5)
            await session.post(f"{url}/queue", json={"clear": True})
            assert (await new.receive(5)).json()["type"] == "status"
            with pytest.raises(asyncio.TimeoutError):
                await old.receive(0.5)
            await old.close()
            await session.post(f"{url}/queue", json={"clear": True})
            with pytest.raises(asyncio.TimeoutError):
                await new.receive(0.5)

    asyncio.run(run())


def test_without_an_id_one_is_made_and_four_mebibytes_are_the_limit(comfy):
    async def run() -> None:
        async with aiohttp.ClientSession() as session:
            socket = await session.ws_connect(f"http://127.0.0.1:{comfy.port}/ws", compress=15)
            assert len((await socket.receive(5)).json()["data"]["sid"]) == 32
            assert socket.compress
            await socket.send_str("x" * (4 << 20))
            with pytest.raises(asyncio.TimeoutError):
                await socket.receive(0.5)
            await socket.send_str("x" * (4 << 20) + "x")
            ended = await socket.receive(10)
            assert ended.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
            if ended.type is aiohttp.WSMsgType.CLOSE:
                assert ended.data == 1009

    asyncio.run(run())

"""A whole job through the guard with ComfyUI's own protocol: prompt, progress on the socket, the image by /view.

Runs on the stand-in, and on a real ComfyUI where COMFYUI_DIR and COMFYUI_PYTHON name one.
"""

import io
import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from harness import ws
from harness.guard import Guard

COLOR = 0x336699


def workflow(prefix: str, color: int = COLOR) -> dict:
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 48, "batch_size": 1, "color": color}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": prefix}},
    }


@pytest.fixture(scope="module")
def comfy():
    with Guard(may_use_real=True, within=300) as running:
        yield running


def run_job(guard, prefix: str, api: str, h2: bool, color: int = COLOR) -> tuple[list[dict], dict]:
    """Messages heard on the job's socket, and the history's entry."""
    client_id = uuid.uuid4().hex
    with ws.open_(guard, f"{api}/ws?clientId={client_id}", key=True) as socket:
        body = json.dumps({"prompt": workflow(prefix, color), "client_id": client_id}).encode()
        answer = guard.request("POST", f"{api}/prompt", content=body, headers={"Content-Type": "application/json"}, key=True, h2=h2)
        assert answer.status == 200, answer.body
        prompt_id, heard = answer.json()["prompt_id"], []
        while True:
            message = socket.recv(timeout=60)
            if isinstance(message, bytes):
                continue
            heard.append(json.loads(message))
            if heard[-1]["type"] == "executing" and heard[-1]["data"]["node"] is None and heard[-1]["data"]["prompt_id"] == prompt_id:
                break
    entry = guard.get(f"{api}/history/{prompt_id}", key=True, h2=h2).json()[prompt_id]
    return heard, entry


@pytest.mark.parametrize("api", ["", "/api"])
def test_job_runs_and_its_image_comes_back(comfy, h2, api):
    heard, entry = run_job(comfy, f"guarded-{h2}-{api.strip('/')}", api, h2)
    kinds = [message["type"] for message in heard]
    assert kinds[0] == "status" and {"execution_start", "executing", "executed"} <= set(kinds)
    (image,) = entry["outputs"]["2"]["images"]
    query = f"filename={image['filename']}&subfolder={image['subfolder']}&type={image['type']}"
    answer = comfy.get(f"{api}/view?{query}", key=True, h2=h2)
    assert answer.status == 200 and answer.headers["content-type"] == "image/png"
    picture = Image.open(io.BytesIO(answer.body))
    assert picture.size == (64, 48) and picture.convert("RGB").getpixel((5, 5)) == (0x33, 0x66, 0x99)
    assert comfy.get(f"{api}/view?{query}", h2=h2).status == 401


def test_ten_jobs_at_once_each_get_their_own_image(comfy):
    with ThreadPoolExecutor(10) as pool:
        done = list(pool.map(lambda number: run_job(comfy, f"many-{number}", "", False, color=number * 20), range(10)))
    for number, (_, entry) in enumerate(done):
        (image,) = entry["outputs"]["2"]["images"]
        assert image["filename"].startswith(f"many-{number}_")
        body = comfy.get(f"/view?filename={image['filename']}&type=output", key=True).body
        assert Image.open(io.BytesIO(body)).convert("RGB").getpixel((0, 0)) == (0, 0, number * 20)


def test_upload_is_found_again(comfy, h2):
    """The front end's way to bring an image: a multipart form."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (1, 2, 3)).save(buffer, "PNG")
    with comfy.client(h2) as client:
        sent = client.post("/upload/image", files={"image": ("brought.png", buffer.getvalue(), "image/png")}, data={"overwrite": "true"}, headers=comfy.bearer)
    assert sent.status_code == 200, sent.text
    assert comfy.get("/view?filename=brought.png&type=input", key=True, h2=h2).body == buffer.getvalue()


def test_job_without_a_key_does_not_run(comfy):
    body = json.dumps({"prompt": workflow("stolen"), "client_id": "x"}).encode()
    before = comfy.get("/history", key=True).json()
    for headers in ({}, {"Authorization": "Bearer x"}):
        for target in ("/prompt", "/api/prompt", "/prompt.json", "/prompt/x.js"):
            answer = comfy.request("POST", target, content=body, headers={"Content-Type": "application/json", **headers})
            assert answer.status == 401
    assert comfy.get("/history", key=True).json() == before

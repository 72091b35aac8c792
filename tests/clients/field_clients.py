"""Clients that people use do a whole job through the guard, each with the credential that it knows: Bearer, X-API-Key, Basic, token.

The clients are other people's packages as published, told only where to go, what the key is and which CA to trust.
"""

import asyncio
import json
import os
import subprocess
from pathlib import Path

import pytest
import requests
from comfy_api_simplified import ComfyApiWrapper
from comfyui_xy.client import ComfyUiClient

HERE = Path(__file__).parent
PNG = b"\x89PNG"


def workflow(prefix: str) -> dict:
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 32, "height": 32, "batch_size": 1, "color": 255}, "_meta": {"title": "Empty"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": prefix}, "_meta": {"title": "Save"}},
    }


def node(guard, script: str, *arguments: str) -> dict:
    env = {**os.environ, "NODE_EXTRA_CA_CERTS": str(guard.ca), "NO_PROXY": "*"}
    done = subprocess.run(["node", str(HERE / script), *arguments], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout.splitlines()[-1])


def seen_by_comfyui(guard, mark: int) -> set[str]:
    seen = guard.upstream.since(mark)
    assert guard.key not in str(seen)
    return {one.handler for one in seen}


@pytest.mark.parametrize("form", ["bearer", "x-api-key", "basic"])
def test_saintno_sdk_by_header_on_calls_and_socket(guard, form):
    mark = guard.upstream.mark()
    told = node(guard, "saintno.mjs", guard.url, form, guard.key, f"saintno-{form}")
    assert told["socket"] and told["magic"] == "PNG" and told["length"] > 60
    assert {"GET /ws", "POST /prompt", "GET /view"} <= seen_by_comfyui(guard, mark)


def test_stable_canvas_client_by_its_token_plugin(guard):
    mark = guard.upstream.mark()
    told = node(guard, "stable_canvas.mjs", guard.url, guard.key, "canvas")
    assert told["socket"] and told["magic"] == "PNG" and told["length"] > 60
    assert {"GET /ws", "POST /prompt", "GET /view"} <= seen_by_comfyui(guard, mark)


def test_comfy_api_simplified_by_basic(guard, monkeypatch):
    """It sends Basic on calls and as userinfo in the socket's URL."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(guard.ca))
    monkeypatch.setenv("SSL_CERT_FILE", str(guard.ca))
    monkeypatch.setenv("NO_PROXY", "*")
    api, mark = ComfyApiWrapper(guard.url, "guest", guard.key), guard.upstream.mark()
    prompt_id, _ = asyncio.run(api.queue_prompt_and_wait(workflow("simplified")))
    (image,) = api.get_history(prompt_id)[prompt_id]["outputs"]["2"]["images"]
    assert api.get_image(image["filename"], image["subfolder"], image["type"]).startswith(PNG)
    assert {"GET /ws", "POST /prompt", "GET /view"} <= seen_by_comfyui(guard, mark)


def test_comfyui_xy_by_x_api_key(guard):
    session = requests.Session()
    session.trust_env, session.verify = False, str(guard.ca)
    session.headers["X-API-Key"] = guard.key
    mark = guard.upstream.mark()
    client = ComfyUiClient(guard.url, session=session, raise_on_error=True)
    outputs = client.wait_for_execution(client.queue_prompt(workflow("xy")), check_interval=0.1, timeout=20)
    (image,) = outputs["2"]["images"]
    assert client.get_image(image["filename"], image["subfolder"], image["type"]).startswith(PNG)
    assert {"POST /prompt", "GET /history/{prompt_id}", "GET /view"} <= seen_by_comfyui(guard, mark)


def test_requests_by_userinfo_in_the_url(guard):
    """What `https://guest:KEY@host/` and a .netrc become: Basic."""
    url = guard.url.replace("https://", f"https://guest:{guard.key}@")
    assert requests.get(url + "/queue", verify=str(guard.ca), timeout=10).status_code == 200
    assert requests.get(url.replace(guard.key, "wrong") + "/queue", verify=str(guard.ca), timeout=10).status_code == 401


@pytest.mark.parametrize("form", ["bearer", "basic"])
def test_client_with_a_wrong_key_does_no_job(guard, form):
    mark = guard.upstream.mark()
    env = {**os.environ, "NODE_EXTRA_CA_CERTS": str(guard.ca)}
    line = ["timeout", "5", "node", str(HERE / "saintno.mjs"), guard.url, form, "0" * 64, "wrong"]
    assert subprocess.run(line, env=env, capture_output=True, timeout=30).returncode != 0
    assert guard.upstream.since(mark) == []

"""The user's guide to API keys, its examples run as they stand there; only host, port and the trust in our CA are added.

The promise of api-authentication-guide: a client written from the guide works against comfy-guard.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from harness import places, procs
from harness.guard import Guard, strong_key
from harness.wait import until

CURL = {
    "bearer": 'curl -H "Authorization: Bearer your-api-key" http://127.0.0.1:8188/prompt',
    "x-api-key": 'curl -H "X-API-Key: your-api-key" http://127.0.0.1:8188/prompt',
    "query": 'curl "http://127.0.0.1:8188/prompt?api_key=your-api-key"',
    "health": "curl http://127.0.0.1:8188/health",
}

PYTHON = '''
import requests

API_KEY = "your-api-key"
BASE_URL = "http://127.0.0.1:8188"

# Using Bearer token
headers = {"Authorization": f"Bearer {API_KEY}"}
response = requests.get(f"{BASE_URL}/queue", headers=headers)
ANSWER(response)

# Using X-API-Key header
headers = {"X-API-Key": API_KEY}
response = requests.get(f"{BASE_URL}/queue", headers=headers)
ANSWER(response)

# Using query parameter
response = requests.get(f"{BASE_URL}/queue?api_key={API_KEY}")
ANSWER(response)
'''

JAVASCRIPT = """
const API_KEY = "your-api-key";
const BASE_URL = "http://127.0.0.1:8188";

// Using Bearer token
fetch(`${BASE_URL}/queue`, {
  headers: {
    "Authorization": `Bearer ${API_KEY}`
  }
})
.then(response => response.json())
.then(data => console.log(data));
"""

KEYS = {
    "hex": lambda: None,
    "openssl rand -base64 32": lambda: subprocess.run(["openssl", "rand", "-base64", "32"], capture_output=True, text=True, check=True).stdout.strip(),
    "base64 with plus and slash": lambda: "a+b/c+d/ZZ0123456789abcdefghijklmnopqr+/TUV=",
}


@pytest.fixture(scope="module", params=KEYS)
def guided(request):
    key = KEYS[request.param]()
    with Guard(**({"key": key} if key else {})) as running:
        yield running


def written_for(example: str, guard) -> str:
    return example.replace("http://127.0.0.1:8188", guard.url).replace("your-api-key", guard.key)


def trusting(guard) -> dict[str, str]:
    ca = str(guard.ca)
    return {**os.environ, "CURL_CA_BUNDLE": ca, "REQUESTS_CA_BUNDLE": ca, "NODE_EXTRA_CA_CERTS": ca, "NO_PROXY": "*", "no_proxy": "*"}


def run(line, guard, **more) -> str:
    done = subprocess.run(line, env=trusting(guard), capture_output=True, text=True, timeout=30, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("example", CURL)
def test_curl(guided, example):
    text = run(written_for(CURL[example], guided), guided, shell=True)
    expected = '"status"' if example == "health" else '{"exec_info": {"queue_remaining": 0}}'
    assert expected in text


def test_python(guided):
    script = written_for(PYTHON, guided)
    checked = "def ANSWER(response):\n    assert response.status_code == 200, response.text\n    print(sorted(response.json()))\n" + script
    assert run([sys.executable, "-c", checked], guided).splitlines() == ["['queue_pending', 'queue_running']"] * 3


def test_javascript(guided):
    assert re.search(r"queue_running: \[\]", run(["node", "-e", written_for(JAVASCRIPT, guided)], guided))


def test_key_from_a_file_as_the_guide_makes_it(fresh):
    """`echo KEY > api_key.txt`: the newline at the end is not part of the key."""
    running = fresh(key=None, wait="answers")
    plain, running.key = running.dir / "api_key.txt", strong_key()
    subprocess.run(f'echo "{running.key}" > {plain}; chmod 600 {plain}', shell=True, check=True)
    done = running.run_command("set-key", "--from-file", str(plain))
    assert done.returncode == 0, done.stderr
    until(lambda: running.get("/queue", key=True).status == 200, 5, "the key from the file is in force")


def test_key_from_the_environment_as_the_guide_exports_it(fresh):
    running = fresh(key=None, wait="answers")
    running.key = strong_key()
    done = running.run_command("set-key", "--from-env", "COMFYUI_API_KEY", env={"COMFYUI_API_KEY": running.key})
    assert done.returncode == 0, done.stderr
    until(lambda: running.get("/queue", key=True).status == 200, 5, "the key from the environment is in force")


@pytest.mark.parametrize("how", ["environment", "argument", "file"])
def test_run_takes_the_key_by_the_guides_names(fresh, how):
    """`run --api-key`, `--api-key-file` and COMFYUI_API_KEY; the first warns that other users can read it."""
    key = strong_key()
    if how == "environment":
        running = fresh(key=None, env={"COMFYUI_API_KEY": key})
    elif how == "argument":
        running = fresh(key=None, arguments=["--api-key", key])
        running.until_log("list of processes")
    else:
        folder = Path(tempfile.mkdtemp(prefix="comfy-guard-test-"))
        folder.chmod(0o755)
        path = folder / "key.txt"
        path.write_text(key + "\n")
        path.chmod(0o600)
        if places.AS_ROOT:
            shutil.chown(path, places.SERVICE_USER, places.SERVICE_USER)
        running = fresh(key=None, arguments=["--api-key-file", str(path)])
    running.key = key
    assert running.get("/queue", key=True).status == 200
    assert running.get("/queue").status == 401
    for pid in running.pids().values():
        if pid != running.process.pid:
            assert not places.AS_ROOT or "COMFYUI_API_KEY" not in procs.environment(pid)
            assert key not in procs.command(pid)

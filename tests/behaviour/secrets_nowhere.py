"""After a day's worth of every kind of use, the key is in no log, no process, no file of ComfyUI and no answer.

Pitfalls P16 (secret in logs, argv, stdout, Referer, upstream) and P10 (the stored hash logged).
"""

import base64
import os
import signal
from urllib.parse import quote

import pytest

from harness import procs
from harness.guard import strong_key
from harness.wait import until


def traces(guard) -> dict[str, bytes]:
    """Every form in which the key could turn up."""
    phc = guard.key_file.read_text().strip()
    forms = {
        "the key": guard.key, "the hash": phc, "salt": phc.split("$")[-2], "digest": phc.split("$")[-1],
        "the key in base64": base64.b64encode(guard.key.encode()).decode(), "basic": base64.b64encode(f"guest:{guard.key}".encode()).decode(),
        "the key escaped": "".join(f"%{ord(sign):02X}" for sign in guard.key), "half of the key": guard.key[: len(guard.key) // 2],
        "the hash escaped": quote(phc, safe=""),
    }
    return {name: text.encode() for name, text in forms.items()}


def use(guard) -> None:
    key, basic = guard.key, base64.b64encode(f"guest:{guard.key}".encode()).decode()
    forms = [({"Authorization": f"Bearer {key}"}, ""), ({"X-API-Key": key}, ""), ({}, f"?api_key={key}"), ({}, f"?token={key}"),
             ({"Authorization": f"Basic {basic}"}, ""), ({"Authorization": f"Bearer {key}", "X-API-Key": "wrong"}, ""),
             ({}, "?api_key=" + "".join(f"%{ord(sign):02X}" for sign in key)), ({}, f"?api_key={key}&api_key=wrong"),
             ({"Referer": f"https://localhost/?api_key={key}"}, f"?api_key={key}")]
    for headers, query in forms:
        for target in ("/queue", "/health", "/no/such/place", "/assets/no.js", "/view", "/api/userdata/x%2Fy.json", "/bro%zzken"):
            for h2 in (False, True):
                guard.get(target + query, headers=headers, h2=h2)
        guard.request("POST", "/prompt" + query, headers=headers, content=b"{}")
    # A credential in a wrong place, and requests that are refused while they are parsed.
    for text in (f"GET /queue?api_key={key} HTTP/1.1\r\n\r\n", f"GET /queue?api_key={key} HTTP/9.9\r\nHost: x\r\n\r\n",
                 f"GET /{key}%zz HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n X\r\n\r\n"):
        with guard.raw() as wire:
            wire.send(text)
            try:
                wire.answer()
            except Exception:
                continue


@pytest.mark.parametrize("log", [{}, {"level": "trace", "access": True}], ids=["usual log", "log of everything"])
def test_key_and_hash_are_nowhere(fresh, log):
    running = fresh(config={"log": log} if log else {})
    use(running)
    # Deaths and failures are where a careless log line comes from.
    os.kill(running.pids()["comfyui"], signal.SIGKILL)
    until(lambda: not running.healthy(), 5, "ComfyUI is gone")
    use(running)
    until(running.healthy, 20, "ComfyUI is back")
    os.kill(running.pids()["gateway"], signal.SIGKILL)
    until(running.healthy, 5, "the gateway is back")
    use(running)
    places = {"log": running.log_file.read_bytes(), "ComfyUI's record": running.upstream.record_file.read_bytes()}
    for line in running.notify.gather():
        places["notify"] = places.get("notify", b"") + line.encode()
    for role, pid in running.pids().items():
        places[f"command line of {role}"] = procs.read(pid, "cmdline")
        places[f"environment of {role}"] = procs.read(pid, "environ")
    for path in (running.dir / "out").rglob("*"):
        if path.is_file():
            places[str(path)] = path.read_bytes()
    for path in (running.dir / "state").rglob("*"):
        if path.is_file():
            places[str(path)] = path.read_bytes()
    found = [(place, form) for place, data in places.items() for form, text in traces(running).items() if text in data]
    assert found == [], [line[:300] for line in places["log"].splitlines() for form, text in traces(running).items() if text in line][:5]


def test_answers_repeat_no_credential(guard):
    """Neither a refusal, nor an error page, nor a redirect carries what was sent."""
    for headers, query in (({"Authorization": f"Bearer {guard.key}x"}, ""), ({}, f"?api_key={guard.key}x"), ({}, f"?token={guard.key}x")):
        for target in ("/queue", "/", "/health", "/bro%zzken", "/auth_login.html"):
            for accept in ("application/json", "text/html"):
                answer = guard.get(target + query, headers={**headers, "Accept": accept})
                assert guard.key.encode() not in answer.body
                assert not [value for value in answer.headers.values() if guard.key in value]


def test_environment_key_does_not_stay_in_the_supervisor(fresh):
    """COMFYUI_API_KEY is hashed in memory and wiped: nobody reads it from /proc afterwards, nor finds it in a child."""
    key = strong_key()
    running = fresh(key=None, env={"COMFYUI_API_KEY": key})
    running.key = key
    assert running.get("/queue", key=True).status == 200
    for role, pid in running.pids().items():
        if role != "supervisor":
            assert key.encode() not in procs.read(pid, "environ"), role
    answer = running.get("/_standin/env", key=True)
    assert key.encode() not in answer.body

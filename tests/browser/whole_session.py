"""A person signs in with the real front end, works and reloads: nothing is refused, nothing is red in the console, the key is nowhere.

Pitfalls P16, P23 and P29.
"""

import re
import urllib.error
import urllib.request

import pytest

from harness import places

# What a front end's own code writes in red, also straight at ComfyUI: `test_own_errors_come_without_a_guard_too` sees each there.
OWN_ERRORS = {
    # Its set-up reads the id of a template that a fresh user has not chosen.
    "1.27.10": [r"TypeError: Cannot read properties of undefined \(reading 'id'\)"],
    # It asks for /api/jobs, which the ComfyUI 0.3.64 that the stand-in is did not have.
    "newer": [r"\[Jobs API\] Error fetching jobs: JobsApiError: Failed to fetch jobs: 404", "Failed to fetch queue: JobsApiError: Failed to fetch jobs: 404"],
}
NO_NETWORK = r"Failed to load resource: net::ERR_NAME_NOT_RESOLVED \[https://(api|docs)\.comfy\.org/"
NOT_THERE = r"Failed to load resource: the server responded with a status of 404 \(.*\) \[https?://[^/]+(/.*)\]"


def arguments(version: str) -> list[str]:
    folder = places.standin()[1].parents[1] / "newer-front-end/comfyui_frontend_package/static"
    return [] if version == "1.27.10" else ["--front-end-root", str(folder)]


def is_missing_upstream(guard, path: str) -> bool:
    """Whether ComfyUI itself has nothing there: a fresh user's style sheet, an icon that the package lacks."""
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(guard.upstream.url + path, timeout=10).close()
    except urllib.error.HTTPError as error:
        return error.code == 404
    return False


def of_our_making(guard, errors: list[str], version: str) -> list[str]:
    """The red lines that ComfyUI without a guard would not have brought about."""
    rest = [one for one in errors if not re.match(NO_NETWORK, one) and not any(re.match(own, one) for own in OWN_ERRORS[version])]
    return [one for one in rest if not ((found := re.match(NOT_THERE, one)) and is_missing_upstream(guard, found[1]))]


@pytest.fixture(params=["1.27.10", "newer"])
def version(request):
    return request.param


@pytest.mark.parametrize("remember", [False, True], ids=["for now", "remembered"])
def test_whole_session_is_never_refused(fresh, profile, version, remember):
    guard = fresh(comfyui_arguments=arguments(version))
    seen = profile(guard).run("session", remember=remember, panel=version == "1.27.10")
    found = seen["found"]
    assert seen["refused"] == []
    assert of_our_making(guard, seen["errors"], version) == []
    assert found["landed"] == found["reloaded"] == guard.url + "/"
    # The socket is ComfyUI's own: it told of the job and sent the previews.
    assert any({"executing", "executed"} <= set(one["kinds"]) and one["binaries"] for one in seen["sockets"]), seen["sockets"]
    assert {"execution_start", "executed", "execution_success"} <= set(found["job"]["events"])
    assert {"progress", "progress_state"} & set(found["job"]["events"])
    assert found["job"]["preview"] == 256
    assert found["job"]["output"] == found["job"]["temporary"] == 64
    assert found["upload"] == [200, 20]
    if version == "1.27.10":
        assert found["panel"] > 0
    key_is_nowhere(guard, seen)
    name, holder, other = found["name"], *(("local", "session") if remember else ("session", "local"))
    for kept in (found["kept"], found["after"]):
        assert re.fullmatch("[0-9a-f]{64}", kept[holder]["comfyui_api_key"]) and name not in kept[other]
        assert name == "comfyui_api_key" and kept["cookie"] == ""
    (cookie,) = [one for one in found["cookies"] if one["name"] == "__Host-comfyui_session"]
    assert cookie["httpOnly"] and cookie["secure"] and cookie["sameSite"] == "Lax" and cookie["path"] == "/"
    assert (cookie["expires"] > 0) == remember


def key_is_nowhere(guard, seen) -> None:
    """But in the body of the one call that signs in, which no request's record here holds."""
    assert guard.key not in str(seen)
    assert guard.key not in guard.upstream.raw_record()
    assert guard.key not in guard.log()
    token = seen["found"]["kept"]["local"].get("comfyui_api_key") or seen["found"]["kept"]["session"]["comfyui_api_key"]
    cookie = next(one["value"] for one in seen["found"]["cookies"] if one["name"].startswith("__Host-"))
    upstream = guard.upstream.raw_record()
    assert "POST /api/prompt" in upstream and token not in upstream and cookie not in upstream
    referers = [one["headers"].get("referer", "") for one in seen["requests"]]
    assert any(referers) and not any("api_key" in one or "token" in one for one in referers)
    assert not any(token in one["url"] or cookie in one["url"] for one in seen["requests"])


def test_own_errors_come_without_a_guard_too(fresh, profile, version):
    guard = fresh(comfyui_arguments=arguments(version))
    seen = profile(guard).run("session", origin=guard.upstream.url, key="", panel=version == "1.27.10")
    assert [own for own in OWN_ERRORS[version] if not any(re.match(own, one) for one in seen["errors"])] == []
    assert of_our_making(guard, seen["errors"], version) == []

"""The guard's own pages for people: on a phone and a desk, by day and by night, in four languages, with and without JavaScript.

The pictures are for eyes: COMFY_GUARD_PICTURES names a folder that keeps them.
"""

import os
from pathlib import Path

import pytest

from harness.guard import Guard

PLACES = [
    ("login", "/auth_login.html"), ("root", "/"), ("wrong", "/auth_login.html?error=wrong&next=%2Fqueue"), ("busy", "/auth_login.html?error=busy"),
    ("cross_site", "/auth_login.html?error=cross_site"), ("expired", "/auth_login.html?error=expired"),
    ("signed_out", "/auth_login.html?signed_out=true"), ("logout", "/auth_login.html?logout=true"), ("refusal", "/%zz"),
]
SIZES = {"phone": {"width": 360, "height": 640}, "desk": {"width": 1440, "height": 900}}
LANGUAGES = {"en": "en-US", "zh-CN": "zh-CN", "ja": "ja-JP", "ko": "ko-KR"}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    kept = os.environ.get("COMFY_GUARD_PICTURES")
    return Path(kept) if kept else tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def guard():
    with Guard() as running:
        yield running


@pytest.fixture(scope="module")
def away():
    """A guard whose ComfyUI takes its time to start."""
    with Guard(comfyui_arguments=["--start-delay", "100"], wait="answers") as running:
        yield running


def look(profile, guard, pictures, places, size, scheme, language, scripted=True, enter=False) -> dict:
    mark = ".".join([language, scheme, size] + ([] if scripted else ["plain"]))
    browser = {"viewport": SIZES[size], "colorScheme": scheme, "locale": LANGUAGES[language], "javaScriptEnabled": scripted, "reducedMotion": "reduce"}
    seen = profile(guard).run("pages", places=places, pictures=str(pictures), mark=mark, browser=browser, enter=enter)
    for name, found in seen["found"].items():
        assert found["language"] == language, name
        assert not found["tooWide"], name
        assert found["title"] and found["text"].strip(), name
        if scripted:
            assert found["audit"]["violations"] == [], name
            assert found["audit"]["passes"] > 15, name
    assert len(list(pictures.glob(f"*.{mark}.png"))) >= len(places)
    # A page that is sent with 400 or 503 is red in the console by its status alone.
    assert [one for one in seen["errors"] if "the server responded with a status of" not in one] == []
    return seen["found"]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_pages_fit_and_axe_finds_no_fault(guard, away, profile, pictures, size, scheme, language):
    found = look(profile, guard, pictures, PLACES, size, scheme, language)
    assert [found[name]["status"] for name, _ in PLACES] == [200] * 8 + [400]
    waiting = look(profile, away, pictures, [("starting", "/")], size, scheme, language, enter=True)
    assert waiting["starting"]["status"] == 503


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_pages_are_whole_without_javascript(guard, profile, pictures, size, scheme):
    found = look(profile, guard, pictures, PLACES, size, scheme, "en", scripted=False)
    assert "Sign out" in found["logout"]["text"]


def test_plain_form_signs_in_and_out_without_javascript(guard, profile):
    found = profile(guard).run("form", browser={"javaScriptEnabled": False})["found"]
    assert found["wrong"]["said"] and found["wrong"]["cookies"] == []
    assert found["right"]["address"] == guard.url + "/queue?from=form" and "queue_running" in found["right"]["text"]
    assert len(found["right"]["cookies"]) == 1
    assert found["link"]["cookies"] == found["right"]["cookies"], "a mere link ended the session"
    assert found["out"]["said"] and found["out"]["cookies"] == []
    cookie = found["right"]["cookies"][0]
    assert guard.get("/queue", headers={"Cookie": f"{cookie['name']}={cookie['value']}"}).status == 401


def test_page_goes_on_when_comfyui_is_back(fresh, profile):
    guard = fresh(comfyui_arguments=["--start-delay", "6"])
    found = profile(guard).run("waiting")["found"]
    assert found["waited"]["title"] and found["waited"]["address"] == found["address"] == guard.url + "/"

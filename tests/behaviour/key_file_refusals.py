"""A key file that is missing, empty, blank, a link or open to others never opens anything: 503 that says what to do.

Pitfalls P11 (nothing passes before a key is set; no visitor can set one), P27 (link, mode, owner), and that the log names
the fault and the command that mends it.
"""

import os
import re
import shutil

import pytest

from harness import places
from harness.guard import strong_key
from harness.wait import until

PHC_LIKE = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$"


def own(path):
    if places.AS_ROOT:
        shutil.chown(path, places.SERVICE_USER, places.SERVICE_USER)


def content(text: str, mode: int = 0o600):
    def place(guard):
        guard.key_file.write_text(text)
        guard.key_file.chmod(mode)
        own(guard.key_file)

    return place


def real_key(change):
    """A file as set-key made it, then spoilt."""

    def place(guard):
        guard.set_key(guard.key or "a" * 40 + "0123456789", "--allow-weak")
        change(guard)

    return place


def link(guard):
    guard.key_file.rename(guard.dir / "etc/elsewhere")
    guard.key_file.symlink_to(guard.dir / "etc/elsewhere")


def hard_link(guard):
    os.link(guard.key_file, guard.dir / "etc/second-name")


def folder(guard):
    guard.key_file.unlink()
    guard.key_file.mkdir()


def fifo(guard):
    guard.key_file.unlink()
    os.mkfifo(guard.key_file, 0o600)
    own(guard.key_file)


# name: (how it is made, what the log must name)
FAULTS = {
    "missing": (lambda guard: None, "set-key"),
    "empty": (content(""), "set-key"),
    "one newline": (content("\n"), "set-key"),
    "blank": (content("   \n\t\n"), "set-key"),
    "hash cut short": (content(PHC_LIKE), "key"),
    "weak parameters": (content("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA\n"), "key"),
    "huge parameters": (content("$argon2id$v=19$m=4194304,t=99,p=1$c29tZXNhbHRzb21lc2FsdA$q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA\n"), "key"),
    "too long": (content("x" * 5_000_000), "key"),
    "readable by the group": (real_key(lambda guard: guard.key_file.chmod(0o640)), "chmod"),
    "readable by everyone": (real_key(lambda guard: guard.key_file.chmod(0o644)), "chmod"),
    "writable by everyone": (real_key(lambda guard: guard.key_file.chmod(0o602)), "chmod"),
    "symlink": (real_key(link), "link"),
    "hard link": (real_key(hard_link), "link"),
    "folder": (real_key(folder), "regular file"),
    "fifo": (real_key(fifo), "regular file"),
}

CREDENTIALS = [
    {}, {"Authorization": "Bearer "}, {"Authorization": "Bearer"}, {"X-API-Key": ""}, {"Authorization": "Basic Og=="}, {"Authorization": "Bearer x"},
    {"X-API-Key": "   "}, {"Authorization": f"Bearer {PHC_LIKE}"}, {"Authorization": "Bearer aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa0123456789"},
]


@pytest.mark.parametrize("fault", FAULTS)
def test_never_opens_anything_and_says_what_to_do(fresh, fault):
    make, word = FAULTS[fault]
    running = fresh(key=None, wait="answers", before=make)
    mark = running.upstream.mark()
    for headers in CREDENTIALS:
        for target in ("/queue", "/queue?api_key=", "/queue?token=", "/queue?api_key", "/api/userdata/x.json"):
            answer = running.get_as_written(target, headers)
            assert answer.status == 503, (headers, target, answer.status, answer.body)
            assert "set-key" in answer.body.decode()
    assert running.upstream.since(mark) == []
    assert running.get("/health").status in (200, 503)
    assert str(running.key_file) in running.log() and word in running.log()


@pytest.mark.skipif(not places.AS_ROOT, reason="only root can make a file of another owner")
def test_file_of_another_owner_is_refused(fresh):
    running = fresh(key=None, wait="answers", before=real_key(lambda guard: shutil.chown(guard.key_file, places.COMFYUI_USER)))
    assert running.get("/queue", headers={"X-API-Key": "a" * 40 + "0123456789"}).status == 503
    assert "chown" in running.log()


def test_key_set_later_opens_without_a_restart(fresh):
    running = fresh(key=None, wait="answers")
    running.key = strong_key()
    assert running.get("/queue", key=True).status == 503
    before = running.pids()
    running.set_key(running.key)
    until(lambda: running.get("/queue", key=True).status == 200, 5, "the first key is in force")
    assert running.pids() == before


WEAK = ["short", "a" * 31, "password" * 4, "a" * 40, "0123456789" * 4, "", "\n", "   " * 20]


@pytest.mark.parametrize("key", WEAK, ids=repr)
def test_weak_key_is_refused_and_leaves_the_old_file_alone(guard, key):
    before = guard.key_file.read_bytes()
    done = guard.run_command("set-key", "--stdin", stdin=key)
    assert done.returncode not in (0, 101) and done.stderr
    assert guard.key_file.read_bytes() == before
    if key.strip():
        assert key.encode() not in done.stderr + done.stdout


@pytest.mark.parametrize("key", ["", "\n", "   \n"], ids=repr)
def test_empty_key_is_refused_even_with_allow_weak(guard, key):
    before = guard.key_file.read_bytes()
    assert guard.run_command("set-key", "--stdin", "--allow-weak", stdin=key).returncode not in (0, 101)
    assert guard.key_file.read_bytes() == before


def test_key_file_is_what_it_should_be(guard):
    facts = guard.key_file.lstat()
    assert facts.st_mode & 0o7777 == 0o600 and facts.st_nlink == 1
    text = guard.key_file.read_text()
    assert text.startswith("$argon2id$v=19$m=") and guard.key not in text
    assert [path.name for path in guard.key_file.parent.iterdir() if path.name not in ("key", "config.toml")] == []


def test_generated_key_is_shown_once_and_works(fresh):
    running = fresh(key=None, wait="answers")
    done = running.run_command("set-key", "--generate")
    assert done.returncode == 0, done.stderr
    keys = re.findall(rb"\b[0-9a-f]{64}\b", done.stdout)
    assert len(keys) == 1 and keys[0] not in done.stderr
    running.key = keys[0].decode()
    until(lambda: running.get("/queue", key=True).status == 200, 5, "the generated key is in force")
    assert running.key not in running.log()


def test_verify_key_says_whether_it_is_the_right_one(guard):
    assert guard.run_command("verify-key", "--stdin", stdin=guard.key).returncode == 0
    assert guard.run_command("verify-key", "--stdin", stdin="0" * 64).returncode != 0

"""Start, signals, exit codes and start-up flags, measured on ComfyUI 0.3.64; runs on a real one as well."""

import signal
import socket
import time

import pytest
from comfyui_process import IS_STANDIN, Comfy

SLEEP = {"1": {"class_type": "Sleep", "inputs": {"seconds": 60, "steps": 600}}}
INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


@pytest.mark.parametrize("busy,sent,code", [
    (False, (INT,), 0),
    (True, (INT,), 0),
    (False, (TERM,), -TERM),
    (True, (TERM,), -TERM),
    (False, (HUP,), -HUP),
])
def test_signals_end_it_with_the_known_code(tmp_path, busy, sent, code):
    with Comfy(tmp_path) as comfy:
        if busy:
            comfy.json("POST", "/prompt", {"prompt": SLEEP})
            time.sleep(0.5)
            assert len(comfy.json("GET", "/queue")["queue_running"]) == 1
        assert comfy.end(*sent) == code
        assert ("Stopped server" in comfy.said) == (code == 0)
        assert (tmp_path / "temp").exists() == (code != 0)


def test_a_second_sigint_cuts_the_clean_up_short(tmp_path):
    flags = ("--stop-delay", "2") if IS_STANDIN else ()
    with Comfy(tmp_path, *flags) as comfy:
        assert comfy.end(INT, INT, pause_s=0.3) == -INT


def test_an_inherited_ignored_sigint_stays_ignored(tmp_path):
    with Comfy(tmp_path, sigint=signal.SIG_IGN) as comfy:
        comfy.process.send_signal(INT)
        time.sleep(1)
        assert comfy.process.poll() is None
        assert comfy.ask("GET", "/prompt")[0] == 200


def test_a_taken_port_is_found_after_loading_and_ends_with_1(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with Comfy(tmp_path, port=taken.getsockname()[1], wait=False) as comfy:
            assert comfy.end() == 1
            assert "ComfyUI version:" in comfy.said and "address already in use" in comfy.said


def test_an_invented_flag_ends_with_2(tmp_path):
    with Comfy(tmp_path, "--no-such-flag", wait=False) as comfy:
        assert comfy.end() == 2
        assert "unrecognized arguments" in comfy.said


def test_the_port_opens_last_and_stdout_stays_empty(tmp_path):
    flags = ("--start-delay", "1") if IS_STANDIN else ()
    with Comfy(tmp_path, *flags, wait=False) as comfy:
        time.sleep(0.7)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", comfy.port))
        comfy.wait_open()
        time.sleep(0.1)
        said = comfy.said
        assert said.index("ComfyUI version: 0.3.64") < said.index("Starting server")
        assert said.rstrip().endswith(f"To see the GUI go to: http://127.0.0.1:{comfy.port}")
        comfy.end(INT)
        assert comfy.process.stdout.read() == b""


def test_cors_takes_the_place_of_the_guard(tmp_path):
    with Comfy(tmp_path, "--enable-cors-header", "https://guest.example") as comfy:
        for method, target in (("GET", "/prompt"), ("OPTIONS", "/none")):
            status, headers, _ = comfy.ask(method, target, Host="127.0.0.1", Origin="https://other.example")
            assert status == 200
            assert headers["Access-Control-Allow-Origin"] == "https://guest.example"
            assert headers["Access-Control-Allow-Credentials"] == "true"


def test_compression_is_by_flag_and_for_json_alone(tmp_path):
    with Comfy(tmp_path, "--enable-compress-response-body") as comfy:
        assert comfy.ask("GET", "/object_info", Accept_Encoding="gzip")[1]["Content-Encoding"] == "gzip"
        assert comfy.ask("GET", "/object_info")[1]["Content-Encoding"] is None
        assert comfy.ask("GET", "/", Accept_Encoding="gzip")[1]["Content-Encoding"] is None


def test_directory_flags_move_the_directories(tmp_path):
    for name in ("in", "out", "user2", "tmp"):
        (tmp_path / name).mkdir()
    flags = ["--input-directory", "in", "--output-directory", "out", "--user-directory", "user2",
             "--temp-directory", "tmp"]
    flags[1::2] = [str(tmp_path / name) for name in flags[1::2]]
    with Comfy(tmp_path / "base", *flags) as comfy:
        (tmp_path / "out/x.png").write_bytes(b"x")
        assert comfy.json("GET", "/internal/files/output") == ["x.png"]
        assert comfy.ask("POST", "/userdata/a.json", b"{}")[0] == 200
        assert (tmp_path / "user2/default/a.json").exists()
        assert (tmp_path / "tmp/temp").is_dir()


def test_the_user_header_counts_with_its_flag_alone(tmp_path):
    with Comfy(tmp_path / "one") as comfy:
        assert comfy.ask("GET", "/settings", comfy_user="nobody")[0] == 200
    with Comfy(tmp_path / "many", "--multi-user") as comfy:
        ann = comfy.json("POST", "/users", {"username": "ann"})
        assert comfy.json("GET", "/users")["users"] == {ann: "ann"}
        assert comfy.json("POST", "/users", {"username": "ann"}) == {"error": "Duplicate username."}
        for user, status in ((ann, 200), ("nobody", 500)):
            assert comfy.ask("POST", "/userdata/a.json", b"{}", comfy_user=user)[0] == status
        assert comfy.ask("GET", "/settings", comfy_user="nobody")[0] == 401

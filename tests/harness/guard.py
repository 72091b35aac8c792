"""One comfy-guard in a folder of its own: configured, given a key, started, watched, stopped without a trace."""

import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

from . import places, procs, toml
from .notify import NotifySocket
from .talk import Talk
from .upstream import Upstream
from .wait import until

# Puts passed sockets where sd_listen_fds(3) looks for them, then becomes the guard, so that LISTEN_PID is true.
PASS_SOCKETS = """
import fcntl, os, sys
held = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in sys.argv[1].split(",")]
for place, number in enumerate(held, 3):
    os.dup2(number, place)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


def free_port(host: str = "127.0.0.1") -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def strong_key() -> str:
    return secrets.token_hex(32)


class Guard(Talk):
    """`config` is laid over a working one; `key` None leaves the key file missing; `wait`: "ready", "answers" or None;
    `before` is called with the guard before it starts; `sockets`: listening ones by name, as systemd would pass them."""

    def __init__(self, *, config=None, key="", wait="ready", within=60.0, env=None, arguments=(), sockets=None,
                 notify=True, deaf_manager=False, launcher=(), comfyui_arguments=(), as_root=places.AS_ROOT, may_use_real=False, before=None):
        self.key = strong_key() if key == "" else key
        self.wait, self.within, self.extra_env, self.arguments = wait, within, env or {}, list(arguments)
        self.sockets, self.launcher, self.as_root, self.before = sockets or {}, list(launcher), as_root, before
        self.process: subprocess.Popen | None = None
        self.known: set[int] = set()
        self.dir = Path(tempfile.mkdtemp(prefix="comfy-guard-test-"))
        self.dir.chmod(0o755)
        self._folder("etc", places.SERVICE_USER)
        self._folder("state", places.SERVICE_USER)
        self._folder("out", places.COMFYUI_USER)
        self.key_file, self.log_file, self.config_file = (self.dir / name for name in ("etc/key", "log", "etc/config.toml"))
        self.ca = self.dir / "state/tls/ca.pem"
        self.notify = NotifySocket(self.dir / "notify", deaf_manager) if notify else None
        self.port, upstream_port = free_port(), free_port()
        real = places.real() if may_use_real else None
        directory, python = real or places.standin()
        self.upstream = Upstream(upstream_port, self.dir / "out/record.jsonl", is_real=bool(real))
        base = {
            "listen": {"https": [f"127.0.0.1:{self.port}"]},
            "auth": {"key_file": str(self.key_file)},
            "comfyui": {
                "directory": str(directory), "python": str(python), "port": upstream_port, "stop_timeout": "10s",
                "arguments": ["--cpu", "--disable-auto-launch", "--output-directory", str(self.dir / "out")] if real
                else ["--test-extras", "--base-directory", str(self.dir / "out"), "--record", str(self.upstream.record_file), *comfyui_arguments],
            },
            "state": {"directory": str(self.dir / "state")},
        }
        self.configure(toml.merge(base, config or {}))

    def _folder(self, name: str, user: str) -> None:
        path = self.dir / name
        path.mkdir(mode=0o755)
        if self.as_root:
            shutil.chown(path, user, user)

    def configure(self, config: dict) -> None:
        self.config = config
        self.config_file.write_text(toml.write(config))

    def change(self, change: dict) -> None:
        self.configure(toml.merge(self.config, change))

    # --- commands -------------------------------------------------------------------------------------------------

    def run_command(self, *arguments, stdin: str | bytes = b"", env=None, config=None, within=30) -> subprocess.CompletedProcess:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        line = [*self.launcher, str(places.BIN), "--config", str(config or self.config_file), *arguments]
        return subprocess.run(line, input=data, capture_output=True, timeout=within, env={**self._environment(), **(env or {})})

    def set_key(self, key: str, *arguments) -> None:
        done = self.run_command("set-key", "--stdin", *arguments, stdin=key)
        assert done.returncode == 0, done.stderr.decode()

    def reload(self) -> None:
        os.kill(self.process.pid, signal.SIGHUP)

    # --- life -----------------------------------------------------------------------------------------------------

    def __enter__(self):
        try:
            if self.key is not None:
                self.set_key(self.key, "--allow-weak")
            if self.before:
                self.before(self)
            self.start()
        except BaseException:
            self._end_all()
            print(self.log())
            raise
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.stop()
            else:
                print(self.log()[-6000:])
        finally:
            self._end_all()
            if self.notify:
                self.notify.close()
            if kind is None:
                shutil.rmtree(self.dir, ignore_errors=True)

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "SYSTEMROOT") if name in os.environ}
        return {**kept, **self.extra_env}

    def start(self) -> None:
        env = self._environment()
        if self.notify:
            env["NOTIFY_SOCKET"] = str(self.notify.path)
        line = [*self.launcher, str(places.BIN), "--config", str(self.config_file), "run", *self.arguments]
        passed = [(name, one.fileno()) for name, several in self.sockets.items() for one in several]
        numbers = tuple(number for _, number in passed)
        if passed:
            env |= {"LISTEN_FDS": str(len(passed)), "LISTEN_FDNAMES": ":".join(name for name, _ in passed)}
            line = [sys.executable, "-c", PASS_SOCKETS, ",".join(map(str, numbers)), *line]
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, pass_fds=numbers)
        if self.wait == "ready":
            self.until_ready()
        elif self.wait == "answers":
            until(self.answers, self.within, "an answer of /health")

    def until_ready(self, within: float | None = None) -> None:
        if self.notify:
            until(lambda: self._still_runs() and self.notify.saw("READY=1"), within or self.within, "READY=1")
        until(lambda: self._still_runs() and self.healthy(), within or self.within, "/health says 200")
        self.pids()

    def _still_runs(self) -> bool:
        assert self.process.poll() is None, f"comfy-guard ended with {self.process.returncode}:\n{self.log()[-4000:]}"
        return True

    def pids(self) -> dict[str, int]:
        """Process ids by role; every process ever seen is remembered, so that `stop` can say that all are gone."""
        roles, below = {"supervisor": self.process.pid}, procs.descendants(self.process.pid)
        self.known |= {self.process.pid, *below}
        for pid in below:
            text = procs.command(pid) + " " + procs.read(pid, "comm").decode()
            for role in ("gateway", "sensor"):
                if f"comfy-guard: {role}" in text:
                    roles[role] = pid
            if "main.py" in text:
                roles.setdefault("comfyui", pid)
        return roles

    def stop(self, within: float = 25.0) -> int:
        """SIGTERM; the exit code. Fails if it takes longer or if any process that belonged to it still lives."""
        if self.process is None or self.process.poll() is not None:
            return self.process.returncode if self.process else 0
        self.pids()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(within)
        except subprocess.TimeoutExpired:
            still = {pid: (procs.command(pid), procs.read(pid, "wchan").decode()) for pid in self.left_over()}
            raise AssertionError(f"SIGTERM did not end it within {within} s: {still}\n{self.log()[-3000:]}") from None
        left = self.left_over()
        assert not left, f"still there after SIGTERM: {[procs.command(pid) for pid in left]}"
        return code

    def kill(self, role: str) -> None:
        """SIGKILL to a role, or to the supervisor and so to all; back when guests are served again."""
        before = self.pids()
        os.kill(before[role], signal.SIGKILL)
        if role == "supervisor":
            self.process.wait(10)
            until(lambda: not self.left_over(), 15, "the whole tree is gone")
            self.start()
        else:
            until(lambda: self.pids().get(role) not in (None, before[role]), 15, f"a new {role}")
            until(self.healthy, 15, "health")

    def left_over(self) -> list[int]:
        return sorted({pid for pid in self.known if procs.alive(pid)} | set(procs.mentioning(str(self.dir))))

    def _end_all(self) -> None:
        if self.process:
            self.known |= {self.process.pid, *procs.descendants(self.process.pid)}
        procs.end(pid for pid in {*self.known, *procs.mentioning(str(self.dir))} if procs.alive(pid))
        if self.process:
            self.process.wait(10)

    # --- what it tells --------------------------------------------------------------------------------------------

    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def until_log(self, text: str, within: float = 5.0, since: int = 0) -> None:
        until(lambda: text.lower() in self.log()[since:].lower(), within, f"{text!r} in the log")

    def tls(self, alpn=("http/1.1",), verify=True) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca)) if verify else ssl._create_unverified_context()
        context.set_alpn_protocols(list(alpn))
        return context

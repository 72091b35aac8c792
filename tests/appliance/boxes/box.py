"""What a container and a machine have in common: commands run in it, files put into it, and the guard that serves in it."""

import json
import shlex
import subprocess
import uuid
from pathlib import Path

from harness.wait import until

from .guest import Guest

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", "TERM": "dumb", "DEBIAN_FRONTEND": "noninteractive"}


# Each piece of Python in a process of its own; what each said.
EACH = """
import json, subprocess, sys
said = {{}}
for name, code in json.loads({acts!r}).items():
    done = subprocess.run([sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    said[name] = done.stdout.strip() or (done.stderr.strip().splitlines() or [f"exit code {{done.returncode}}"])[-1]
print(json.dumps(said))
"""


class Box:
    """`enter` puts a command line into the box; `host` and `https` are where a client outside finds its port 443.

    `outside` is what the box calls the world outside, `listens_at` the address of the same for a listener there.
    """

    name: str
    host: str
    https: int = 443
    outside: str
    listens_at: str
    # The key of a box that serves.
    key: str
    # A machine without hardware help is some ten times slower than a container.
    patience: float = 1.0

    def enter(self, line: list[str]) -> list[str]:
        raise NotImplementedError

    # --- commands ---------------------------------------------------------------------------------------------------

    def run(self, *line, check: bool = True, stdin: str | bytes = "", within: float = 60) -> subprocess.CompletedProcess:
        """One command as root; text out. `check`: it must succeed."""
        words = [str(word) for word in line]
        data = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(self.enter(words), input=data, capture_output=True, timeout=within * self.patience)
        done.stdout, done.stderr = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
        if check:
            assert done.returncode == 0, f"{shlex.join(words)[:400]}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    def sh(self, script: str, **more) -> subprocess.CompletedProcess:
        return self.run("sh", "-c", script, **more)

    def out(self, *line, **more) -> str:
        return self.run(*line, **more).stdout.strip()

    def python(self, code: str, **more) -> str:
        return self.run("python3", "-", stdin=code, **more).stdout.strip()

    def put(self, path: str, content: str | bytes, mode: str = "0644", owner: str = "root:root") -> None:
        quoted = shlex.quote(path)
        self.sh(f"mkdir -p $(dirname {quoted}) && cat > {quoted} && chmod {mode} {quoted} && chown {owner} {quoted}", stdin=content)

    def get(self, path: str) -> str:
        return self.run("cat", path).stdout

    def exists(self, path: str) -> bool:
        return self.run("test", "-e", path, check=False).returncode == 0

    # --- the unit ---------------------------------------------------------------------------------------------------

    def unit(self, *names: str, unit: str = "comfy-guard.service") -> dict[str, str]:
        """Properties as `systemctl show` names them."""
        text = self.out("systemctl", "show", unit, f"--property={','.join(names)}")
        return dict(line.split("=", 1) for line in text.splitlines())

    def state(self, unit: str = "comfy-guard.service") -> str:
        return self.unit("ActiveState", unit=unit)["ActiveState"]

    def journal(self, *more: str) -> str:
        return self.run("journalctl", "--no-pager", "--output=short", *more).stdout

    def processes(self) -> list[tuple[int, int, str, str]]:
        """(process, parent, user, command line) of all."""
        lines = self.out("ps", "-eo", "pid=,ppid=,user:32=,args=").splitlines()
        return [(int(pid), int(parent), user, args) for pid, parent, user, args in (line.split(None, 3) for line in lines)]

    def pids(self) -> dict[str, int]:
        """Process ids by role; a role that does not run is not in it."""
        roles = {"supervisor": int(self.unit("MainPID")["MainPID"])}
        for pid, parent, _, args in self.processes():
            if parent == roles["supervisor"] and parent:
                for role, mark in (("gateway", "comfy-guard: gateway"), ("sensor", "comfy-guard: sensor"), ("comfyui", " main.py ")):
                    if mark in args:
                        roles[role] = pid
        return {role: pid for role, pid in roles.items() if pid}

    def of_the_guard(self) -> list[str]:
        """Command lines of all that belongs to the guard or ComfyUI, wherever it went."""
        users = ("comfy-guard", "comfy-guard-net", "comfyui")
        return [args for _, _, user, args in self.processes() if user in users or "comfy-guard" in args.split()[0]]

    def may_lock_memory(self) -> bool:
        """Whether LimitMEMLOCK=infinity can come true: a container cannot go above what its host was given."""
        return self.run("sh", "-c", "ulimit -l unlimited", check=False).returncode == 0

    # --- its guests -------------------------------------------------------------------------------------------------

    def guest(self, key: str | None = None, named: bool = True) -> Guest:
        """A client outside, which trusts the box's own authority (`comfy-guard ca`) and nothing else."""
        return Guest(self.host, self.https, key, self.run("comfy-guard", "ca").stdout, named)

    def serve(self, key: str, within: float = 40) -> Guest:
        """Sets the key, starts the unit, and waits until guests are served."""
        self.run("comfy-guard", "set-key", "--stdin", stdin=key)
        self.run("systemctl", "start", "--no-block", "comfy-guard.service")
        return self.until_served(key, within)

    def until_served(self, key: str | None, within: float = 40, named: bool = True) -> Guest:
        ends = within * self.patience
        try:
            until(lambda: self.run("comfy-guard", "ca", check=False).returncode == 0, ends, "the box has an authority", every=0.1)
            guest = self.guest(key, named)
            until(guest.healthy, ends, f"{self.name} serves", every=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.journal('-u', 'comfy-guard', '-n', '40')}") from None
        return guest

    # --- ComfyUI from the inside ------------------------------------------------------------------------------------

    def order(self, code: str, within: float = 30) -> dict:
        """Has the hostile custom node run this Python in a child of ComfyUI's; its exit code (`rc`), `out` and `err`."""
        orders, name = "/opt/comfyui/custom_nodes/orders", uuid.uuid4().hex
        # Moved into place, so that it is never read half-written.
        self.sh(f"install -d -o comfyui {orders} && cd {orders} && cat > {name}.new && mv {name}.new {name}.py", stdin=code)
        answer = f"/opt/comfyui/output/{name}.order"
        found = until(lambda: self.sh(f"cat {answer} 2>/dev/null", check=False).stdout, within * self.patience, f"an answer to {code[:200]}", every=0.1)
        return json.loads(found)

    def order_each(self, acts: dict[str, str]) -> dict[str, str]:
        """What each of these said, or the last line of its complaint, when ComfyUI's child did it."""
        return json.loads(self.order(EACH.format(acts=json.dumps(acts)), within=60)["out"])

    def root_each(self, acts: dict[str, str]) -> dict[str, str]:
        """The same by root, outside the unit."""
        return json.loads(self.python(EACH.format(acts=json.dumps(acts))))

    # --- files ------------------------------------------------------------------------------------------------------

    def files(self, *below: str) -> set[str]:
        """Every path in these trees, of this file system only."""
        return set(self.run("find", *below, "-xdev", "-print", check=False).stdout.splitlines())

    def copy_in(self, folder: Path, target: str) -> None:
        """A whole folder, as root's."""
        packed = subprocess.run(["tar", "-C", str(folder), "-c", "."], capture_output=True, check=True).stdout
        self.sh(f"mkdir -p {target} && tar -C {target} -x --no-same-owner", stdin=packed, within=120)

"""Debian's Prometheus reads the guard, over HTTPS with the key, on loopback and promtool's way; and every query of the dashboard and every
series of the alerts is there, once all has happened that they are about."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from harness import places, ws
from harness.driver import CUDA, GIB, Library
from harness.guard import Guard, free_port
from harness.metrics import FAIL, queue, workflow
from harness.wait import until

PACKAGING = places.ROOT / "packaging"
RULES = PACKAGING / "prometheus/comfy-guard.rules.yml"
DASHBOARD = PACKAGING / "grafana/comfy-guard.json"

pytestmark = [
    pytest.mark.skipif(not places.AS_ROOT and not shutil.which("prometheus"), reason="without root tests/setup installs no prometheus, and there is none"),
    pytest.mark.skipif(not places.AS_ROOT, reason="a stand-in of the driver's library is loaded only if root owns it"),
]

# What has nothing to show on the machine of the test, and why.
EMPTY = {
    "comfy_guard_comfyui_memory_bytes": "cgroup controllers: a test has no cgroup of its own where none is delegated",
    "comfy_guard_comfyui_memory_limit_bytes": "the same, and no limit is set",
    "comfy_guard_comfyui_cpu_seconds_total": "the same",
    "comfy_guard_comfyui_read_bytes_total": "the same",
    "comfy_guard_comfyui_written_bytes_total": "the same",
    "comfy_guard_comfyui_tasks": "the same",
    "comfy_guard_comfyui_step_progress_ratio": "only while a step runs that draws a progress bar",
}

PLAYED = ("gpus 1", f"memory 0 {80 * GIB} {20 * GIB}", "process 0 77 5", "ecc 0 0 5", "throttle 0 4")

CONFIG = """
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%(rules)s]
scrape_configs:
  - job_name: comfy-guard
    scheme: https
    authorization: {type: Bearer, credentials_file: %(folder)s/key}
    tls_config: {ca_file: %(ca)s}
    static_configs: [{targets: ["127.0.0.1:%(port)d"]}]
  - job_name: locally
    static_configs: [{targets: ["127.0.0.1:%(local)d"]}]
"""


class Prometheus:
    def __init__(self, folder: Path, guard: Guard, local: int):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/api/v1/"
        (folder / "key").write_text(guard.key)
        (folder / "prometheus.yml").write_text(CONFIG % {"folder": folder, "ca": guard.ca, "port": guard.port, "local": local, "rules": RULES})
        self.log = open(folder / "log", "wb")
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{self.port}"],
            stdout=self.log, stderr=self.log, env={"PATH": os.environ["PATH"], "no_proxy": "*"})

    def ask(self, what: str, **query):
        url = self.url + what + "?" + urllib.parse.urlencode(query)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, text: str) -> list[dict]:
        return self.ask("query", query=text)["result"]

    def targets(self) -> dict[str, dict]:
        try:
            return {target["labels"]["job"]: target for target in self.ask("targets")["activeTargets"]}
        except OSError:
            return {}

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()


@pytest.fixture(scope="module")
def run(built, tmp_path_factory):
    """A guard with a GPU on which all has happened, and the Prometheus that looked on."""
    folder = tmp_path_factory.mktemp("prometheus")
    library_folder = Path("/tmp") / f"comfy-guard-nvml-{os.getpid()}"
    library_folder.mkdir(mode=0o755)
    library = Library(library_folder, built)
    library.plays(*PLAYED)
    local = free_port()
    config = {"gpu": {"library": str(library.file)}, "metrics": {"listen": [f"127.0.0.1:{local}"]}}
    try:
        with Guard(config=config, comfyui_arguments=["--device", json.dumps(CUDA)], within=90) as guard:
            prometheus = Prometheus(folder, guard, local)
            try:
                until(lambda: all(t["health"] == "up" for t in prometheus.targets().values()) and len(prometheus.targets()) == 2, 30, "both targets are up", every=0.2)
                everything_happens(guard, library)
                time.sleep(4)  # two scrapes more, so that a rate sees what happened
                yield guard, prometheus
            finally:
                prometheus.stop()
    finally:
        shutil.rmtree(library_folder)


def everything_happens(guard, library) -> None:
    with guard.client() as client:
        for _ in range(5):
            guard.get("/queue", key=True, client=client)
            guard.get("/health", client=client)
            guard.get("/user.css", client=client)
            guard.get("/queue", headers={"Authorization": "Bearer wrong"}, client=client)
        client.post("/auth_session", json={"key": guard.key})
        guard.raw().send("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").answer()
    with ws.open_(guard, "/ws", key=True), ws.open_(guard, "/ws"):
        for prompt in (workflow(1), workflow(2), FAIL):
            queue(guard, prompt)
        time.sleep(3)
    os.kill(guard.pids()["comfyui"], signal.SIGKILL)
    until(lambda: not guard.healthy(), 10, "its death is noticed")
    until(guard.healthy, 40, "ComfyUI is back")
    guard.kill("sensor")
    # An event of its own time: what the last sensor heard went with it.
    until(lambda: "gpu_memory_used" in guard.get("/metrics", key=True).body.decode(), 10, "a reading")
    library.plays(*PLAYED, "xid 0 31 2")
    queue(guard, workflow(3))


def promtool(*arguments, stdin: bytes | None = None, folder=None) -> str:
    done = subprocess.run(["promtool", *map(str, arguments)], input=stdin, capture_output=True, timeout=60, cwd=folder)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return (done.stdout + done.stderr).decode()


def test_the_page_is_clean(run):
    guard, _ = run
    page = guard.get("/metrics", key=True).body
    assert promtool("check", "metrics", stdin=page) == ""


def test_the_rules_are_clean_and_fire_when_they_should():
    assert "SUCCESS" in promtool("check", "rules", RULES)
    assert "SUCCESS" in promtool("test", "rules", "comfy-guard.test.yml", folder=RULES.parent)


def test_the_example_of_a_scrape_is_one(tmp_path):
    text = (RULES.parent / "scrape.yml").read_text().replace("/usr/share/comfy-guard/prometheus", str(RULES.parent))
    for name in ("comfy-guard.key", "comfy-guard-ca.pem"):
        (tmp_path / name).write_text("")
    (tmp_path / "prometheus.yml").write_text(text.replace("/etc/prometheus/", f"{tmp_path}/"))
    promtool("check", "config", "--syntax-only", tmp_path / "prometheus.yml")


def test_prometheus_reads_it_over_https_and_locally(run):
    _, prometheus = run
    targets = prometheus.targets()
    assert {job: target["lastError"] for job, target in targets.items()} == {"comfy-guard": "", "locally": ""}
    assert prometheus.query('up{job="comfy-guard"}')[0]["value"][1] == "1"
    # The same guard, whichever way: what does not move between two scrapes is equal.
    for name in ("comfy_guard_certificate_expiry_timestamp_seconds", "comfy_guard_comfyui_crashes_total", "comfy_guard_gpu_memory_total_bytes"):
        values = {series["value"][1] for series in prometheus.query(name)}
        assert len(values) == 1, (name, values)


def selectors(text: str) -> set[str]:
    return set(re.findall(r"comfy_guard_\w+(?:\{[^}]*\})?", text))


def queries() -> list[tuple[str, str]]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [(panel["title"], target["expr"]) for panel in panels for target in panel.get("targets", [])]


def expression(text: str) -> str:
    return text.replace("$__rate_interval", "1m").replace("$job", "comfy-guard").replace("$instance", ".*")


@pytest.mark.parametrize(("title", "query"), queries(), ids=[f"{title}-{number}" for number, (title, _) in enumerate(queries())])
def test_every_query_of_the_dashboard_answers(run, title, query):
    _, prometheus = run
    if any(name in query for name in EMPTY):
        # Asked all the same: it must be one that Prometheus understands.
        prometheus.query(expression(query))
        return
    found = prometheus.query(expression(query))
    assert found, query
    assert any(series["value"][1] != "NaN" for series in found), (query, found)


def rules() -> list[tuple[str, str]]:
    text = RULES.read_text()
    return re.findall(r"- alert: (\w+)\n\s+expr: (?:>-\n)?((?:.*\n)+?)\s+(?:for|labels):", text)


@pytest.mark.parametrize(("name", "expr"), rules(), ids=[name for name, _ in rules()])
def test_every_alert_is_about_series_that_there_are(run, name, expr):
    """An alert of a healthy guard is empty, as it should be: so what it looks at is asked for, and the whole must be understood."""
    _, prometheus = run
    prometheus.query(expr)
    wanted = selectors(expr)
    for selector in wanted:
        if "row_remapping" in selector:
            continue  # the stand-in's GPU has remapped no row, and says nothing of it
        assert prometheus.query(selector), selector
    assert wanted or expr.startswith("up{")


def test_what_happened_has_raised_its_alerts_and_nothing_else(run):
    _, prometheus = run
    raised = {alert["labels"]["alertname"] for alert in prometheus.ask("alerts")["alerts"] if alert["state"] == "firing"}
    assert "ComfyGuardComfyuiRestarted" in raised
    assert raised <= {"ComfyGuardComfyuiRestarted", "ComfyGuardForeignGpuProcess"}, raised


def test_rules_are_all_found():
    assert len(rules()) == RULES.read_text().count("- alert:")

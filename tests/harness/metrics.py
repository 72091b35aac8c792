"""The page of /metrics as numbers, the ways to get it, and jobs to be counted."""

import http.client
import json
import re
import socket

LINE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


class Scrape:
    """One page in Prometheus' text format: `page("requests_total", class_="api")` is the sum of all series with these labels."""

    def __init__(self, text: str):
        self.text = text
        self.series: dict[tuple[str, frozenset], float] = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, labels, value = LINE.match(line).groups()
                series = (name, frozenset(LABEL.findall(labels or "")))
                assert series not in self.series, f"{series} stands there twice"
                self.series[series] = float(value)

    def values(self, name: str, **labels) -> list[float]:
        wanted = {(key.rstrip("_"), value) for key, value in labels.items()}
        return [value for (found, has), value in self.series.items() if found == f"comfy_guard_{name}" and wanted <= has]

    def __call__(self, name: str, **labels) -> float:
        found = self.values(name, **labels)
        assert found, f"no series {name} {labels}"
        return sum(found)

    def names(self) -> set[str]:
        return {name for name, _ in self.series}


def scrape(guard, **more) -> Scrape:
    """Over HTTPS with the key. Asking is counted too, when it is answered: so not on the page itself, but on the next."""
    answer = guard.get("/metrics", key=True, **more)
    assert answer.status == 200, answer.body
    return Scrape(answer.body.decode())


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str):
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def plainly(connection: http.client.HTTPConnection, target: str = "/metrics", method: str = "GET", headers=None):
    """Over plain HTTP: status, fields and body."""
    connection.request(method, target, headers=headers or {})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), body


SLEEP = {"1": {"class_type": "Sleep", "inputs": {"seconds": 0.3, "steps": 1}}}
FAIL = {"1": {"class_type": "Fail", "inputs": {"message": "as told"}}}


def workflow(seed: int) -> dict:
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": seed}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": f"metrics-{seed}"}},
    }


def queue(guard, prompt: dict, **more) -> str:
    body = json.dumps({"prompt": prompt, "client_id": "x"}).encode()
    answer = guard.request("POST", "/prompt", content=body, headers={"Content-Type": "application/json"}, key=True, **more)
    assert answer.status == 200, answer.body
    return answer.json()["prompt_id"]

"""Asks every resource by every method and prints what came: how a stand-in is held against the real one.

    python tests/standin/measure.py 127.0.0.1 8188 > answers.txt

It must find fresh directories: some requests change what later ones see.
"""

import http.client
import sys

METHODS = ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"]
# Resources with a twin below /api. Every dynamic one is asked by a name that ends in .json or .png as well.
TWINNED = """
    /ws / /embeddings /models /models/loras /models/x.json /extensions /upload/image /upload/mask /view
    /view_metadata/loras /view_metadata/x.json /system_stats /features /prompt /object_info/SaveImage
    /object_info/x.json /history /history/x.json /history/x.png /queue /interrupt /free /settings /settings/x.json
    /users /userdata /v2/userdata /userdata/x.json /userdata/x.png /userdata/a%2Fb.json /userdata/..%2Fx.json
    /userdata/x.json/move/y.json /experiment/models /experiment/models/loras /experiment/models/x.json
    /experiment/models/preview/loras/0/x.json /experiment/models/preview/x.json/0/x.png /workflow_templates /i18n
""".split()
SINGLE = """
    /internal/logs /internal/logs/raw /internal/logs/subscribe /internal/folder_paths /internal/files/output
    /internal/files/x.json /templates/index.json /templates /docs /docs/KSampler/en.md /index.html /favicon.ico
    /assets /assets/none.js /assets/none.png /extensions/core/none.js /extensions/ /none /none.json /index.json
    /%71ueue /%2fqueue //queue /./queue /queue/ /queue%00 /queue;x /Queue /api/%71ueue /api/../queue /..%2fqueue
    /userdata/%252e%252e%252fx.json /view?filename=none.png /view?filename=../x /view?filename=x&subfolder=..
    /a/../queue /view?filename=x&type=secret /history?max_items=x /userdata?dir=.. /userdata?dir=none
    /v2/userdata?path=..
    /internal /internal/ /internal/none /api/internal/logs /api/assets /api/templates /api
""".split()
SHOWN = ["Content-Type", "Cache-Control", "Allow", "Location", "Pragma", "Server"]


def targets() -> list[str]:
    twins = [f"/api{target}" for target in TWINNED]
    return [*TWINNED, *twins, *SINGLE]


def measure(host: str, port: int) -> list[str]:
    """One line a request: method, target, status, and the headers that matter, the server's version left out."""
    lines = []
    for target in targets():
        for method in METHODS:
            connection = http.client.HTTPConnection(host, port, timeout=30)
            connection.request(method, target)
            answer = connection.getresponse()
            if answer.status != 101:
                answer.read()
            connection.close()
            shown = [f"{name}: {answer.headers[name]}" for name in SHOWN if name in answer.headers]
            shown = [part.split("/")[0] if part.startswith("Server") else part for part in shown]
            lines.append(f"{method} {target} {answer.status} | {' | '.join(shown)}")
    return lines


if __name__ == "__main__":
    print("\n".join(measure(sys.argv[1], int(sys.argv[2]))))

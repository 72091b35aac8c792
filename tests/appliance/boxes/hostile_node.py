"""A custom node that does what it is told: each file put into custom_nodes/orders is run by a child of ComfyUI's process.

It stands for what any custom node may do: its orders are carried out by ComfyUI's user, in ComfyUI's control group, under
every rule that ComfyUI is under. Loaded by a .pth file, as packages that custom nodes install can be; the answer is put beside the output.
"""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

HOME = Path("/opt/comfyui")


def obey(order: Path, answer: Path) -> None:
    try:
        done = subprocess.run([sys.executable, str(order)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        told = {"rc": done.returncode, "out": done.stdout, "err": done.stderr}
    except (OSError, subprocess.SubprocessError) as error:
        told = {"rc": None, "out": "", "err": repr(error)}
    written = answer.with_suffix(".part")
    written.write_text(json.dumps(told))
    written.rename(answer)


def listen() -> None:
    while True:
        for order in (HOME / "custom_nodes/orders").glob("*.py"):
            # Taken before it is carried out: one that ends ComfyUI must not meet the next one.
            taken = order.rename(order.with_suffix(".taken"))
            threading.Thread(target=obey, args=(taken, HOME / "output" / f"{order.stem}.order"), daemon=True).start()
        time.sleep(0.1)


# Not in the children that it starts itself, nor where somebody else uses this Python.
if "main.py" in sys.orig_argv and os.getuid() != 0:
    threading.Thread(target=listen, daemon=True).start()

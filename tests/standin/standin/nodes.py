"""The nodes that can run: their declarations as /object_info shows them, and their work, with Pillow."""

import io
import json
import random
import re
import string
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo


class Interrupted(Exception):
    """Somebody asked for the running prompt to stop."""


@dataclass(frozen=True)
class Context:
    """What a running node may use. `progress(value, of, preview)` raises Interrupted when it is time to stop."""

    folders: Any
    prompt: dict
    pnginfo: dict
    metadata: bool
    progress: Callable


@dataclass(frozen=True)
class Node:
    """`inputs` maps names to a type, or to a type and its limits; a node with no outputs shows something instead."""

    title: str
    description: str
    category: str
    inputs: dict
    run: Callable
    outputs: list = field(default_factory=list)
    optional: dict = field(default_factory=dict)
    is_output: bool = False
    hidden: dict = field(default_factory=dict)
    module: str = "nodes"

    def info(self, name: str) -> dict:
        groups = {"required": self.inputs, "optional": self.optional, "hidden": self.hidden}
        shown = {group: content for group, content in groups.items() if content}
        return {
            "input": shown,
            "input_order": {group: list(content) for group, content in shown.items()},
            "output": self.outputs,
            "output_is_list": [False] * len(self.outputs),
            "output_name": self.outputs,
            "name": name,
            "display_name": self.title,
            "description": self.description,
            "python_module": self.module,
            "category": self.category,
            "output_node": self.is_output,
        }


def _empty_image(context: Context, width: int, height: int, batch_size: int, color: int) -> dict:
    rgb = (color >> 16 & 255, color >> 8 & 255, color & 255)
    return {"result": [[Image.new("RGB", (width, height), rgb) for _ in range(batch_size)]]}


def _free_names(folder: Path, stem: str, count: int) -> list[str]:
    """The next `count` names of the series STEM_00001_.png, …"""
    pattern = re.compile(re.escape(stem) + r"_(\d+)_\.png")
    taken = (pattern.fullmatch(path.name) for path in folder.iterdir())
    last = max((int(match[1]) for match in taken if match), default=0)
    return [f"{stem}_{number:05}_.png" for number in range(last + 1, last + 1 + count)]


def _write(context: Context, images: list, root: Path, kind: str, prefix: str) -> dict:
    subfolder, _, stem = prefix.rpartition("/")
    folder = (root / subfolder).resolve()
    if folder != root.resolve() and root.resolve() not in folder.parents:
        raise ValueError("Saving image outside the output folder is not allowed.")
    folder.mkdir(parents=True, exist_ok=True)
    info = PngInfo()
    if context.metadata:
        info.add_text("prompt", json.dumps(context.prompt))
        for key, value in context.pnginfo.items():
            info.add_text(key, json.dumps(value))
    shown = []
    for image, name in zip(images, _free_names(folder, stem, len(images)), strict=True):
        image.save(folder / name, pnginfo=info, compress_level=4)
        shown.append({"filename": name, "subfolder": subfolder, "type": kind})
    return {"ui": {"images": shown}}


def _save_image(context: Context, images: list, filename_prefix: str) -> dict:
    return _write(context, images, context.folders.output, "output", filename_prefix)


def _preview_image(context: Context, images: list) -> dict:
    suffix = "".join(random.choices(string.ascii_lowercase, k=5))
    return _write(context, images, context.folders.temp, "temp", f"ComfyUI_temp_{suffix}")


def _sleep(context: Context, seconds: float, steps: int, preview: bool = False) -> dict:
    for step in range(1, steps + 1):
        time.sleep(seconds / steps)
        jpeg = None
        if preview:
            buffer = io.BytesIO()
            Image.new("RGB", (256, 256), (step * 17 % 256, 0, 0)).save(buffer, "JPEG", quality=95)
            jpeg = buffer.getvalue()
        context.progress(step, steps, jpeg)
    return {"ui": {"text": [f"slept {seconds} s"]}}


def _fail(context: Context, message: str) -> dict:
    raise RuntimeError(message)


_SIDE = {"default": 512, "min": 1, "max": 16384, "step": 1}
_PNG_INFO = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}
_SHOWN = {"category": "image", "is_output": True, "hidden": _PNG_INFO,
          "description": "Saves the input images to your ComfyUI output directory."}
NODES = {
    "EmptyImage": Node("EmptyImage", "", "image", {
        "width": ["INT", _SIDE],
        "height": ["INT", _SIDE],
        "batch_size": ["INT", {"default": 1, "min": 1, "max": 4096}],
        "color": ["INT", {"default": 0, "min": 0, "max": 0xFFFFFF, "step": 1, "display": "color"}],
    }, _empty_image, outputs=["IMAGE"]),
    "SaveImage": Node("Save Image", inputs={
        "images": ["IMAGE", {"tooltip": "The images to save."}],
        "filename_prefix": ["STRING", {"default": "ComfyUI", "tooltip": "What the names of the files begin with."}],
    }, run=_save_image, **_SHOWN),
    "PreviewImage": Node("Preview Image", inputs={"images": ["IMAGE"]}, run=_preview_image, **_SHOWN),
}
# Not in ComfyUI itself; sleep_node.py gives a real one the first of them, so that the same tests run on both.
TEST_NODES = {
    "Sleep": Node("Sleep", "Sleeps in steps and reports each.", "testing", {
        "seconds": ["FLOAT", {"default": 1.0, "min": 0.0, "max": 86400.0}],
        "steps": ["INT", {"default": 10, "min": 1, "max": 100000}],
    }, _sleep, optional={"preview": ["BOOLEAN", {"default": False}]}, is_output=True, module="custom_nodes.sleep_node"),
    "Fail": Node("Fail", "Raises.", "testing", {"message": ["STRING", {"default": "it failed"}]}, _fail,
                 is_output=True, module="custom_nodes.sleep_node"),
}
ALL = {**NODES, **TEST_NODES}

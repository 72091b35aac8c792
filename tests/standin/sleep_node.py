"""The nodes Sleep and Fail for a real ComfyUI, as a custom node: tests copy it there, so that they run on both."""

import time

from comfy.utils import ProgressBar
from PIL import Image


class Sleep:
    RETURN_TYPES = ()
    FUNCTION = "run"
    CATEGORY = "testing"
    DESCRIPTION = "Sleeps in steps and reports each."
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        seconds = ("FLOAT", {"default": 1.0, "min": 0.0, "max": 86400.0})
        steps = ("INT", {"default": 10, "min": 1, "max": 100000})
        preview = ("BOOLEAN", {"default": False})
        return {"required": {"seconds": seconds, "steps": steps}, "optional": {"preview": preview}}

    def run(self, seconds, steps, preview=False):
        bar = ProgressBar(steps)
        for step in range(1, steps + 1):
            time.sleep(seconds / steps)
            # Reporting is also where ComfyUI stops an interrupted prompt.
            picture = ("JPEG", Image.new("RGB", (256, 256), (step * 17 % 256, 0, 0)), None) if preview else None
            bar.update_absolute(step, steps, picture)
        return {"ui": {"text": [f"slept {seconds} s"]}}


class Fail:
    RETURN_TYPES = ()
    FUNCTION = "run"
    CATEGORY = "testing"
    DESCRIPTION = "Raises."
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"message": ("STRING", {"default": "it failed"})}}

    def run(self, message):
        raise RuntimeError(message)


NODE_CLASS_MAPPINGS = {"Sleep": Sleep, "Fail": Fail}

"""What /system_stats tells of the device: this machine's CPU, unless a test scripts something else."""

import os

CPU = {"name": "cpu", "type": "cpu", "index": None}
MEMORY_KEYS = ("vram_total", "vram_free", "torch_vram_total", "torch_vram_free")


class Device:
    """`values` is what is shown; scripted values win over measured ones."""

    def __init__(self, scripted: dict) -> None:
        self.scripted = dict(scripted)
        self.ram_total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    @property
    def ram_free(self) -> int:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")

    @property
    def values(self) -> dict:
        # A device without memory of its own shows the machine's, as ComfyUI does with --cpu.
        measured = {key: self.ram_total if key.endswith("total") else self.ram_free for key in MEMORY_KEYS}
        return {**CPU, **measured, **self.scripted}

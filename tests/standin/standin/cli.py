"""The command line: ComfyUI's own flags, of which some take effect here, and the stand-in's few."""

import argparse
import json
from pathlib import Path

# Flags of ComfyUI that a stand-in without a GPU can only accept. A flag in none of these lists ends the
# start with exit code 2, as with ComfyUI, so that a product that passes an invented flag is found out.
SWITCHES = """
    auto-launch disable-auto-launch cuda-malloc disable-cuda-malloc force-fp32 force-fp16 fp32-unet fp64-unet
    bf16-unet fp16-unet fp8_e4m3fn-unet fp8_e5m2-unet fp8_e8m0fnu-unet fp16-vae fp32-vae bf16-vae cpu-vae
    fp8_e4m3fn-text-enc fp8_e5m2-text-enc fp16-text-enc fp32-text-enc bf16-text-enc force-channels-last
    disable-ipex-optimize supports-fp8-compute cache-classic use-split-cross-attention
    use-quad-cross-attention use-pytorch-cross-attention use-sage-attention use-flash-attention disable-xformers
    force-upcast-attention dont-upcast-attention gpu-only highvram normalvram lowvram novram cpu async-offload
    force-non-blocking disable-smart-memory deterministic mmap-torch-files disable-mmap windows-standalone-build
    disable-all-custom-nodes disable-api-nodes
""".split()
WITH_VALUE = """
    cuda-device default-device oneapi-device-selector preview-method preview-size cache-lru reserve-vram
    default-hashing-function front-end-version comfy-api-base database-url
""".split()
WITH_OPTIONAL_VALUE = ["directml"]
WITH_SEVERAL_VALUES = ["extra-model-paths-config", "fast", "whitelist-custom-nodes"]


def _directory(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is not a directory.")
    return path


def _add_ineffective(parser: argparse.ArgumentParser) -> None:
    for name in SWITCHES:
        parser.add_argument(f"--{name}", action="store_true", help=argparse.SUPPRESS)
    for name in WITH_VALUE:
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    for name in WITH_OPTIONAL_VALUE:
        parser.add_argument(f"--{name}", nargs="?", help=argparse.SUPPRESS)
    for name in WITH_SEVERAL_VALUES:
        parser.add_argument(f"--{name}", nargs="*", action="append", help=argparse.SUPPRESS)


def _add_effective(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--listen", nargs="?", default="127.0.0.1", const="0.0.0.0,::", metavar="IP[,IP]")
    parser.add_argument("--port", type=int, default=8188)
    parser.add_argument("--tls-keyfile", metavar="PEM")
    parser.add_argument("--tls-certfile", metavar="PEM")
    parser.add_argument("--enable-cors-header", nargs="?", const="*", metavar="ORIGIN")
    parser.add_argument("--max-upload-size", type=float, default=100.0, metavar="MB")
    parser.add_argument("--base-directory", type=Path)
    parser.add_argument("--output-directory", type=Path)
    parser.add_argument("--input-directory", type=Path)
    parser.add_argument("--temp-directory", type=Path, help="the temp folder is made inside this one")
    parser.add_argument("--user-directory", type=_directory, help="must exist")
    parser.add_argument("--front-end-root", type=_directory)
    parser.add_argument("--enable-compress-response-body", action="store_true")
    parser.add_argument("--multi-user", action="store_true")
    parser.add_argument("--cache-none", action="store_true", help="run every node of every prompt")
    parser.add_argument("--disable-metadata", action="store_true", help="write no prompt into the images")
    parser.add_argument("--dont-print-server", action="store_true")
    parser.add_argument("--quick-test-for-ci", action="store_true")
    parser.add_argument("--verbose", nargs="?", default="INFO", const="DEBUG",
                        choices=["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"])
    parser.add_argument("--log-stdout", action="store_true")


def _add_own(parser: argparse.ArgumentParser) -> None:
    own = parser.add_argument_group("of the stand-in alone")
    own.add_argument("--test-extras", action="store_true", help="serve /_standin/*, the Manager and a custom node")
    own.add_argument("--list-jobs", action="store_true", help="serve /api/jobs, as the versions after 0.3.64 do")
    own.add_argument("--record", type=Path, metavar="FILE", help="append which handler ran, one JSON line a request")
    own.add_argument("--start-delay", type=float, default=0.0, metavar="S", help="pause before the port opens")
    own.add_argument("--stop-delay", type=float, default=0.0, metavar="S", help="pause between SIGINT and the end")
    own.add_argument("--device", type=json.loads, default={}, metavar="JSON",
                     help='what /system_stats says of its device, e.g. \'{"name": "cuda:0 …", "vram_total": 1}\'')


def parse(arguments: list[str]) -> argparse.Namespace:
    """Reads the command line; ends the process with code 2 where ComfyUI would."""
    parser = argparse.ArgumentParser(prog="main.py", description="Stand-in ComfyUI for tests")
    _add_effective(parser)
    _add_ineffective(parser)
    _add_own(parser)
    return parser.parse_args(arguments)

"""Where everything lives: the folders that the flags name, and the kinds of models."""

import os.path
import shutil
from dataclasses import dataclass
from pathlib import Path

# The kinds in the order in which ComfyUI lists them; all are empty here unless a test puts files into them.
MODEL_KINDS = """
    checkpoints configs loras vae text_encoders diffusion_models clip_vision style_models embeddings diffusers
    vae_approx controlnet gligen upscale_models custom_nodes hypernetworks photomaker classifiers model_patches
    audio_encoders
""".split()
# Kinds with more folders than models/KIND: older names, and what the saving nodes write to.
SEVERAL_FOLDERS = {
    "checkpoints": ["models/checkpoints", "output/checkpoints"],
    "loras": ["models/loras", "output/loras"],
    "vae": ["models/vae", "output/vae"],
    "text_encoders": ["models/text_encoders", "models/clip", "output/clip"],
    "diffusion_models": ["models/unet", "models/diffusion_models", "output/diffusion_models"],
    "controlnet": ["models/controlnet", "models/t2i_adapter"],
    "custom_nodes": ["custom_nodes"],
}
MODEL_SUFFIXES = {".ckpt", ".pt", ".pt2", ".bin", ".pth", ".safetensors", ".pkl", ".sft"}
_HOME = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Folders:
    """Absolute paths; `by_type` gives those that a client may name."""

    base: Path
    input: Path
    output: Path
    temp: Path
    user: Path

    def by_type(self, name: str | None) -> Path | None:
        return {"input": self.input, "output": self.output, "temp": self.temp}.get(name or "")

    def model_folders(self, kind: str) -> list[Path]:
        """The folders searched for one kind of model, in the order of search."""
        named = SEVERAL_FOLDERS.get(kind, [f"models/{kind}"])
        return [
            self.output / name.removeprefix("output/") if name.startswith("output/") else self.base / name
            for name in named
        ]

    def model_files(self, kind: str) -> list[str]:
        """Names relative to their folder, sorted; only files that can be models."""
        return sorted(name for folder in self.model_folders(kind) for name in models_below(folder))

    def remove_temp(self) -> None:
        shutil.rmtree(self.temp, ignore_errors=True)


def from_arguments(arguments) -> Folders:
    """Resolves the flags; --base-directory moves all, a folder's own flag wins over it."""
    base = (arguments.base_directory or _HOME).absolute()
    temp_parent = arguments.temp_directory.absolute() if arguments.temp_directory else base
    folders = Folders(
        base=base,
        input=(arguments.input_directory or base / "input").absolute(),
        output=(arguments.output_directory or base / "output").absolute(),
        temp=temp_parent / "temp",
        user=(arguments.user_directory or base / "user").absolute(),
    )
    folders.remove_temp()
    # The output folder is made by the first picture that is saved: until then listing it is an error.
    for path in (folders.input, folders.temp, folders.user):
        path.mkdir(parents=True, exist_ok=True)
    return folders


def inside(root: Path, *parts: str) -> Path | None:
    """The path made of `parts` below `root`, or None where it would leave `root`."""
    path = Path(os.path.abspath(root.joinpath(*parts)))
    return path if path == root or root in path.parents else None


def models_below(folder: Path) -> list[str]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix in MODEL_SUFFIXES)
    return [str(path.relative_to(folder)) for path in found]

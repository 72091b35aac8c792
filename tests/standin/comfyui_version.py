"""The version of ComfyUI whose behaviour the stand-in shows."""

__version__ = "0.3.64"

"""Starts the real comfy-guard binary in a folder of its own and talks to it as a guest would."""

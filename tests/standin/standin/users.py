"""Whose files: one user, or with --multi-user the one whom the `comfy-user` header names."""

import json
import re
import uuid
from pathlib import Path
from urllib.parse import unquote

from aiohttp import web

from .folders import inside


class Users:
    def __init__(self, folder: Path, several: bool) -> None:
        self.folder = folder
        self.several = several
        self._file = folder / "users.json"
        self.names = {"default": "default"}
        if several:
            self.names = json.loads(self._file.read_text()) if self._file.is_file() else {}

    def home(self, request: web.Request) -> Path:
        """KeyError, and so a 500, for a user nobody added."""
        user = request.headers.get("comfy-user", "default") if self.several else "default"
        if user not in self.names:
            raise KeyError(f"Unknown user: {user}")
        return self.folder / user

    def path(self, request: web.Request, name: str) -> Path | None:
        """`name` below the user's folder, whose parents are made; None where it would leave it.

        The router has decoded the name once already; ComfyUI decodes what is left a second time.
        """
        path = inside(self.home(request), unquote(name))
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def add(self, name: str) -> str:
        user = re.sub(r"[^a-zA-Z0-9_-]+", "-", name.strip()) + f"_{uuid.uuid4()}"
        self.names[user] = name.strip()
        self._file.write_text(json.dumps(self.names))
        return user

"""The server's files: its output, its temporary and its input folder, held in memory."""

from __future__ import annotations

import mimetypes
import re
from hashlib import sha1
from random import choices
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDERS = ("output", "temp", "input")

Place = tuple[str, str, str]
"""Folder, subfolder, file name."""

_ANNOTATED = re.compile(r"^(.*) \[(output|temp|input)\]$")


class Files:
    """What was saved and uploaded."""

    def __init__(self) -> None:
        self._files: dict[Place, bytes] = {}
        self._mark = "".join(choices(ascii_lowercase, k=5))

    def put(self, data: bytes, folder: str, subfolder: str, name: str) -> dict[str, str]:
        """Store a file under its name; its description, as results hold it."""
        self._files[folder, subfolder, name] = data
        return {"filename": name, "subfolder": subfolder, "type": folder}

    def get(self, folder: str, subfolder: str, name: str) -> bytes | None:
        return self._files.get((folder, subfolder, name))

    def remove(self, filename: str) -> None:
        """Delete every file of this name, as somebody at the server may."""
        for place in [place for place in self._files if place[2] == filename]:
            del self._files[place]

    def next_name(self, prefix: str, folder: str) -> tuple[str, str]:
        """The subfolder and file name that come next for a prefix."""
        if folder == "temp":
            prefix = f"ComfyUI_temp_{self._mark}"
        subfolder, _, stem = prefix.replace("\\", "/").rpartition("/")
        taken = [self._count(name, stem) for name in self._names(folder, subfolder)]
        return subfolder, f"{stem}_{max(taken, default=0) + 1:05}_.png"

    def upload(
        self, data: bytes, folder: str, subfolder: str, name: str, *, overwrite: bool
    ) -> dict[str, str]:
        """Store an upload; other bytes under a name that is taken get another name."""
        stem, dot, suffix = name.rpartition(".")
        free, count = name, 0
        while not overwrite and self.get(folder, subfolder, free) not in (None, data):
            count += 1
            free = f"{stem} ({count}){dot}{suffix}" if dot else f"{name} ({count})"
        stored = self.put(data, folder, subfolder, free)
        return {"name": free, "subfolder": subfolder, "type": stored["type"]}

    def named(self, reference: str) -> bytes | None:
        """The file that LoadImage means: `sub/name.png`, or `name.png [temp]`."""
        annotated = _ANNOTATED.match(reference)
        path, folder = (annotated[1], annotated[2]) if annotated else (reference, "input")
        subfolder, _, name = path.rpartition("/")
        return self.get(folder, subfolder, name)

    def fingerprint(self, reference: Any) -> str:
        """The state of such a file."""
        data = self.named(reference) if isinstance(reference, str) else None
        return "" if data is None else sha1(data, usedforsecurity=False).hexdigest()

    def inputs(self) -> list[str]:
        return sorted(self._names("input", ""))

    def forget(self, folder: str) -> None:
        """Empty a folder."""
        self._files = {place: data for place, data in self._files.items() if place[0] != folder}

    def _names(self, folder: str, subfolder: str) -> Iterator[str]:
        return (place[2] for place in list(self._files) if place[:2] == (folder, subfolder))

    def _count(self, name: str, stem: str) -> int:
        number = name.removeprefix(f"{stem}_").partition("_")[0]
        return int(number) if name.startswith(f"{stem}_") and number.isdigit() else 0


def content_type(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"

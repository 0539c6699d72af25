"""Folders: whether they can be written into, and how much room is left there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from imagen.doctor.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.config import Settings

_LITTLE_BYTES = 10**9


def look(settings: Settings) -> Iterator[Finding]:
    """A finding for each folder that imagen writes into."""
    yield _folder("output.directory", settings.output.directory, "output.directory")
    yield _folder("state_dir", settings.state_dir, "state_dir, or IMAGEN_STATE")
    if settings.library.enabled and "://" not in settings.library_at:
        folder = Path(settings.library_at).parent
        yield _folder("library.url", folder, "library.url, or IMAGEN_LIBRARY")


def _folder(subject: str, folder: Path, keys: str) -> Finding:
    """A folder that is yet to be made is as good as the one it will lie in."""
    whole = folder.absolute()
    there = next(place for place in (whole, *whole.parents) if os.path.lexists(place))
    elsewhere = f"Name another folder: {keys}."
    if not os.path.isdir(there):
        says = f"{there} is no folder"
        return Finding(subject=subject, state="broken", says=says, remedies=(elsewhere,))
    if not os.access(there, os.W_OK | os.X_OK):
        says = f"{there} can't be written into"
        return Finding(subject=subject, state="broken", says=says, remedies=(elsewhere,))
    return room(subject, whole, shutil.disk_usage(there).free)


def room(subject: str, folder: Path, free: int) -> Finding:
    """Whether so many bytes are enough."""
    says = f"{folder}, {free / 10**9:.1f} GB free"
    if free >= _LITTLE_BYTES:
        return Finding(subject=subject, says=says)
    return Finding(
        subject=subject, state="warning", says=says, remedies=("Make room on this disk.",)
    )

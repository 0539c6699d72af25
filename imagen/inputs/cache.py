"""Pictures made ready lie under the hash of their content, and not for ever."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from hashlib import sha256
from os.path import splitext
from shutil import rmtree
from typing import TYPE_CHECKING

from imagen.core.filesystem import make_private_folder, remove_parts, write_whole
from imagen.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path

_KEPT_SECONDS = 7 * 24 * 3600
_HASH = re.compile(r"[0-9a-f]{64}")
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]|[\ud800-\udfff]')
_LONGEST_BYTES = 100
_LONGEST_SUFFIX = 8


def cache_image(data: bytes, name: str, folder: Path) -> Path:
    """Where these bytes lie now: `<folder>/<sha256>/<name>`, which no one else changes.

    Raises OutputError where they can't be written.
    """
    path = folder.absolute() / sha256(data).hexdigest() / _safe(name)
    try:
        make_private_folder(path.parent.parent)
        make_private_folder(path.parent)
        if not _is_there(path, data):
            write_whole(path, data, is_private=True)
        os.utime(path.parent)
    except OSError as error:
        raise OutputError(
            f"The picture {path.name} can't be made ready in {folder}: {error.strerror or error}.",
            remedy="Set IMAGEN_STATE, or state_dir in imagen.yaml.",
        ) from error
    return path


def prune_cache(folder: Path, *, now: float | None = None) -> None:
    """Remove what was not used for seven days, and what killed processes left half written."""
    oldest = (time.time() if now is None else now) - _KEPT_SECONDS
    with suppress(OSError):
        for place in folder.iterdir():
            with suppress(OSError):
                if not _HASH.fullmatch(place.name):
                    continue
                if place.stat().st_mtime < oldest:
                    rmtree(place, ignore_errors=True)
                else:
                    remove_parts(place)


def _is_there(path: Path, data: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(data)


def _safe(name: str) -> str:
    """The user's own name for it, where every system takes that."""
    stem, suffix = splitext(_UNSAFE.sub("_", name))
    if not suffix and stem.startswith("."):
        stem, suffix = "", stem
    short = stem.encode()[:_LONGEST_BYTES].decode(errors="ignore").strip(" .")
    return f"{short or 'picture'}{suffix[:_LONGEST_SUFFIX]}"

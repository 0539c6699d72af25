"""Prepared images on disk, named by the hash of their content and deleted when unused."""

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

_MAX_AGE_SECONDS = 7 * 24 * 3600
_HASH = re.compile(r"[0-9a-f]{64}")
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]|[\ud800-\udfff]')
_LONGEST_STEM = 100
_LONGEST_SUFFIX = 8


def cache_image(data: bytes, name: str, folder: Path) -> Path:
    """Store the bytes as `<folder>/<sha256>/<name>`, which never changes, and return that path.

    Raises OutputError if they cannot be written.
    """
    stem, suffix = splitext(_UNSAFE.sub("_", name))
    if not suffix and stem.startswith("."):
        stem, suffix = "", stem
    stem = stem.encode()[:_LONGEST_STEM].decode(errors="ignore").strip(" .") or "image"
    file_name = f"{stem}{suffix[:_LONGEST_SUFFIX]}"  # valid on every system
    path = folder.absolute() / sha256(data).hexdigest() / file_name
    try:
        make_private_folder(path.parent.parent)
        make_private_folder(path.parent)
        if not (path.is_file() and path.stat().st_size == len(data)):
            write_whole(path, data, is_private=True)
        os.utime(path.parent)
    except OSError as error:
        raise OutputError(
            f"The prepared image {path.name} cannot be written to {folder}: "
            f"{error.strerror or error}.",
            remedy="Set IMAGEN_STATE, or state_dir in imagen.yaml.",
        ) from error
    return path


def prune_cache(folder: Path, *, now: float | None = None) -> None:
    """Delete what was not used for seven days, and unfinished files of killed processes."""
    oldest = (time.time() if now is None else now) - _MAX_AGE_SECONDS
    with suppress(OSError):
        for entry in folder.iterdir():
            with suppress(OSError):
                if not _HASH.fullmatch(entry.name):
                    continue
                if entry.stat().st_mtime < oldest:
                    rmtree(entry, ignore_errors=True)
                else:
                    remove_parts(entry)

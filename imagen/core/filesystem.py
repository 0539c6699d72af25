"""Files that are read within bounds or appear whole, and folders that only their owner can read."""

from __future__ import annotations

import os
import re
import stat
import sys
import time
from contextlib import contextmanager, suppress
from hashlib import file_digest
from typing import TYPE_CHECKING

from imagen.core.locks import claimed, is_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Link = Callable[[Path, Path], None]

_PART = re.compile(r"\.imagen-[0-9a-f]{16}\.part")
_CHUNK_BYTES = 2**20
_OWNER_ONLY, _BY_UMASK = 0o600, 0o666
_LONGEST_MOVE_SECONDS = 60
"""On Windows a part is closed before it is moved; an older one has no writer any more."""


def read_at_most(path: Path, most: int) -> bytes:
    """The file's bytes, no more than that many; raises OSError.

    `read(most)` alone would take the memory for all of them first, however small the file is.
    """
    with path.open("rb") as file:
        data = file.read(min(most, os.fstat(file.fileno()).st_size + 1))
        while len(data) < most and (more := file.read(min(most - len(data), _CHUNK_BYTES))):
            data += more  # of a pipe, or of a file that grows
    return data


def file_sha256(path: Path) -> str:
    """The SHA-256 of the file's content, in hexadecimal; raises OSError."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def write_whole(path: Path, data: bytes, *, is_private: bool = False) -> None:
    """Put `data` into the file, replacing one that is there; raises OSError."""
    with part_in(path.parent, is_private=is_private) as part:
        part.write_bytes(data)
        os.replace(part, path)


@contextmanager
def part_in(folder: Path, *, is_private: bool = False) -> Iterator[Path]:
    """A new file to be written and then moved or linked; removed after the block if still there.

    It is locked meanwhile: `remove_parts` of another process sees by that that its writer lives.
    """
    part, file = _new_part(folder, _OWNER_ONLY if is_private else _BY_UMASK)
    try:
        if sys.platform == "win32":  # there no open file can be moved
            os.close(file)
        yield part
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if sys.platform != "win32":
            os.close(file)


def _new_part(folder: Path, mode: int) -> tuple[Path, int]:
    while True:
        part = folder / f".imagen-{os.urandom(8).hex()}.part"
        file = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
        try:
            is_ours = sys.platform == "win32" or (claimed(file) and is_at(file, part))
        except OSError:  # not every file system has locks
            is_ours = True
        if is_ours:
            return part, file
        os.close(file)  # another process took it for one without a writer


def place_new(part: Path, path: Path, link: Link = os.link) -> bool:
    """Give the written file its name; False, and nothing is done, where the name is taken."""
    try:
        link(part, path)
    except FileExistsError:
        return False
    except OSError:  # not every file system has hard links
        return _place_without_link(part, path)
    return True


def _place_without_link(part: Path, path: Path) -> bool:
    """An empty file holds the name until the whole one replaces it."""
    try:
        path.open("xb").close()
    except FileExistsError:
        return False
    try:
        os.replace(part, path)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True


def remove_parts(folder: Path) -> None:
    """Remove what killed processes left of files they were writing there, and nothing else."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _PART.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                _remove_unless_written(folder / entry.name)


def _remove_unless_written(part: Path) -> None:
    with suppress(OSError):
        if sys.platform == "win32":  # what a process has open can't be removed
            if time.time() - part.stat().st_mtime > _LONGEST_MOVE_SECONDS:
                part.unlink()
            return
        file = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if claimed(file) and is_at(file, part):
                part.unlink()
        finally:
            os.close(file)


def make_private_folder(folder: Path, *, is_own: bool = True) -> None:
    """Make the folder, and those above it, where missing, for their owner only; raises OSError.

    One that is there already is tightened where it `is_own`: imagen's alone.
    """
    for missing in reversed([one for one in folder.parents if not os.path.lexists(one)]):
        missing.mkdir(0o700, exist_ok=True)
    folder.mkdir(0o700, exist_ok=True)
    if is_own:
        tighten(folder, 0o700)


def tighten(path: Path, mode: int = _OWNER_ONLY) -> None:
    """Take away what others may do with it; what is another user's stays as it is."""
    with suppress(OSError):
        if stat.S_IMODE(path.stat().st_mode) & ~mode:
            path.chmod(mode)

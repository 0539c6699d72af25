"""Files that are read within bounds or appear complete, private folders, and locks."""

from __future__ import annotations

import os
import re
import stat
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import file_digest
from typing import TYPE_CHECKING

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Link = Callable[[Path, Path], None]

_PART = re.compile(r"\.imagen-[0-9a-f]{16}\.part")
_CHUNK_BYTES = 2**20
_OWNER_ONLY, _BY_UMASK = 0o600, 0o666
_LONGEST_MOVE_SECONDS = 60
"""On Windows a part is closed before it is moved; an older one has lost its writer."""


def read_at_most(path: Path, most: int) -> bytes:
    """The bytes of a file, at most that many; raises OSError.

    `read(most)` alone would first allocate memory for all of them, however small the file is.
    """
    with path.open("rb") as file:
        data = file.read(min(most, os.fstat(file.fileno()).st_size + 1))
        while len(data) < most and (more := file.read(min(most - len(data), _CHUNK_BYTES))):
            data += more  # a pipe, or a file that grows
    return data


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal; raises OSError."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def write_whole(path: Path, data: bytes, *, is_private: bool = False) -> None:
    """Write a file so that it is never seen incomplete; raises OSError."""
    with part_in(path.parent, is_private=is_private) as part:
        part.write_bytes(data)
        os.replace(part, path)


@contextmanager
def part_in(folder: Path, *, is_private: bool = False) -> Iterator[Path]:
    """A new file to be written and then moved or linked; removed after the block if still there.

    It is locked meanwhile: that is how `remove_parts` of another process sees that it is in use.
    """
    while True:
        part = folder / f".imagen-{os.urandom(8).hex()}.part"
        mode = _OWNER_ONLY if is_private else _BY_UMASK
        file = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
        try:
            is_held = sys.platform == "win32" or (lock_file(file) and is_at(file, part))
        except OSError:  # not every file system has locks
            is_held = True
        if is_held:
            break
        os.close(file)  # another process took it for an abandoned one
    try:
        if sys.platform == "win32":  # there no open file can be moved
            os.close(file)
        yield part
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if sys.platform != "win32":
            os.close(file)


def place_new(part: Path, path: Path, link: Link = os.link) -> bool:
    """Give a written part its name; returns False, and does nothing, if the name is taken."""
    try:
        link(part, path)
    except FileExistsError:
        return False
    except OSError:  # not every file system has hard links: an empty file holds the name
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
    """Remove parts that killed processes left in a folder, and nothing else."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _PART.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    _remove_unless_in_use(folder / entry.name)


def _remove_unless_in_use(part: Path) -> None:
    if sys.platform == "win32":  # an open file cannot be removed
        if time.time() - part.stat().st_mtime > _LONGEST_MOVE_SECONDS:
            part.unlink()
        return
    file = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if lock_file(file) and is_at(file, part):
            part.unlink()
    finally:
        os.close(file)


def make_private_folder(folder: Path, *, is_own: bool = True) -> None:
    """Create a folder and its parents where missing, for their owner only; raises OSError.

    An existing folder is made private if it `is_own`, that is, imagen's alone.
    """
    for missing in reversed([one for one in folder.parents if not os.path.lexists(one)]):
        missing.mkdir(0o700, exist_ok=True)
    folder.mkdir(0o700, exist_ok=True)
    if is_own:
        tighten(folder, 0o700)


def tighten(path: Path, mode: int = _OWNER_ONLY) -> None:
    """Take away the permissions of others; files of another user are left as they are."""
    with suppress(OSError):
        if stat.S_IMODE(path.stat().st_mode) & ~mode:
            path.chmod(mode)


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock that this process holds until it releases it or ends.

    The `filelock` package does more, and takes 50 ms to import.
    """

    path: Path
    file: int

    def release(self) -> None:
        """Remove the file and release the lock; not to be called twice."""
        if sys.platform == "win32":  # an open file cannot be deleted, and is not free at once
            msvcrt.locking(self.file, msvcrt.LK_UNLCK, 1)
            os.close(self.file)
        with suppress(OSError):
            self.path.unlink()
        if sys.platform != "win32":
            os.close(self.file)


def lock(path: Path) -> Lock | None:
    """Lock a path between processes; None if this process or another holds it already.

    The file and its folder are created where missing. Raises OSError, also if the file system has
    no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            is_free = lock_file(file)
            if is_free and is_at(file, path):
                return Lock(path, file)
        except OSError:
            os.close(file)
            raise
        os.close(file)
        if not is_free:
            return None
        # Else its last holder has just removed the file: try again.


def is_held(path: Path) -> bool:
    """Whether some process holds the lock now."""
    if not os.path.exists(path):
        return False
    held = lock(path)
    if held is not None:
        held.release()
    return held is None


def is_at(file: int, path: Path) -> bool:
    """Whether this open file is the one at the path."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file), os.stat(path))
    return False


def lock_file(file: int) -> bool:
    """Lock an open file; returns False if another process holds it. Raises OSError."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True

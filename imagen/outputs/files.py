"""Write files atomically, and never over another file."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from imagen.core.filesystem import part_in, place_new
from imagen.errors import OutputError
from imagen.outputs.naming import numbered_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Write = Callable[[Path, bytes], None]
    Link = Callable[[Path, Path], None]

_MOST_NUMBERS = 100_000
_OTHER_FOLDER = "Nothing was sent. Name another folder with --output."


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and sync it to the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sidecar_path(path: Path) -> Path:
    """`fox.png.json` for `fox.png`, so that `fox.jpg` has a sidecar of its own."""
    return path.with_name(f"{path.name}.json")


def make_folder_within(root: Path, folders: Sequence[str]) -> Path:
    """The folder below `root`, created if it is missing.

    Raises OutputError if a symbolic link leads out of `root`; OSError as `mkdir` does.
    """
    folder = root.joinpath(*folders)
    if not Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(root)):
        raise OutputError(f"{folder} leads out of the output directory by a symbolic link")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def refuse_unwritable(folder: Path) -> None:
    """Raise OutputError if no image can be written there, before anything is paid."""
    absolute = folder.absolute()
    try:
        os.lstat(absolute)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise OutputError(
                f"Images cannot be saved in {folder}: {error.strerror}.", remedy=_OTHER_FOLDER
            ) from error
    existing = next(path for path in (absolute, *absolute.parents) if os.path.lexists(path))
    if not os.path.isdir(existing):
        raise OutputError(
            f"Images cannot be saved in {folder}: {existing} is not a folder.",
            remedy=_OTHER_FOLDER,
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise OutputError(f"The folder {existing} is not writable.", remedy=_OTHER_FOLDER)


def write_numbered(
    data: bytes, folder: Path, name: str, *, write: Write = write_synced, link: Link = os.link
) -> Path:
    """Write `data` into `folder` as `name`, or as `name-2`, … if that file exists already.

    A name whose sidecar exists counts as taken too. Raises OSError, and leaves nothing behind then.
    """
    with part_in(folder) as part:
        write(part, data)
        for candidate in islice(numbered_names(name), _MOST_NUMBERS):
            path = folder / candidate
            if not os.path.lexists(sidecar_path(path)) and place_new(part, path, link):
                return path
        raise FileExistsError(f"there are {_MOST_NUMBERS} files named {name} already")


def find_written(
    data: bytes, folder: Path, name: str, *, is_ours: Callable[[bytes], bool]
) -> Path | None:
    """The file that an interrupted `write_numbered` of the same data left; None if it left none.

    The file is ours if it has no sidecar yet, or one that `is_ours` accepts.
    """
    for candidate in islice(numbered_names(name), _MOST_NUMBERS):
        path = folder / candidate
        if not os.path.lexists(path):
            return None
        with suppress(OSError):
            if path.read_bytes() == data:
                sidecar = sidecar_path(path)
                if not os.path.lexists(sidecar) or is_ours(sidecar.read_bytes()):
                    return path
    return None


def write_new(data: bytes, path: Path, *, write: Write = write_synced) -> None:
    """Write `data` to `path`; raises FileExistsError rather than overwrite."""
    with part_in(path.parent) as part:
        write(part, data)
        if not place_new(part, path):
            raise FileExistsError(f"the file {path} exists already")

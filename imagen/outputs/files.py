"""Files that appear whole or not at all, and never in another's place."""

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


def write_synced(path: Path, data: bytes) -> None:
    """Write a file, down to the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sidecar_path(path: Path) -> Path:
    """`fox.png.json` for `fox.png`: two pictures of unlike kinds never share one."""
    return path.with_name(f"{path.name}.json")


def make_folder_within(root: Path, folders: Sequence[str]) -> Path:
    """The folder below `root`, made where it is missing.

    Raises OutputError where a symbolic link would lead out of `root`; OSError as `mkdir` does.
    """
    folder = root.joinpath(*folders)
    if not Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(root)):
        raise OutputError(f"{folder} leads out of the output directory by a symbolic link")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def refuse_unwritable(folder: Path) -> None:
    """Raises OutputError where a picture surely couldn't be put there: before anything is paid."""
    whole = folder.absolute()
    try:
        os.lstat(whole)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise OutputError(
                f"Images can't be saved in {folder}: {error.strerror}.",
                remedy="Nothing was sent. Name another folder with --output.",
            ) from error
    there = next(place for place in (whole, *whole.parents) if os.path.lexists(place))
    if not os.path.isdir(there):
        wrong = f"{there} is no folder, and pictures were to go into {folder}."
    elif not os.access(there, os.W_OK | os.X_OK):
        wrong = f"The folder {there} can't be written into."
    else:
        return
    raise OutputError(wrong, remedy="Nothing was sent. Name another folder with --output.")


def write_numbered(
    data: bytes, folder: Path, name: str, *, write: Write = write_synced, link: Link = os.link
) -> Path:
    """Write `data` into `folder` under `name`, or `name-2`, … where there is such a file already.

    A name whose sidecar's name is taken counts as taken too. Raises OSError, and then leaves
    nothing behind.
    """
    with part_in(folder) as part:
        write(part, data)
        for candidate in islice(numbered_names(name), _MOST_NUMBERS):
            path = folder / candidate
            if not os.path.lexists(sidecar_path(path)) and place_new(part, path, link):
                return path
        raise FileExistsError(f"there are {_MOST_NUMBERS} files called {name} already")


def find_written(
    data: bytes, folder: Path, name: str, *, is_ours: Callable[[bytes], bool]
) -> Path | None:
    """The file that an interrupted `put` of the same data left in `folder`; None where it did not.

    It is ours where it has no sidecar yet, or one of which `is_ours` says so.
    """
    for candidate in islice(numbered_names(name), _MOST_NUMBERS):
        path = folder / candidate
        if not os.path.lexists(path):
            return None
        with suppress(OSError):
            if path.read_bytes() == data and _has_no_other(sidecar_path(path), is_ours):
                return path
    return None


def _has_no_other(sidecar: Path, is_ours: Callable[[bytes], bool]) -> bool:
    return not os.path.lexists(sidecar) or is_ours(sidecar.read_bytes())


def write_new(data: bytes, path: Path, *, write: Write = write_synced) -> None:
    """Write `data` to `path`; raises FileExistsError rather than overwrite."""
    with part_in(path.parent) as part:
        write(part, data)
        if not place_new(part, path):
            raise FileExistsError(f"there is a file {path} already")

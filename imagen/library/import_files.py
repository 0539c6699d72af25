"""Takes pictures in that lie in a folder: ours, and those of other tools."""

from __future__ import annotations

import os
import platform
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select, update

from imagen.core.text import one_line
from imagen.errors import LibraryError, OutputError, RequestError
from imagen.library.foreign_files import Foreign, entry_of, foreign, is_picture
from imagen.library.schema import generations, images
from imagen.library.stored import path_of, stored_path
from imagen.library.write import take_in_import

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy import Row

    from imagen.library.database import Library

    OnProgress = Callable[[int, int], None]
    """Called with how many files are done, and how many there are."""

_THUMBNAILS = ("thumbnails", "@eadir")
"""Folders in which other programs keep pictures in small; and all whose names begin with a dot."""
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".apng", ".jfif")


class Taken(NamedTuple):
    """One picture that is in the library now."""

    path: Path
    id: str
    """Of its generation."""
    tool: str
    """Which program made it; "" is unknown."""
    has_settings: bool
    """Whether it told how it was made."""


class Trouble(NamedTuple):
    """One file that could not be taken in."""

    path: Path
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedFiles:
    """What became of the files of a folder."""

    taken: tuple[Taken, ...] = ()
    known: int = 0
    """How many the library had already, or were there twice."""
    moved: tuple[Path, ...] = ()
    """Where pictures lie now that the library knew elsewhere, and are there no more."""
    troubles: tuple[Trouble, ...] = ()
    skipped: int = 0
    """How many files are no pictures."""


@dataclass(slots=True)
class _Notes:
    """What became of the files so far."""

    taken: list[Taken] = field(default_factory=list)
    moved: list[Path] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)


def silent(done: int, total: int) -> None:
    """An `on_progress` for those who don't want to know."""


def add_files(
    library: Library,
    folders: Iterable[Path],
    *,
    on_progress: OnProgress = silent,
    is_dry: bool = False,
) -> AddedFiles:
    """Take in every picture below these folders that the library does not have; each once.

    Pictures that one run of ours made are one generation again. What can't be read is told, and
    stops nothing. With `is_dry` nothing is written. Raises RequestError for what is no folder,
    before anything is taken in; LibraryError.
    """
    paths = [path for folder in list(map(_sure, folders)) for path in _files(folder)]
    notes = _Notes()
    done = 0
    for folder_of_them in _by_folder(paths):
        found = [one for path in folder_of_them for one in _read(library, path, notes, is_dry)]
        for generation, pictures in _by_generation(found).items():
            _take(library, generation, pictures, notes, is_dry)
        done += len(folder_of_them)
        on_progress(done, len(paths))
    return AddedFiles(
        taken=tuple(notes.taken),
        known=notes.counts["known"],
        moved=tuple(notes.moved),
        troubles=tuple(notes.troubles),
        skipped=notes.counts["skipped"],
    )


def _sure(folder: Path) -> Path:
    if not os.path.isdir(folder):
        raise RequestError(f"There is no folder {folder}.")
    return folder


def _files(folder: Path) -> Iterator[Path]:
    """Every file below the folder that may be a picture; no link is followed, out of it or in."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _is_passed_over(name))
        for name in sorted(names):
            path = Path(root, name)
            is_named = path.suffix.lower() in _SUFFIXES and not name.startswith(".")
            if is_named and _is_file(path):
                yield path


def _is_file(path: Path) -> bool:
    """Neither a link nor a pipe, which would be waited for; true where that can't be seen."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return True


def _is_passed_over(folder: str) -> bool:
    return folder.startswith(".") or folder.lower() in _THUMBNAILS


def _by_folder(paths: Iterable[Path]) -> Iterator[list[Path]]:
    """Runs of files of one folder: the pictures of one run lie side by side."""
    together: dict[Path, list[Path]] = {}
    for path in paths:
        together.setdefault(path.parent, []).append(path)
    yield from together.values()


def _read(library: Library, path: Path, notes: _Notes, is_dry: bool) -> Iterator[Foreign]:
    """What is in the file, if it is a picture that the library does not have."""
    try:
        if not is_picture(path):
            notes.counts["skipped"] += 1
            return
        found = foreign(path)
    except OutputError as error:
        notes.troubles.append(Trouble(path, error.message))
    except OSError as error:
        notes.troubles.append(Trouble(path, f"{path} can't be read: {error.strerror or error}."))
    except MemoryError:
        notes.troubles.append(Trouble(path, f"{path} can't be added: there is not enough memory."))
    except Exception as error:  # noqa: BLE001 - a file may hold anything; it stops no other
        notes.troubles.append(_unforeseen(path, error))
    else:
        if found.sha256 in notes.seen or _is_known(library, found, notes, is_dry):
            notes.counts["known"] += 1
            return
        notes.seen.add(found.sha256)
        yield found


def _unforeseen(path: Path, error: Exception) -> Trouble:
    what = one_line(f"{type(error).__name__}: {error}", limit=120)
    return Trouble(path, f"{path} can't be added: what it says of itself is odd ({what}).")


def _is_known(library: Library, found: Foreign, notes: _Notes, is_dry: bool) -> bool:
    """Whether the library has these very bytes; where they had been moved, it learns of that."""
    with library.reading() as connection:
        rows = connection.execute(select(images).where(images.c.sha256 == found.sha256)).all()
    gone = [row for row in rows if row.host == platform.node() and not _is_there(row.path)]
    if gone and len(gone) == len(rows):
        notes.moved.append(found.path)
        if not is_dry:
            move(library, gone[0], found.path)
    return bool(rows)


def _is_there(stored: str) -> bool:
    return os.path.isfile(path_of(stored))


def move(library: Library, row: Row[Any], path: Path) -> None:
    """Note where a picture lies now; its sidecar belongs beside it."""
    sidecar = stored_path(path.with_name(f"{path.name}.json")) if row.sidecar else None
    values = {"path": stored_path(path), "sidecar": sidecar, "missing_ms": None}
    with library.writing() as connection:
        is_as_seen = (images.c.id == row.id) & (images.c.path == row.path)
        connection.execute(update(images).where(is_as_seen).values(**values))


def _by_generation(found: Iterable[Foreign]) -> dict[str, list[Foreign]]:
    together: dict[str, list[Foreign]] = {}
    for one in found:
        together.setdefault(one.generation, []).append(one)
    return {id: sorted(some, key=lambda one: one.index) for id, some in together.items()}


def _take(library: Library, id: str, pictures: list[Foreign], notes: _Notes, is_dry: bool) -> None:
    """One generation; of a run that is known already, each further picture is one of its own."""
    is_one = not _is_muddled(pictures)
    if is_one and _take_group(library, id, pictures, notes, is_dry):
        return
    for one in pictures:
        _take_group(library, one.own_generation, [one], notes, is_dry)


def _take_group(
    library: Library, id: str, pictures: list[Foreign], notes: _Notes, is_dry: bool
) -> bool:
    """Take them in as this generation; False where the library has it without some of them."""
    try:
        if is_dry:
            new = None if _has_generation(library, id) else {one.path for one in pictures}
        else:
            kept = take_in_import(library, entry_of(pictures, id))
            new = None if kept is None else {one.path for one in kept}
    except LibraryError as error:
        notes.troubles += [Trouble(one.path, error.message) for one in pictures]
        return True
    except Exception as error:  # noqa: BLE001 - the same, for what the library can't hold
        notes.troubles += [_unforeseen(one.path, error) for one in pictures]
        return True
    if new is None:
        return False
    notes.counts["known"] += len(pictures) - len(new)
    notes.taken += [
        Taken(one.path, id, one.origin.tool, one.record is not None)
        for one in pictures
        if one.path in new
    ]
    return True


def _has_generation(library: Library, id: str) -> bool:
    with library.reading() as connection:
        chosen = select(generations.c.id).where(generations.c.id == id)
        return connection.execute(chosen).first() is not None


def _is_muddled(pictures: list[Foreign]) -> bool:
    """Whether two of them claim to be the same one of their batch: an edited copy does."""
    return len({one.index for one in pictures}) < len(pictures)

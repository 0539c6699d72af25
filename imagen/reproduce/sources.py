"""Where the record of a picture is: in a file, beside one, or in the library."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imagen.errors import LibraryError, OutputError, RequestError
from imagen.outputs import read_full_record

if TYPE_CHECKING:
    from imagen.config import Settings
    from imagen.outputs import ImageRecord

_SIDECAR = ".json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A picture's record, and the picture itself where it is still there."""

    record: ImageRecord
    told_by: str
    """`sidecar`, `imagen`, `parameters`, `invokeai`, `prompt`, or `library`."""
    picture: Path | None
    folder: Path
    """Where the pictures that it was made of are looked for first."""


def source_of(word: str, settings: Settings) -> Found:
    """The record of the picture that is meant: a file's, where there is one, else an ID's.

    Raises OutputError for a file that does not tell, RequestError for an ID that is none.
    """
    if os.path.exists(word):
        return _of_file(Path(word), settings)
    return _of_library(word, settings)


def _of_file(path: Path, settings: Settings) -> Found:
    """A sidecar tells most, where it is of this very picture; then the picture; the library last.

    So it can be told how a picture was made whose texts some program has taken out.
    """
    record = read_full_record(path)
    if record is None:
        return _known_by_content(path, settings)
    return Found(
        record=record, told_by=record.source, picture=_picture(path, record), folder=path.parent
    )


def _picture(path: Path, record: ImageRecord) -> Path | None:
    """The picture of a file: itself, or the one that a sidecar lies beside."""
    if record.source != "sidecar" or path.suffix != _SIDECAR:
        return path
    picture = path.with_suffix("")
    return picture if os.path.isfile(picture) else None


def _known_by_content(path: Path, settings: Settings) -> Found:
    """What the library has on a picture that says nothing itself."""
    if settings.library.enabled and os.path.isfile(path):
        with suppress(RequestError):
            return _of_library(str(path), settings)
    raise OutputError(
        f"{path} does not say how it was made, and the library does not know it.",
        remedy="It can't be made again. What it shows can be asked for with: imagen generate",
    )


def _of_library(word: str, settings: Settings) -> Found:
    from imagen.library import find_image, load_record
    from imagen.pipeline.record import open_library_synced

    with open_library_synced(settings) as library:
        picture = find_image(library, word)
        record = load_record(library, picture)
    path = next((p for p in (picture.path, Path(word)) if os.path.isfile(p)), None)
    return Found(record=record, told_by="library", picture=path, folder=picture.path.parent)


def other_places(found: Found, settings: Settings) -> list[Path]:
    """Other places, known to the library, of the images that this one was made from.

    Paths count in the library's own records only; those in a file may lead to another computer.
    """
    record = found.record
    digests = {str(known.get("sha256")) for known in record.inputs}
    named = (Path(value) for value in record.request.values() if isinstance(value, str))
    is_own = found.told_by == "library"
    there = [path for path in named if is_own and path.is_absolute()]
    if not (digests and settings.library.enabled):
        return there
    from imagen.library import find_paths
    from imagen.pipeline.record import open_library_synced

    with suppress(LibraryError), open_library_synced(settings) as library:
        there += find_paths(library, digests)
    return there

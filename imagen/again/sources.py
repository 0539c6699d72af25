"""Where the record of a picture is: in a file, beside one, or in the library."""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING

from imagen.errors import ImagenError, OutputError
from imagen.outputs import read

if TYPE_CHECKING:
    from imagen.config import Settings
    from imagen.outputs import Record

_SIDECAR = ".json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A picture's record, and the picture itself where it is still there."""

    record: Record
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
    try:
        record = _best(path)
    except OutputError as error:
        return _known_by_content(path, settings, error)
    return Found(
        record=record, told_by=record.source, picture=_picture(path, record), folder=path.parent
    )


def _best(path: Path) -> Record:
    beside = path.with_name(path.name + _SIDECAR)
    if os.path.isfile(beside):
        try:
            record = read(beside)
        except OutputError:
            return read(path)
        if record.file.get("sha256") == _sha256(path):
            return record
    return read(path)


def _picture(path: Path, record: Record) -> Path | None:
    """The picture of a file: itself, or the one that a sidecar lies beside."""
    if record.source != "sidecar" or path.suffix != _SIDECAR:
        return path
    picture = path.with_suffix("")
    return picture if os.path.isfile(picture) else None


def _known_by_content(path: Path, settings: Settings, trouble: OutputError) -> Found:
    """What the library has on a file that says nothing itself; raises `trouble` if nothing."""
    if not (settings.library.enabled and os.path.isfile(path)):
        raise trouble
    try:
        return _of_library(str(path), settings)
    except ImagenError:
        raise trouble from None


def _of_library(word: str, settings: Settings) -> Found:
    from imagen.keeping import open_up_to_date
    from imagen.library import find_picture, record_of

    with open_up_to_date(settings) as library:
        picture = find_picture(library, word)
        record = record_of(library, picture)
    path = next((p for p in (picture.path, Path(word)) if os.path.isfile(p)), None)
    return Found(record=record, told_by="library", picture=path, folder=picture.path.parent)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()

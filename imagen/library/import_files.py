"""Takes pictures in that lie in a folder: ours, and those of other tools."""

from __future__ import annotations

import os
import platform
import stat
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from uuid import UUID, uuid5

from pydantic import ValidationError
from sqlalchemy import select, update

from imagen.core.capabilities import ParameterOutcome
from imagen.core.json_values import json_safe
from imagen.core.text import one_line
from imagen.core.ticket import InputImage, Ticket
from imagen.errors import LibraryError, OutputError, RequestError
from imagen.library.records import GenerationRecord, StoredImage
from imagen.library.schema import generations, images
from imagen.library.stored_values import path_of, stored_path
from imagen.library.write import record_import
from imagen.outputs import metadata, read_full_record, read_texts, strip_folders
from imagen.outputs.provenance import Provenance, find_provenance, request_from_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sqlalchemy import Row

    from imagen.core.request import Request
    from imagen.library.database import Library
    from imagen.outputs import ImageRecord

    OnProgress = Callable[[int, int], None]
    """Called with how many files are done, and how many there are."""


_THUMBNAILS = ("thumbnails", "@eadir")
"""Folders in which other programs keep pictures in small; and all whose names begin with a dot."""
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".apng", ".jfif")


class AddedImage(NamedTuple):
    """One picture that is in the library now."""

    path: Path
    id: str
    """Of its generation."""
    tool: str
    """Which program made it; "" is unknown."""
    has_settings: bool
    """Whether it told how it was made."""


class AddProblem(NamedTuple):
    """One file that could not be taken in."""

    path: Path
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedFiles:
    """What became of the files of a folder."""

    taken: tuple[AddedImage, ...] = ()
    known: int = 0
    """How many the library had already, or were there twice."""
    moved: tuple[Path, ...] = ()
    """Where pictures lie now that the library knew elsewhere, and are there no more."""
    troubles: tuple[AddProblem, ...] = ()
    skipped: int = 0
    """How many files are no pictures."""


@dataclass(slots=True)
class _Notes:
    """What became of the files so far."""

    taken: list[AddedImage] = field(default_factory=list)
    moved: list[Path] = field(default_factory=list)
    troubles: list[AddProblem] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)


def no_count(done: int, total: int) -> None:
    """An `on_progress` for those who don't want to know."""


def add_files(
    library: Library,
    folders: Iterable[Path],
    *,
    on_progress: OnProgress = no_count,
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


def _read(library: Library, path: Path, notes: _Notes, is_dry: bool) -> Iterator[FoundImage]:
    """What is in the file, if it is a picture that the library does not have."""
    try:
        if not is_image(path):
            notes.counts["skipped"] += 1
            return
        found = read_image(path)
    except OutputError as error:
        notes.troubles.append(AddProblem(path, error.message))
    except OSError as error:
        notes.troubles.append(AddProblem(path, f"{path} can't be read: {error.strerror or error}."))
    except MemoryError:
        notes.troubles.append(
            AddProblem(path, f"{path} can't be added: there is not enough memory.")
        )
    except Exception as error:  # noqa: BLE001 - a file may hold anything; it stops no other
        notes.troubles.append(_unforeseen(path, error))
    else:
        if found.sha256 in notes.seen or _is_known(library, found, notes, is_dry):
            notes.counts["known"] += 1
            return
        notes.seen.add(found.sha256)
        yield found


def _unforeseen(path: Path, error: Exception) -> AddProblem:
    what = one_line(f"{type(error).__name__}: {error}", limit=120)
    return AddProblem(path, f"{path} can't be added: what it says of itself is odd ({what}).")


def _is_known(library: Library, found: FoundImage, notes: _Notes, is_dry: bool) -> bool:
    """Whether the library has these very bytes; where they had been moved, it learns of that."""
    with library.reading() as connection:
        rows = connection.execute(select(images).where(images.c.sha256 == found.sha256)).all()
    gone = [row for row in rows if row.host == platform.node() and not _is_there(row.path)]
    if gone and len(gone) == len(rows):
        notes.moved.append(found.path)
        if not is_dry:
            update_path(library, gone[0], found.path)
    return bool(rows)


def _is_there(stored: str) -> bool:
    return os.path.isfile(path_of(stored))


def update_path(library: Library, row: Row[Any], path: Path) -> None:
    """Note where a picture lies now; its sidecar belongs beside it."""
    sidecar = stored_path(path.with_name(f"{path.name}.json")) if row.sidecar else None
    values = {"path": stored_path(path), "sidecar": sidecar, "missing_ms": None}
    with library.writing() as connection:
        is_as_seen = (images.c.id == row.id) & (images.c.path == row.path)
        connection.execute(update(images).where(is_as_seen).values(**values))


def _by_generation(found: Iterable[FoundImage]) -> dict[str, list[FoundImage]]:
    together: dict[str, list[FoundImage]] = {}
    for one in found:
        together.setdefault(one.generation, []).append(one)
    return {id: sorted(some, key=lambda one: one.index) for id, some in together.items()}


def _take(
    library: Library, id: str, pictures: list[FoundImage], notes: _Notes, is_dry: bool
) -> None:
    """One generation; of a run that is known already, each further picture is one of its own."""
    is_one = not _is_muddled(pictures)
    if is_one and _take_group(library, id, pictures, notes, is_dry):
        return
    for one in pictures:
        _take_group(library, one.own_generation, [one], notes, is_dry)


def _take_group(
    library: Library, id: str, pictures: list[FoundImage], notes: _Notes, is_dry: bool
) -> bool:
    """Take them in as this generation; False where the library has it without some of them."""
    try:
        if is_dry:
            new = None if _has_generation(library, id) else {one.path for one in pictures}
        else:
            kept = record_import(library, build_imported_record(pictures, id))
            new = None if kept is None else {one.path for one in kept}
    except LibraryError as error:
        notes.troubles += [AddProblem(one.path, error.message) for one in pictures]
        return True
    except Exception as error:  # noqa: BLE001 - the same, for what the library can't hold
        notes.troubles += [_unforeseen(one.path, error) for one in pictures]
        return True
    if new is None:
        return False
    notes.counts["known"] += len(pictures) - len(new)
    notes.taken += [
        AddedImage(one.path, id, one.origin.tool, one.record is not None)
        for one in pictures
        if one.path in new
    ]
    return True


def _has_generation(library: Library, id: str) -> bool:
    with library.reading() as connection:
        chosen = select(generations.c.id).where(generations.c.id == id)
        return connection.execute(chosen).first() is not None


def _is_muddled(pictures: list[FoundImage]) -> bool:
    """Whether two of them claim to be the same one of their batch: an edited copy does."""
    return len({one.index for one in pictures}) < len(pictures)


_OURS = UUID("d2a4c0c1-6a5c-4f0e-9d7e-3b1f5a0f7c11")
_FIRST_YEAR, _LAST_YEAR = 1971, 2200
_FIRST_BYTES = 16
_USED = ("seed", "steps", "cfg", "sampler", "scheduler", "width", "height")
UNKNOWN = "unknown"
"""Stands where a backend's name would, for a picture that does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundImage:
    """One picture in a folder, and all that it tells of itself."""

    path: Path
    """Absolute."""
    sha256: str
    size_bytes: int
    media_type: str
    width: int | None
    height: int | None
    created: datetime
    dated_by: Literal["sidecar", "exif", "file"]
    sidecar: Path | None
    record: ImageRecord | None
    """None where it says nothing."""
    origin: Provenance

    @property
    def generation(self) -> str:
        """The id of the ticket that made it; else one that is made of its content."""
        told = str(self.record.file.get("ticket", "")) if self.record else ""
        return told if _is_id(told) else self.own_generation

    @property
    def own_generation(self) -> str:
        """An id for this picture alone: the same for the same bytes, wherever they lie."""
        return str(uuid5(_OURS, self.sha256))

    @property
    def index(self) -> int:
        """Which of its batch, from 0."""
        told = self.record.file.get("index") if self.record else 0
        return told if type(told) is int and 0 <= told < 1024 else 0

    @property
    def request(self) -> Request:
        """What was used, as far as it is told, and can be asked for."""
        return _without_folders(request_from_values(self.origin.values)[0])


def is_image(path: Path) -> bool:
    """Whether the file begins as one of the kinds do that can be read."""
    with path.open("rb") as file:
        return metadata.kind(file.read(_FIRST_BYTES)) is not None


def read_image(path: Path) -> FoundImage:
    """All that is known of the picture at `path`.

    Raises OutputError for a file that can't be read, is cut short or damaged, or no picture.
    """
    read_texts(path, ())  # damaged files are found out here
    record = read_full_record(path)
    try:
        data, changed = path.read_bytes(), path.stat().st_mtime
    except OSError as error:
        raise OutputError(f"{path} can't be read: {error.strerror or error}.") from error
    kind = metadata.kind(data)
    if kind is None:
        raise OutputError(f"{path} is no picture of a kind that imagen reads.")
    width, height = metadata.size(data)
    created, dated_by = _created(data, record, changed)
    beside = path.with_name(f"{path.name}.json")
    return FoundImage(
        path=path.absolute(),
        sha256=sha256(data).hexdigest(),
        size_bytes=len(data),
        media_type=f"image/{kind}",
        width=width,
        height=height,
        created=created,
        dated_by=dated_by,
        sidecar=beside.absolute() if record is not None and record.source == "sidecar" else None,
        record=record,
        origin=find_provenance(record) if record else Provenance(),
    )


def _created(
    data: bytes, record: ImageRecord | None, changed: float
) -> tuple[datetime, Literal["sidecar", "exif", "file"]]:
    told = _moment(record.file.get("created")) if record else None
    if told is not None:
        return told, "sidecar"
    taken = _moment(_exif_time(data))
    return (taken, "exif") if taken else (_changed(changed), "file")


def _changed(seconds: float) -> datetime:
    """When the file was changed; now, if its file system's time is not valid."""
    with suppress(ValueError, OverflowError, OSError):
        moment = datetime.fromtimestamp(seconds, UTC)
        if moment.year <= _LAST_YEAR:
            return moment
    return datetime.now(UTC)


def _moment(text: Any) -> datetime | None:
    """The moment that a text names; without a time zone it is that of here."""
    with suppress(ValueError, OverflowError, OSError):  # Windows knows no zone of some years
        told = datetime.fromisoformat(text) if isinstance(text, str) else None
        if told is not None and _FIRST_YEAR <= told.year <= _LAST_YEAR:
            return told.astimezone()
    return None


def _exif_time(data: bytes) -> str:
    """`2025:11:21 08:30:05` of the EXIF block, as a moment is written otherwise."""
    text, zone = metadata.capture_time(data)
    date, _, time = text.partition(" ")
    return f"{date.replace(':', '-')}T{time}{zone}"


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def build_imported_record(pictures: Sequence[FoundImage], id: str) -> GenerationRecord:
    """The generation of these pictures, which one run made; the first tells of it."""
    first = pictures[0]
    record = first.record
    return GenerationRecord(
        id=id,
        backend=(record.backend if record else "") or first.origin.tool or UNKNOWN,
        kind=first.origin.kind,
        ticket=_ticket(first, id),
        request=_asked(record) or first.request,
        facts=_facts(first),
        created_at=first.created,
        ended_at=first.created,
        images=tuple(map(_kept, pictures)),
        source="import",
    )


def _asked(record: ImageRecord | None) -> Request | None:
    return (
        _without_folders(request_from_values(record.request)[0])
        if record and record.request
        else None
    )


def _without_folders(request: Request) -> Request:
    """With bare names for its files: what a stranger's record names is not to be looked for."""
    return request_from_values(strip_folders(request.model_dump(exclude_defaults=True), request))[0]


def _ticket(one: FoundImage, id: str) -> Ticket:
    record = one.record
    return Ticket(
        id=id,
        backend=(record.backend if record else "") or one.origin.tool or UNKNOWN,
        request=one.request,
        receipt=_receipt(record),
        payload=json_safe(record.graph) if record else {},
        inputs=_inputs(record),
        submitted=True,
    )


def _receipt(record: ImageRecord | None) -> dict[str, ParameterOutcome]:
    found: dict[str, ParameterOutcome] = {}
    for name, said in (record.receipt if record else {}).items():
        try:
            found[name] = ParameterOutcome.model_validate(said)
        except ValidationError:
            continue  # of a stranger's file, which may hold anything
    return found


def _inputs(record: ImageRecord | None) -> tuple[InputImage, ...]:
    return tuple(
        InputImage(
            parameter=str(known["parameter"]),
            name=str(known["name"]),
            sha256=str(known["sha256"]),
            width=_size(known.get("width")),
            height=_size(known.get("height")),
        )
        for known in (record.inputs if record else ())
        if {"parameter", "name", "sha256"} <= known.keys()
    )


def _size(value: Any) -> int:
    return value if type(value) is int else 0


def _facts(one: FoundImage) -> dict[str, Any]:
    """As a run of ours tells them; of a stranger's file also what it said in its own words."""
    record, models = one.record, one.origin.models
    if record is not None and record.source == "sidecar":
        return dict(record.facts)
    said = one.request.asked()
    used = {name: said[name] for name in _USED if name in said}
    sizes = {"width": one.width, "height": one.height}
    facts = {"model": models[0] if models else "", "models": list(models), **used, **sizes}
    return facts | ({} if record is None else {"told": _told(record)})


def _told(record: ImageRecord) -> dict[str, Any]:
    own = {"source": record.source, "tool": find_provenance(record).tool}
    if record.source in ("sidecar", "imagen"):
        return own
    return own | {"resolved": record.resolved, "facts": record.facts}


def _kept(one: FoundImage) -> StoredImage:
    told = one.record.file.get("seed") if one.record else None
    return StoredImage(
        path=one.path,
        sidecar=one.sidecar,
        index=one.index,
        media_type=one.media_type,
        width=one.width,
        height=one.height,
        seed=told if type(told) is int else one.request.seed,
        sha256=one.sha256,
        size_bytes=one.size_bytes,
    )

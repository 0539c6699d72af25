"""Add existing images to the library: those of imagen, and those of other programs."""

from __future__ import annotations

import os
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

from imagen.config.paths import host_name
from imagen.core.capabilities import ParameterOutcome
from imagen.core.ids import image_uid
from imagen.core.json_values import json_safe
from imagen.core.text import one_line
from imagen.core.ticket import InputImage, Ticket
from imagen.errors import LibraryError, OutputError, RequestError
from imagen.library.events import insert_image_events
from imagen.library.records import GenerationRecord, StoredImage
from imagen.library.schema import generations, images, path_of, stored_path
from imagen.library.write import record_import
from imagen.outputs import metadata, read_full_record, read_texts, strip_folders
from imagen.outputs.provenance import Provenance, find_provenance, request_from_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy import Row

    from imagen.core.request import Request
    from imagen.library.database import Library
    from imagen.outputs import ImageRecord

    OnProgress = Callable[[int, int], None]
    """Called with the number of files that are done, and of all files."""

_THUMBNAIL_FOLDERS = ("thumbnails", "@eadir")
"""Folders of other programs' thumbnails. Hidden folders are skipped too."""
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".apng", ".jfif")
_CONTENT_IDS = UUID("d2a4c0c1-6a5c-4f0e-9d7e-3b1f5a0f7c11")
"""The namespace of ids that are made from a file's content."""
_FIRST_YEAR, _LAST_YEAR = 1971, 2200
_FIRST_BYTES = 16
_MAX_BATCH = 1024
_FACTS_OF_REQUEST = ("seed", "steps", "cfg", "sampler", "scheduler", "width", "height")
UNKNOWN = "unknown"
"""The backend of an image that does not say which program made it."""


class AddedImage(NamedTuple):
    """One image that was added."""

    path: Path
    id: str
    """Of its generation."""
    tool: str
    """The program that made it; "" if unknown."""
    has_settings: bool
    """Whether the file says how it was made."""


class AddProblem(NamedTuple):
    """One file that could not be added."""

    path: Path
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedFiles:
    """What became of the files of some folders."""

    added: tuple[AddedImage, ...] = ()
    known: int = 0
    """Images that the library had already, or that were there twice."""
    moved: tuple[Path, ...] = ()
    """New paths of images that are no longer where the library had them."""
    problems: tuple[AddProblem, ...] = ()
    skipped: int = 0
    """Files that are not images."""


def no_count(done: int, total: int) -> None:
    """An `on_progress` that does nothing."""


def add_files(
    library: Library,
    folders: Iterable[Path],
    *,
    on_progress: OnProgress = no_count,
    is_dry: bool = False,
) -> AddedFiles:
    """Add every image in or below these folders that the library does not have.

    Images of one imagen run become one generation again. A file that cannot be read is reported,
    and the others are added. With `is_dry` nothing is written. Raises RequestError if a folder does
    not exist, before anything is added; LibraryError.
    """
    paths: list[Path] = []
    for folder in folders:
        if not os.path.isdir(folder):
            raise RequestError(f"Folder {folder} was not found.")
        paths += _list_files(folder)
    by_folder: dict[Path, list[Path]] = {}
    for path in paths:
        by_folder.setdefault(path.parent, []).append(path)
    run = _Import(library, is_dry)
    done = 0
    for files in by_folder.values():  # the images of one run are in one folder
        run.add_folder(files)
        done += len(files)
        on_progress(done, len(paths))
    return AddedFiles(
        added=tuple(run.added),
        known=run.counts["known"],
        moved=tuple(run.moved),
        problems=tuple(run.problems),
        skipped=run.counts["skipped"],
    )


def add_file(library: Library, path: Path) -> str:
    """Add one image that was just written, as a generation of its own; its unique id.

    If the library has these bytes already, it is that image. Raises OutputError, LibraryError.
    """
    image = read_image(path)
    record_import(library, build_imported_record([image], image.content_id))
    same = select(images).where(images.c.sha256 == image.sha256).order_by(images.c.id.desc())
    with library.reading() as connection:
        row = connection.execute(same.limit(1)).one()
    return image_uid(row.generation, row.number)


def _list_files(folder: Path) -> Iterator[Path]:
    """The files in or below a folder that may be images. Symbolic links are not followed."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and name.lower() not in _THUMBNAIL_FOLDERS
        )
        for name in sorted(names):
            path = Path(root, name)
            if path.suffix.lower() not in _SUFFIXES or name.startswith("."):
                continue
            with suppress(OSError):  # an unreadable file is reported later
                if not stat.S_ISREG(path.lstat().st_mode):
                    continue  # a link, or a pipe, which would block
            yield path


@dataclass(slots=True)
class _Import:
    """One run of `add_files`, so far."""

    library: Library
    is_dry: bool
    added: list[AddedImage] = field(default_factory=list)
    moved: list[Path] = field(default_factory=list)
    problems: list[AddProblem] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)

    def add_folder(self, files: list[Path]) -> None:
        by_generation: dict[str, list[FoundImage]] = {}
        for path in files:
            if (image := self._read_new(path)) is not None:
                by_generation.setdefault(image.generation, []).append(image)
        for id, group in by_generation.items():
            group.sort(key=lambda image: image.index)
            # An edited copy claims to be the same image of the batch as its original.
            has_copies = len({image.index for image in group}) < len(group)
            if has_copies or not self._add_generation(id, group):
                for image in group:
                    self._add_generation(image.content_id, [image])

    def _read_new(self, path: Path) -> FoundImage | None:
        """The image in a file, if it is one and the library does not have it."""
        try:
            if not is_image(path):
                self.counts["skipped"] += 1
                return None
            image = read_image(path)
        except OutputError as error:
            self.problems.append(AddProblem(path, error.message))
        except OSError as error:
            what = f"{path} cannot be read: {error.strerror or error}."
            self.problems.append(AddProblem(path, what))
        except MemoryError:
            self.problems.append(AddProblem(path, f"{path} cannot be added: out of memory."))
        except Exception as error:  # noqa: BLE001 - a file may hold anything; the others go on
            self.problems.append(_unexpected(path, error))
        else:
            if image.sha256 not in self.seen and not self._is_known(image):
                self.seen.add(image.sha256)
                return image
            self.counts["known"] += 1
        return None

    def _is_known(self, image: FoundImage) -> bool:
        """Whether the library has these bytes; if their file was moved, note the new path."""
        same = select(images).where(images.c.sha256 == image.sha256)
        with self.library.reading() as connection:
            rows = connection.execute(same).all()
        absent = [
            row for row in rows if row.host == host_name() and not os.path.isfile(path_of(row.path))
        ]
        if absent and len(absent) == len(rows):
            self.moved.append(image.path)
            if not self.is_dry:
                update_path(self.library, absent[0], image.path)
        return bool(rows)

    def _add_generation(self, id: str, group: list[FoundImage]) -> bool:
        """Add images as one generation; False if the library has one of this id already."""
        try:
            if self.is_dry:
                with self.library.reading() as connection:
                    same = select(generations.c.id).where(generations.c.id == id)
                    is_known = connection.execute(same).first() is not None
                new = None if is_known else {image.path for image in group}
            else:
                recorded = record_import(self.library, build_imported_record(group, id))
                new = None if recorded is None else {image.path for image in recorded}
        except LibraryError as error:
            self.problems += [AddProblem(image.path, error.message) for image in group]
            return True
        except Exception as error:  # noqa: BLE001 - a file may say what no library can hold
            self.problems += [_unexpected(image.path, error) for image in group]
            return True
        if new is None:
            return False
        self.counts["known"] += len(group) - len(new)
        self.added += [
            AddedImage(image.path, id, image.provenance.tool, image.record is not None)
            for image in group
            if image.path in new
        ]
        return True


def _unexpected(path: Path, error: Exception) -> AddProblem:
    reason = one_line(f"{type(error).__name__}: {error}", limit=120)
    return AddProblem(path, f"{path} cannot be added: its metadata is not valid ({reason}).")


def update_path(library: Library, row: Row[Any], path: Path) -> None:
    """Note the new path of an image, and of its sidecar beside it."""
    sidecar = stored_path(path.with_name(f"{path.name}.json")) if row.sidecar else None
    values = {"path": stored_path(path), "sidecar": sidecar, "missing_ms": None}
    with library.writing() as connection:
        is_unchanged = (images.c.id == row.id) & (images.c.path == row.path)
        if connection.execute(update(images).where(is_unchanged).values(**values)).rowcount:
            insert_image_events(
                connection, "images_changed", [image_uid(row.generation, row.number)]
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundImage:
    """An image file, and what it says about itself."""

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
    """None if it has no metadata."""
    provenance: Provenance

    @property
    def generation(self) -> str:
        """The id of the ticket that made it, or one made from its content."""
        id = str(self.record.file.get("ticket", "")) if self.record else ""
        with suppress(ValueError):
            if str(UUID(id)) == id:
                return id
        return self.content_id

    @property
    def content_id(self) -> str:
        """An id for this image alone, the same for the same bytes."""
        return str(uuid5(_CONTENT_IDS, self.sha256))

    @property
    def index(self) -> int:
        """Which of its batch, from 0."""
        index = self.record.file.get("index") if self.record else 0
        return index if type(index) is int and 0 <= index < _MAX_BATCH else 0

    @property
    def seed(self) -> int | None:
        """Of this image, or of its request."""
        seed = self.record.file.get("seed") if self.record else None
        return seed if type(seed) is int else self.request.seed

    @property
    def request(self) -> Request:
        """The settings that made it, as far as they are known."""
        return _bare_request(request_from_values(self.provenance.values)[0])


def is_image(path: Path) -> bool:
    """Whether the file begins like an image of a kind that imagen reads."""
    with path.open("rb") as file:
        return metadata.kind(file.read(_FIRST_BYTES)) is not None


def read_image(path: Path) -> FoundImage:
    """The image at `path` and its metadata.

    Raises OutputError for a file that cannot be read, is damaged, or is not an image.
    """
    read_texts(path, ())  # refuses damaged files
    record = read_full_record(path)
    try:
        data, changed = path.read_bytes(), path.stat().st_mtime
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror or error}.") from error
    kind = metadata.kind(data)
    if kind is None:
        raise OutputError(f"{path} is not an image of a kind that imagen reads.")
    width, height = metadata.size(data)
    created, dated_by = _find_time(data, record, changed)
    sidecar = path.with_name(f"{path.name}.json")
    return FoundImage(
        path=path.absolute(),
        sha256=sha256(data).hexdigest(),
        size_bytes=len(data),
        media_type=f"image/{kind}",
        width=width,
        height=height,
        created=created,
        dated_by=dated_by,
        sidecar=sidecar.absolute() if record and record.source == "sidecar" else None,
        record=record,
        provenance=find_provenance(record) if record else Provenance(),
    )


def _find_time(
    data: bytes, record: ImageRecord | None, changed: float
) -> tuple[datetime, Literal["sidecar", "exif", "file"]]:
    """When an image was made: by its record, its EXIF block, or its modification time."""
    if record and (created := _parse_time(record.file.get("created"))):
        return created, "sidecar"
    text, zone = metadata.capture_time(data)  # 2025:11:21 08:30:05
    date, _, time = text.partition(" ")
    if taken := _parse_time(f"{date.replace(':', '-')}T{time}{zone}"):
        return taken, "exif"
    with suppress(ValueError, OverflowError, OSError):  # not every file system's time is valid
        modified = datetime.fromtimestamp(changed, UTC)
        if modified.year <= _LAST_YEAR:
            return modified, "file"
    return datetime.now(UTC), "file"


def _parse_time(text: object) -> datetime | None:
    """An ISO time; without a time zone it is in this machine's."""
    with suppress(ValueError, OverflowError, OSError):  # Windows has no zone for some years
        time = datetime.fromisoformat(text) if isinstance(text, str) else None
        if time is not None and _FIRST_YEAR <= time.year <= _LAST_YEAR:
            return time.astimezone()
    return None


def build_imported_record(group: list[FoundImage], id: str) -> GenerationRecord:
    """The generation of these images, which one run made, as the first describes it."""
    first = group[0]
    record = first.record
    backend = (record.backend if record else "") or first.provenance.tool or UNKNOWN
    typed = record.request if record else None
    receipt: dict[str, ParameterOutcome] = {}
    for name, outcome in (record.receipt if record else {}).items():
        with suppress(ValidationError):
            receipt[name] = ParameterOutcome.model_validate(outcome)
    return GenerationRecord(
        id=id,
        backend=backend,
        kind=first.provenance.kind,
        ticket=Ticket(
            id=id,
            backend=backend,
            request=first.request,
            receipt=receipt,
            payload=json_safe(record.graph) if record else {},
            inputs=_parse_inputs(record),
            submitted=True,
        ),
        request=_bare_request(request_from_values(typed)[0]) if typed else first.request,
        facts=_build_facts(first),
        created_at=first.created,
        ended_at=first.created,
        images=tuple(
            StoredImage(
                path=image.path,
                sidecar=image.sidecar,
                index=image.index,
                media_type=image.media_type,
                width=image.width,
                height=image.height,
                seed=image.seed,
                sha256=image.sha256,
                size_bytes=image.size_bytes,
            )
            for image in group
        ),
        source="import",
    )


def _bare_request(request: Request) -> Request:
    """With bare names for its files: a stranger's record must not make imagen open files."""
    values = strip_folders(request.model_dump(exclude_defaults=True), request)
    return request_from_values(values)[0]


def _parse_inputs(record: ImageRecord | None) -> tuple[InputImage, ...]:
    def size(value: object) -> int:
        return value if type(value) is int else 0

    return tuple(
        InputImage(
            parameter=str(values["parameter"]),
            name=str(values["name"]),
            sha256=str(values["sha256"]),
            width=size(values.get("width")),
            height=size(values.get("height")),
        )
        for values in (record.inputs if record else ())
        if {"parameter", "name", "sha256"} <= values.keys()
    )


def _build_facts(image: FoundImage) -> dict[str, Any]:
    """The facts of imagen's own record; of other files, their settings and what they said."""
    record, models = image.record, image.provenance.models
    if record is not None and record.source == "sidecar":
        return dict(record.facts)
    known = image.request.asked()
    facts = {
        "model": models[0] if models else "",
        "models": list(models),
        **{name: known[name] for name in _FACTS_OF_REQUEST if name in known},
        "width": image.width,
        "height": image.height,
    }
    if record is None:
        return facts
    told: dict[str, Any] = {"source": record.source, "tool": image.provenance.tool}
    if record.source != "imagen":
        told |= {"resolved": record.resolved, "facts": record.facts}
    return facts | {"told": told}

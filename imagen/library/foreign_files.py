"""What the library is to keep of a picture that it was not told of: read from the file itself."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID, uuid5

from pydantic import ValidationError

from imagen.core.capabilities import ParameterOutcome
from imagen.core.ticket import InputImage, Ticket
from imagen.errors import OutputError
from imagen.library.records import GenerationRecord, StoredImage
from imagen.library.stored import as_json
from imagen.outputs import metadata, read_full_record, strip_folders, texts
from imagen.outputs.provenance import Provenance, origin, request_from_values

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imagen.core.request import Request
    from imagen.outputs import ImageRecord

_OURS = UUID("d2a4c0c1-6a5c-4f0e-9d7e-3b1f5a0f7c11")
_FIRST_YEAR, _LAST_YEAR = 1971, 2200
_FIRST_BYTES = 16
_USED = ("seed", "steps", "cfg", "sampler", "scheduler", "width", "height")
UNKNOWN = "unknown"
"""Stands where a backend's name would, for a picture that does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
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


def is_picture(path: Path) -> bool:
    """Whether the file begins as one of the kinds do that can be read."""
    with path.open("rb") as file:
        return metadata.kind(file.read(_FIRST_BYTES)) is not None


def foreign(path: Path) -> Foreign:
    """All that is known of the picture at `path`.

    Raises OutputError for a file that can't be read, is cut short or damaged, or no picture.
    """
    texts(path, ())  # damaged files are found out here
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
    return Foreign(
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
        origin=origin(record) if record else Provenance(),
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


def entry_of(pictures: Sequence[Foreign], id: str) -> GenerationRecord:
    """The generation of these pictures, which one run made; the first tells of it."""
    first = pictures[0]
    record = first.record
    return GenerationRecord(
        id=id,
        backend=(record.backend if record else "") or first.origin.tool or UNKNOWN,
        kind=first.origin.kind,
        ticket=_ticket(first, id),
        asked=_asked(record) or first.request,
        facts=_facts(first),
        created_at=first.created,
        ended_at=first.created,
        pictures=tuple(map(_kept, pictures)),
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


def _ticket(one: Foreign, id: str) -> Ticket:
    record = one.record
    return Ticket(
        id=id,
        backend=(record.backend if record else "") or one.origin.tool or UNKNOWN,
        request=one.request,
        receipt=_receipt(record),
        payload=as_json(record.graph) if record else {},
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


def _facts(one: Foreign) -> dict[str, Any]:
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
    own = {"source": record.source, "tool": origin(record).tool}
    if record.source in ("sidecar", "imagen"):
        return own
    return own | {"resolved": record.resolved, "facts": record.facts}


def _kept(one: Foreign) -> StoredImage:
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

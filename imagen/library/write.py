"""Takes generations in: each once, with its pictures, its ledger row and what is to be told."""

from __future__ import annotations

import platform
import time
import warnings
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeVar

from PIL import Image
from sqlalchemy import delete, insert, select, text
from sqlalchemy.exc import IntegrityError

from imagen.core.image_file import DECODE_ERRORS
from imagen.core.json_values import json_safe
from imagen.errors import LibraryError
from imagen.library import fulltext
from imagen.library.ledger import build_row
from imagen.library.migrations import lock_for_writing
from imagen.library.schema import generations, images, outbox, prompts, tags, thumbnails, usage
from imagen.library.stored_values import image_key, milliseconds, stored_path, stored_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from sqlalchemy import Connection, Row

    from imagen.config import UsageSettings
    from imagen.library.database import Library
    from imagen.library.records import Delivery, GenerationRecord, StoredImage


T = TypeVar("T")
_ATTEMPTS = 16
_UNIQUE = ("kind", "destination", "generation", "part")
"""What tells deliveries apart."""


def record_generation(
    library: Library,
    entry: GenerationRecord,
    deliveries: Sequence[Delivery] = (),
    *,
    costs: UsageSettings | None = None,
) -> bool:
    """Keep this generation; False where the library has it already.

    All of it is kept, or nothing. Raises LibraryError.
    """
    small = _thumbnails(entry)

    def work(connection: Connection, salt: int) -> bool:
        if _is_there(connection, entry):
            return False
        _forget_imported(connection, entry)
        _keep(connection, entry, small, salt)
        _account(connection, entry, costs)
        _post(connection, deliveries)
        return True

    return _write(library, work)


def record_import(library: Library, entry: GenerationRecord) -> tuple[StoredImage, ...] | None:
    """Keep the images of this generation whose bytes the library does not have; returns them.

    None, and nothing is kept, where there is a generation of this id already and further images
    would belong to it. Raises LibraryError.
    """
    small = _thumbnails(entry)

    def work(connection: Connection, salt: int) -> tuple[StoredImage, ...] | None:
        new = tuple(kept for kept in entry.images if not _is_stored(connection, kept.sha256))
        if new and _state_of(connection, entry.id):
            return None
        if new:
            _keep(connection, entry.model_copy(update={"images": new}), small, salt)
        return new

    return _write(library, work)


def _thumbnails(entry: GenerationRecord) -> dict[Path, bytes | None]:
    """Made before the transaction begins: others wait for its end."""
    return {kept.path: make_thumbnail(kept.path) for kept in entry.images}


def _write(library: Library, work: Callable[[Connection, int], T]) -> T:
    """Do it in a transaction of its own, alone: what it looks up stays so until it has written."""
    for salt in range(_ATTEMPTS):
        try:
            with library.writing() as connection:
                lock_for_writing(connection)
                return work(connection, salt)
        except LibraryError as error:
            if not isinstance(error.__cause__, IntegrityError):
                raise
            last = error  # two generations drew the same number
    raise last


def _is_stored(connection: Connection, digest: str) -> bool:
    known = select(images.c.id).where(images.c.sha256 == digest)
    return connection.execute(known).first() is not None


def _forget_imported(connection: Connection, entry: GenerationRecord) -> None:
    """`library add` may have found these files before their generation was recorded."""
    for kept in entry.images:
        same = select(images.c.id).join(generations, images.c.generation == generations.c.id)
        same = same.where(
            generations.c.source == "import",
            images.c.sha256 == kept.sha256,
            images.c.host == platform.node(),
            images.c.path == stored_path(kept.path),
        )
        for key in connection.scalars(same).all():
            delete_image(connection, key)


def _state_of(connection: Connection, id: str) -> Row[str, str] | None:
    known = select(generations.c.state, generations.c.source).where(generations.c.id == id)
    return connection.execute(known).one_or_none()


def _is_there(connection: Connection, entry: GenerationRecord) -> bool:
    """What failed and was brought to its end later, or was found on disk before it was told of, is
    kept anew."""
    there = _state_of(connection, entry.id)
    if there is None:
        return False
    is_less = there.state == "failed" or (there.source, entry.source) == ("import", "imagen")
    if is_less and entry.state == "done":
        delete_generation(connection, entry.id)
        return False
    return True


def _keep(
    connection: Connection, entry: GenerationRecord, small: Mapping[Path, bytes | None], salt: int
) -> None:
    connection.execute(insert(generations).values(_generation(entry)))
    cut = fulltext.tokenize(entry.request.prompt or entry.ticket.request.prompt or "")
    for number, kept in enumerate(entry.images):
        key = image_key(entry.id, entry.created_at, number, salt)
        connection.execute(insert(images).values(_image(entry, kept, number, key)))
        _index(connection, key, cut)
        if (webp := small[kept.path]) is not None:
            connection.execute(insert(thumbnails).values(image=key, webp=webp))


def _index(connection: Connection, key: int, cut: list[str]) -> None:
    if connection.dialect.name == "sqlite":
        statement, value = "INSERT INTO prompts (rowid, words) VALUES (:key, :w)", " ".join(cut)
    else:
        statement = "INSERT INTO prompts (rowid, words) VALUES (:key, CAST(:w AS tsvector))"
        value = fulltext.postgres_vector(cut)
    connection.execute(text(statement), {"key": key, "w": value})


def _generation(entry: GenerationRecord) -> dict[str, Any]:
    request = entry.ticket.request
    values = {
        "id": entry.id,
        "began_ms": milliseconds(entry.created_at),
        "ended_ms": milliseconds(entry.ended_at),
        "state": entry.state,
        "source": entry.source,
        "backend": entry.backend,
        "kind": entry.kind,
        "model": entry.model,
        "task": request.task,
        "prompt": entry.request.prompt or request.prompt or "",
        "caller": entry.caller,
        "asked": entry.request.model_dump(mode="json", exclude_defaults=True),
        "ticket": json_safe(entry.ticket.model_dump(mode="json")),
        "facts": entry.facts,
        "warnings": list(entry.warnings),
        "error": entry.error,
    }
    return _row(values)


def _row(values: dict[str, Any]) -> dict[str, Any]:
    """Its texts as the databases take them; what is JSON may hold any character."""
    return {
        name: stored_text(value) if isinstance(value, str) else value
        for name, value in values.items()
    }


def _image(entry: GenerationRecord, kept: StoredImage, number: int, key: int) -> dict[str, Any]:
    values = {
        "id": key,
        "generation": entry.id,
        "number": number,
        "backend": entry.backend,
        "model": entry.model,
        "host": platform.node(),
        "path": stored_path(kept.path),
        "sidecar": stored_path(kept.sidecar) if kept.sidecar else None,
        "media_type": kept.media_type,
        "size_bytes": kept.size_bytes,
        "sha256": kept.sha256,
        "width": kept.width,
        "height": kept.height,
        "seed": None if kept.seed is None else str(kept.seed),
    }
    return _row(values)


def _account(connection: Connection, entry: GenerationRecord, costs: UsageSettings | None) -> None:
    """A row of the ledger for each generation that was made here and came to a good end."""
    if entry.state == "done" and entry.source == "imagen":
        of_an_earlier_life = delete(usage).where(usage.c.generation == entry.id)
        connection.execute(of_an_earlier_life)
        connection.execute(insert(usage).values(_row(build_row(entry, costs))))


def _post(connection: Connection, deliveries: Sequence[Delivery]) -> None:
    """What was to be told of an earlier life of the generation, which failed, is replaced."""
    now = round(time.time() * 1000)
    for delivery in deliveries:
        same = [outbox.c[name] == getattr(delivery, name) for name in _UNIQUE]
        connection.execute(delete(outbox).where(*same))
        connection.execute(
            insert(outbox).values(
                **delivery.model_dump(mode="json"),
                state="waiting",
                attempts=0,
                due_ms=now,
                claimed_until_ms=0,
                last_error="",
                created_ms=now,
            )
        )


def delete_image(connection: Connection, key: int) -> None:
    """What is known of one picture, and its way to the cloud where that was still before it."""
    chosen = select(images.c.generation, images.c.number).where(images.c.id == key)
    row = connection.execute(chosen).one_or_none()
    for table, column in (
        (tags, tags.c.image),
        (thumbnails, thumbnails.c.image),
        (prompts, prompts.c.rowid),
        (images, images.c.id),
    ):
        connection.execute(delete(table).where(column == key))
    if row is not None:
        _call_off(connection, row.generation, row.number)
        _forget_empty(connection, row.generation)


def delete_generation(connection: Connection, id: str) -> None:
    """A generation and all its pictures."""
    for key in connection.scalars(select(images.c.id).where(images.c.generation == id)).all():
        delete_image(connection, key)
    connection.execute(delete(generations).where(generations.c.id == id))


def _call_off(connection: Connection, generation: str, number: int) -> None:
    connection.execute(
        delete(outbox).where(
            outbox.c.kind == "cloud",
            outbox.c.destination == "",
            outbox.c.generation == generation,
            outbox.c.part == number,
            outbox.c.state != "sent",
        )
    )


def _forget_empty(connection: Connection, generation: str) -> None:
    others = select(images.c.id).where(images.c.generation == generation)
    if connection.execute(others).first() is None:
        connection.execute(delete(generations).where(generations.c.id == generation))


# Pillow would load all of its formats for one that it does not know yet, in three times the time.


SIDE = 320
"""Pixels of the longer side, at most."""
_QUALITY = 80
_MOST_BYTES = 220 * 2**20
"""To decode one image; a file of a few kilobytes may hold any number of pixels."""
_PIXEL_BYTES = {"1": 1, "L": 1, "P": 1}
"""Of a decoded pixel; 4 for all other modes."""
_PROGRESSIVE_BYTES, _WEBP_BYTES, _COPY_BYTES = 6, 17, 4
"""Of a pixel, what decoding needs for all passes of a JPEG, and for a WebP; and a copy of it."""
_UNSHOWABLE = (*DECODE_ERRORS, MemoryError, Image.DecompressionBombError)
"""What Pillow raises for files that are damaged, or are none of its kinds."""


def make_thumbnail(path: Path) -> bytes | None:
    """The picture at `path` in small; None for what is no picture that can be shown."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as picture:
            return _small(picture)
    except _UNSHOWABLE:
        return None


def _small(picture: Image.Image) -> bytes | None:
    has_alpha = "A" in picture.getbands() or "transparency" in picture.info
    mode = "RGBA" if has_alpha else "RGB"
    is_scaled_first = picture.mode in ("L", "LA", "RGB", "RGBA") and (
        "transparency" not in picture.info
    )
    if _needed_bytes(picture, is_copied=not is_scaled_first) > _MOST_BYTES:
        return None
    picture.draft("RGB", (SIDE, SIDE))  # a JPEG need not be decoded in full
    small = picture if is_scaled_first else picture.convert(mode)
    small.thumbnail((SIDE, SIDE))
    buffer = BytesIO()
    small.convert(mode).save(buffer, "WEBP", quality=_QUALITY, method=2)
    return buffer.getvalue()


def _needed_bytes(picture: Image.Image, *, is_copied: bool) -> int:
    """About how much memory it takes to decode the image."""
    each = _PIXEL_BYTES.get(picture.mode, 4) + (_COPY_BYTES if is_copied else 0)
    if picture.format == "WEBP":
        each = _WEBP_BYTES
    elif picture.format == "JPEG":  # scaled to an eighth while it is decoded, unless in passes
        each = _PROGRESSIVE_BYTES if "progressive" in picture.info else 1
    return picture.width * picture.height * each

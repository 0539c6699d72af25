"""Record generations and delete images: each in one transaction, completely or not at all."""

from __future__ import annotations

import time
import warnings
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

# Otherwise Pillow imports all of its formats for one that is not registered, which takes longer.
from PIL import Image, WebPImagePlugin  # noqa: F401
from sqlalchemy import delete, insert, select, text
from sqlalchemy.exc import IntegrityError

from imagen.config.paths import host_name
from imagen.core.ids import image_uid
from imagen.core.image_file import DECODE_ERRORS
from imagen.core.json_values import json_safe
from imagen.errors import LibraryError
from imagen.library import fulltext
from imagen.library.events import insert_image_events
from imagen.library.ledger import build_row
from imagen.library.migrations import lock_for_writing
from imagen.library.schema import (
    album_images,
    generations,
    image_key,
    images,
    lora_names,
    loras,
    milliseconds,
    outbox,
    prompts,
    stored_path,
    stored_text,
    tags,
    thumbnails,
    usage,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from sqlalchemy import Connection, Row

    from imagen.config import UsageSettings
    from imagen.library.database import Library
    from imagen.library.records import Delivery, GenerationRecord, StoredImage

T = TypeVar("T")
_ATTEMPTS = 16
_DELIVERY_KEY = ("kind", "destination", "generation", "part")

THUMBNAIL_SIDE = 320
"""Pixels of the longer side, at most."""
_QUALITY = 80
_MAX_DECODE_BYTES = 220 * 2**20
"""For one image: a file of a few kilobytes may have any number of pixels."""
_PIXEL_BYTES = {"1": 1, "L": 1, "P": 1}
"""Of a decoded pixel; 4 in all other modes."""
_PROGRESSIVE_BYTES, _WEBP_BYTES, _COPY_BYTES = 6, 17, 4
"""Per pixel: decoding a progressive JPEG, decoding WebP, and a converted copy."""


def record_generation(
    library: Library,
    record: GenerationRecord,
    deliveries: Sequence[Delivery] = (),
    *,
    costs: UsageSettings | None = None,
) -> bool:
    """Record this generation and queue its deliveries; False if the library has it already.

    Raises LibraryError.
    """
    prepared = prepare_generation(record, deliveries, costs)

    def work(connection: Connection, salt: int) -> bool:
        replaced = insert_prepared(connection, prepared, salt)
        if replaced is None:
            return False
        insert_image_events(connection, "images_removed", replaced)
        insert_image_events(connection, "images_added", uids_of(record))
        return True

    return write_exclusively(library, work)


def uids_of(record: GenerationRecord) -> list[str]:
    """The unique ids of its images, which the library numbers from 0."""
    return [image_uid(record.id, number) for number in range(len(record.images))]


class PreparedGeneration(NamedTuple):
    """A generation with all that is needed to record it in a transaction."""

    record: GenerationRecord
    deliveries: Sequence[Delivery]
    costs: UsageSettings | None
    thumbnails: Mapping[Path, bytes | None]


def prepare_generation(
    record: GenerationRecord, deliveries: Sequence[Delivery], costs: UsageSettings | None
) -> PreparedGeneration:
    """Do what needs no transaction: make the thumbnails."""
    return PreparedGeneration(record, deliveries, costs, _make_thumbnails(record))


def insert_prepared(
    connection: Connection, prepared: PreparedGeneration, salt: int
) -> list[str] | None:
    """`record_generation` in the caller's transaction, which `write_exclusively` began.

    Returns the unique ids of the images that it replaces; None if the library has it already. The
    caller writes the events as the last thing of its transaction.
    """
    record, deliveries, costs, small = prepared
    known = _find_state(connection, record.id)
    replaced: list[str] = []
    if known is not None:
        # A failed or imported one makes way for one that is done.
        is_less = known.state == "failed" or (known.source, record.source) == ("import", "imagen")
        if not (is_less and record.state == "done"):
            return None
        replaced += delete_generation(connection, record.id)
    replaced += _delete_imported(connection, record)
    _insert_generation(connection, record, small, salt)
    if record.state == "done" and record.source == "imagen":
        # Recorded before as failed, it may have a row already.
        connection.execute(delete(usage).where(usage.c.generation == record.id))
        connection.execute(insert(usage).values(_stored_texts(build_row(record, costs))))
    now = round(time.time() * 1000)
    for delivery in deliveries:  # those of an earlier, failed record are replaced
        same = [outbox.c[name] == getattr(delivery, name) for name in _DELIVERY_KEY]
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
    return replaced


def record_import(library: Library, record: GenerationRecord) -> tuple[StoredImage, ...] | None:
    """Record the images whose bytes the library does not have yet, and return them.

    Returns None, and records nothing, if there is a generation of this id already. Raises
    LibraryError.
    """
    small = _make_thumbnails(record)

    def work(connection: Connection, salt: int) -> tuple[StoredImage, ...] | None:
        def is_known(image: StoredImage) -> bool:
            same = select(images.c.id).where(images.c.sha256 == image.sha256)
            return connection.execute(same).first() is not None

        new = tuple(image for image in record.images if not is_known(image))
        if new and _find_state(connection, record.id):
            return None
        if new:
            only_new = record.model_copy(update={"images": new})
            _insert_generation(connection, only_new, small, salt)
            insert_image_events(connection, "images_added", uids_of(only_new))
        return new

    return write_exclusively(library, work)


def delete_image(connection: Connection, key: int) -> list[str]:
    """Delete the row of an image and what belongs to it; the ledger stays.

    Its upload is cancelled if it was not sent yet, and its generation goes with its last image.
    Returns its unique id, for an event; nothing if there is no such image.
    """
    chosen = select(images.c.generation, images.c.number).where(images.c.id == key)
    row = connection.execute(chosen).one_or_none()
    for table, column in (
        (tags, tags.c.image),
        (loras, loras.c.image),
        (album_images, album_images.c.image),
        (thumbnails, thumbnails.c.image),
        (prompts, prompts.c.rowid),
        (images, images.c.id),
    ):
        connection.execute(delete(table).where(column == key))
    if row is None:
        return []
    connection.execute(
        delete(outbox).where(
            outbox.c.kind == "cloud",
            outbox.c.destination == "",
            outbox.c.generation == row.generation,
            outbox.c.part == row.number,
            outbox.c.state != "sent",
        )
    )
    others = select(images.c.id).where(images.c.generation == row.generation)
    if connection.execute(others).first() is None:
        connection.execute(delete(generations).where(generations.c.id == row.generation))
    return [image_uid(row.generation, row.number)]


def delete_generation(connection: Connection, id: str) -> list[str]:
    """Delete a generation and its images, and return their unique ids; the ledger stays."""
    keys = connection.scalars(select(images.c.id).where(images.c.generation == id)).all()
    removed = [uid for key in keys for uid in delete_image(connection, key)]
    connection.execute(delete(generations).where(generations.c.id == id))
    return removed


def _make_thumbnails(record: GenerationRecord) -> dict[Path, bytes | None]:
    """Made before the transaction begins, as other writers wait for its end."""
    return {image.path: make_thumbnail(image.path) for image in record.images}


def write_exclusively(library: Library, work: Callable[[Connection, int], T]) -> T:
    """Run `work` in a transaction beside no other one of this kind; it gets a salt.

    It runs again with another salt if two generations drew the same key.
    """
    for salt in range(_ATTEMPTS):
        try:
            with library.writing() as connection:
                lock_for_writing(connection)
                return work(connection, salt)
        except LibraryError as error:
            if not isinstance(error.__cause__, IntegrityError):
                raise
            last = error
    raise last


def _find_state(connection: Connection, id: str) -> Row[str, str] | None:
    known = select(generations.c.state, generations.c.source).where(generations.c.id == id)
    return connection.execute(known).one_or_none()


def _delete_imported(connection: Connection, record: GenerationRecord) -> list[str]:
    """`library add` may have found these files before their generation was recorded."""
    removed: list[str] = []
    for image in record.images:
        same = select(images.c.id).join(generations, images.c.generation == generations.c.id)
        same = same.where(
            generations.c.source == "import",
            images.c.sha256 == image.sha256,
            images.c.host == host_name(),
            images.c.path == stored_path(image.path),
        )
        for key in connection.scalars(same).all():
            removed += delete_image(connection, key)
    return removed


def _insert_generation(
    connection: Connection,
    record: GenerationRecord,
    small: Mapping[Path, bytes | None],
    salt: int,
) -> None:
    prompt = record.request.prompt or record.ticket.request.prompt or ""
    values = {
        "id": record.id,
        "created_ms": milliseconds(record.created_at),
        "ended_ms": milliseconds(record.ended_at),
        "state": record.state,
        "source": record.source,
        "backend": record.backend,
        "kind": record.kind,
        "model": record.model,
        "task": record.ticket.request.task,
        "prompt": prompt,
        "caller": record.caller,
        "request": record.request.model_dump(mode="json", exclude_defaults=True),
        "ticket": json_safe(record.ticket.model_dump(mode="json")),
        "facts": record.facts,
        "warnings": list(record.warnings),
        "error": record.error,
    }
    connection.execute(insert(generations).values(_stored_texts(values)))
    words = fulltext.tokenize(prompt)
    _insert_images(connection, record, small, salt, words)


def _insert_images(
    connection: Connection,
    record: GenerationRecord,
    small: Mapping[Path, bytes | None],
    salt: int,
    words: list[str],
) -> None:
    """The rows of its images, with the words of their prompt, their LoRAs and thumbnails."""
    if connection.dialect.name == "sqlite":
        insert_words = "INSERT INTO prompts (rowid, words) VALUES (:key, :words)"
        stored_words = " ".join(words)
    else:
        insert_words = "INSERT INTO prompts (rowid, words) VALUES (:key, CAST(:words AS tsvector))"
        stored_words = fulltext.postgres_vector(words)
    names = lora_names(lora.name for lora in record.ticket.request.loras)
    lora_rows = [{"lora": name} for name in names]
    cost = _cost_of_image(record)
    for number, image in enumerate(record.images):
        key = image_key(record.id, record.created_at, number, salt)
        row = {
            "id": key,
            "generation": record.id,
            "number": number,
            "backend": record.backend,
            "model": record.model,
            "host": host_name(),
            "path": stored_path(image.path),
            "sidecar": stored_path(image.sidecar) if image.sidecar else None,
            "media_type": image.media_type,
            "size_bytes": image.size_bytes,
            "sha256": image.sha256,
            "width": image.width,
            "height": image.height,
            "seed": None if image.seed is None else str(image.seed),
            "cost": cost,
        }
        connection.execute(insert(images).values(_stored_texts(row)))
        if lora_rows:
            connection.execute(insert(loras), [{**one, "image": key} for one in lora_rows])
        connection.execute(text(insert_words), {"key": key, "words": stored_words})
        if (webp := small[image.path]) is not None:
            connection.execute(insert(thumbnails).values(image=key, webp=webp))


def _cost_of_image(record: GenerationRecord) -> float | None:
    """Its share in US dollars, as in the ledger; None if unknown, as for an imported image."""
    if record.state != "done" or record.source != "imagen" or not record.images:
        return None
    row = build_row(record, None)
    if not row["is_paid"]:
        return 0.0
    usd = row["estimated_cost"] if row["actual_cost"] is None else row["actual_cost"]
    return None if usd is None else float(usd) / len(record.images)


def _stored_texts(values: dict[str, Any]) -> dict[str, Any]:
    """Texts as both databases accept them; JSON columns may hold any character."""
    return {
        name: stored_text(value) if isinstance(value, str) else value
        for name, value in values.items()
    }


def make_thumbnail(path: Path, side: int = THUMBNAIL_SIDE) -> bytes | None:
    """A WebP thumbnail of the image; None for a file that cannot be shown."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            has_alpha = "A" in image.getbands() or "transparency" in image.info
            mode = "RGBA" if has_alpha else "RGB"
            is_scaled_first = (
                image.mode in ("L", "LA", "RGB", "RGBA") and "transparency" not in image.info
            )
            pixel_bytes = _PIXEL_BYTES.get(image.mode, 4) + (0 if is_scaled_first else _COPY_BYTES)
            if image.format == "WEBP":
                pixel_bytes = _WEBP_BYTES
            elif image.format == "JPEG":  # `draft` decodes an eighth, unless it is progressive
                pixel_bytes = _PROGRESSIVE_BYTES if "progressive" in image.info else 1
            if image.width * image.height * pixel_bytes > _MAX_DECODE_BYTES:
                return None
            image.draft("RGB", (side, side))
            small = image if is_scaled_first else image.convert(mode)
            small.thumbnail((side, side))
            buffer = BytesIO()
            small.convert(mode).save(buffer, "WEBP", quality=_QUALITY, method=2)
            return buffer.getvalue()
    except (*DECODE_ERRORS, MemoryError, Image.DecompressionBombError):
        return None

"""The outbox: deliveries that wait to be sent, so that no command waits for a delivery target."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import BigInteger, case, delete, exists, func, literal, or_, select, update

from imagen.config.paths import host_name
from imagen.core.ids import image_uid
from imagen.core.json_values import json_safe
from imagen.library.events import insert_image_events
from imagen.library.records import Delivery
from imagen.library.schema import blobs, datetime_of, images, outbox, path_of, stored_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Row

    from imagen.library.database import Library

DeliveryState = Literal["waiting", "stuck", "sent"]
_CLAIM_MS = 10 * 60 * 1000
"""A claim lasts this long; then other senders may have the delivery."""
_UNSENT = outbox.c.state.in_(("waiting", "stuck"))
"""Written so that the index applies: there may be a million sent deliveries."""
_AVAILABLE_MS = case(
    (outbox.c.claimed_until_ms > outbox.c.due_ms, outbox.c.claimed_until_ms), else_=outbox.c.due_ms
)
"""When a delivery can be claimed: another sender may hold it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingDelivery:
    """A delivery in the outbox, and its state."""

    id: int
    delivery: Delivery
    state: DeliveryState
    attempts: int
    due: datetime
    """Not sent before."""
    last_error: str
    """Of the last attempt; empty if there was none."""


def claim(library: Library, *, limit: int = 10, now_ms: int | None = None) -> list[PendingDelivery]:
    """Claim the next due deliveries for ten minutes; no other sender gets the same ones."""
    now = _now() if now_ms is None else now_ms
    order = outbox.c.due_ms, outbox.c.id
    free = select(outbox).where(*_claimable(library, now)).order_by(*order).limit(limit)
    with library.writing() as connection:
        rows = connection.execute(free.with_for_update(skip_locked=True)).all()
        claimed = update(outbox).where(outbox.c.id.in_([row.id for row in rows]))
        connection.execute(claimed.values(claimed_until_ms=now + _CLAIM_MS))
    return [_pending(row) for row in rows]


def count_due(library: Library) -> int:
    """How many deliveries this machine could claim now."""
    counted = select(func.count()).select_from(outbox).where(*_claimable(library, _now()))
    with library.reading() as connection:
        return connection.execute(counted).scalar_one()


def next_due(library: Library) -> datetime | None:
    """When this machine's next delivery is due; None if none is waiting."""
    due = select(func.min(_AVAILABLE_MS)).where(
        outbox.c.state == "waiting", *_for_this_machine(library)
    )
    with library.reading() as connection:
        ms = connection.execute(due).scalar()
    return None if ms is None else datetime_of(ms)


def _claimable(library: Library, now: int) -> Iterator[ColumnElement[bool]]:
    """Due, and not claimed."""
    yield outbox.c.state == "waiting"
    yield outbox.c.due_ms <= now
    yield outbox.c.claimed_until_ms <= now
    yield from _for_this_machine(library)


def _for_this_machine(library: Library) -> Iterator[ColumnElement[bool]]:
    """If several machines share the library, the one with the file sends an image.

    An image of which a copy is stored may be sent by any.
    """
    if not library.is_sqlite:
        is_elsewhere = exists().where(*_image_of_other_machine()).correlate(outbox)
        # That other machine may be this one under an earlier name, or the folder is shared.
        theirs = outbox.c.kind == "cloud", _UNSENT, *_image_of_other_machine()
        chosen = select(outbox.c.id, images.c.path, images.c.size_bytes).where(*theirs)
        with library.reading() as connection:
            rows = connection.execute(chosen).all()
        present = []
        for row in rows:
            with suppress(OSError):
                if path_of(row.path).stat().st_size == row.size_bytes:
                    present.append(row.id)
        yield or_(outbox.c.kind != "cloud", ~is_elsewhere, outbox.c.id.in_(present))


def _image_of_other_machine() -> tuple[ColumnElement[bool], ...]:
    """A delivery's image, and that only another machine has it."""
    its = images.c.generation == outbox.c.generation, images.c.number == outbox.c.part
    is_stored = exists().where(blobs.c.sha256 == images.c.sha256)
    return *its, images.c.host != host_name(), ~is_stored


def with_current_paths(library: Library, pending: PendingDelivery) -> PendingDelivery | None:
    """An image's delivery with the present paths of its files.

    Returns None, and deletes the delivery, if the image is no longer in the library.
    """
    delivery = pending.delivery
    its = images.c.generation == delivery.generation, images.c.number == delivery.part
    with library.reading() as connection:
        row = connection.execute(select(images).where(*its)).one_or_none()
    if row is None:
        delete_unsent(library, [pending.id])
        return None
    sidecar = str(path_of(row.sidecar)) if row.sidecar else None
    paths = {"file": str(path_of(row.path)), "sidecar": sidecar, "host": row.host}
    current = delivery.model_copy(update={"payload": delivery.payload | paths})
    return replace(pending, delivery=current)


def mark_sent(library: Library, pending: PendingDelivery, facts: Mapping[str, Any]) -> None:
    """Note that a delivery was sent; `facts` are the place of an image in the cloud."""
    delivery = pending.delivery
    with library.writing() as connection:
        _finish_attempt(connection, pending, state="sent", sent_ms=_now(), last_error="")
        if delivery.kind == "cloud":
            its = images.c.generation == delivery.generation, images.c.number == delivery.part
            connection.execute(update(images).where(*its).values(cloud=json_safe(facts)))
            uid = image_uid(delivery.generation, delivery.part)
            insert_image_events(connection, "images_changed", [uid])


def mark_failed(
    library: Library, pending: PendingDelivery, error: str, *, again_in_seconds: float | None
) -> None:
    """Note that an attempt failed: the delivery waits for the next one, or is stuck if None."""
    state = "stuck" if again_in_seconds is None else "waiting"
    due = _now() + round((again_in_seconds or 0) * 1000)
    with library.writing() as connection:
        _finish_attempt(connection, pending, state=state, due_ms=due, last_error=stored_text(error))


def _finish_attempt(connection: Connection, pending: PendingDelivery, **values: Any) -> None:
    # After an expired claim another sender may have delivered it.
    mine = outbox.c.id == pending.id, outbox.c.state != "sent"
    attempts = outbox.c.attempts + 1
    finished = update(outbox).where(*mine)
    connection.execute(finished.values(claimed_until_ms=0, attempts=attempts, **values))


def hold_destination(
    library: Library, failed: PendingDelivery, error: str, *, pauses: Sequence[float] | None
) -> int:
    """Postpone whatever else is due for the destination of a failed delivery, without trying it.

    `pauses` are seconds, by the number of earlier attempts; None makes them stuck. Returns how many
    were postponed.
    """
    now = _now()
    values: dict[str, Any] = {"attempts": outbox.c.attempts + 1, "last_error": stored_text(error)}
    if pauses is None:
        values["state"] = "stuck"
    else:
        ms = [round(seconds * 1000) for seconds in pauses]
        pause = case(dict(enumerate(ms)), value=outbox.c.attempts, else_=ms[-1])
        # Those after the failed one come first next time, then those before it, and it comes last:
        # a delivery that always fails does not hold up the others.
        head_start = case((outbox.c.id > failed.id, 2), else_=1)
        values["due_ms"] = literal(now, BigInteger) + pause - head_start
    others = update(outbox).where(*_same_destination(failed.delivery), *_claimable(library, now))
    with library.writing() as connection:
        return connection.execute(others.values(**values)).rowcount


def advance_destination(library: Library, delivery: Delivery, *, seconds: float) -> int:
    """Make failed deliveries of a destination that works again due that much sooner."""
    late = outbox.c.state == "waiting", outbox.c.attempts > 0, outbox.c.due_ms > _now()
    chosen = update(outbox).where(*_same_destination(delivery), *late)
    with library.writing() as connection:
        sooner = chosen.values(due_ms=outbox.c.due_ms - round(seconds * 1000))
        return connection.execute(sooner).rowcount


def _same_destination(delivery: Delivery) -> Iterator[ColumnElement[bool]]:
    yield outbox.c.kind == delivery.kind
    yield outbox.c.destination == delivery.destination


def postpone(library: Library, pending: PendingDelivery, reason: str, *, seconds: float) -> None:
    """Release a delivery that cannot be sent from here now, without counting an attempt."""
    due = _now() + round(seconds * 1000)
    values = {"due_ms": due, "claimed_until_ms": 0, "last_error": stored_text(reason)}
    with library.writing() as connection:
        connection.execute(update(outbox).where(outbox.c.id == pending.id).values(**values))


def release(library: Library, pending: PendingDelivery) -> None:
    """Undo a claim."""
    mine = outbox.c.id == pending.id, outbox.c.state == "waiting"
    with library.writing() as connection:
        connection.execute(update(outbox).where(*mine).values(claimed_until_ms=0))


def delete_unsent(library: Library, ids: Sequence[int]) -> int:
    """Delete deliveries that were not sent; returns how many."""
    chosen = delete(outbox).where(outbox.c.id.in_(ids), outbox.c.state != "sent")
    with library.writing() as connection:
        return connection.execute(chosen).rowcount


def retry(library: Library, ids: Sequence[int] | None = None) -> int:
    """Make unsent deliveries due now, stuck ones too; returns how many.

    A claim that would last longer than any comes from a wrong clock and is dropped.
    """
    now = _now()
    claimed = outbox.c.claimed_until_ms
    kept_claim = case((claimed > now + _CLAIM_MS, 0), else_=claimed)
    chosen = update(outbox).where(_UNSENT)
    if ids is not None:
        chosen = chosen.where(outbox.c.id.in_(ids))
    values = {"state": "waiting", "due_ms": now, "claimed_until_ms": kept_claim}
    with library.writing() as connection:
        return connection.execute(chosen.values(**values)).rowcount


def list_unsent(library: Library) -> list[PendingDelivery]:
    """All deliveries that wait or are stuck, in order."""
    chosen = select(outbox).where(_UNSENT).order_by(outbox.c.id)
    with library.reading() as connection:
        return [_pending(row) for row in connection.execute(chosen)]


def deliveries_for(library: Library, generation: str, part: int) -> list[PendingDelivery]:
    """The deliveries of one image, and of its generation as a whole; sent ones too."""
    is_its = or_(outbox.c.kind != "cloud", outbox.c.part == part)
    chosen = select(outbox).where(outbox.c.generation == generation, is_its).order_by(outbox.c.id)
    with library.reading() as connection:
        return [_pending(row) for row in connection.execute(chosen)]


def _pending(row: Row[Any]) -> PendingDelivery:
    return PendingDelivery(
        id=row.id,
        delivery=Delivery(
            kind=row.kind,
            destination=row.destination,
            generation=row.generation,
            part=row.part,
            payload=row.payload,
        ),
        state=row.state,
        attempts=row.attempts,
        due=datetime_of(max(row.due_ms, row.claimed_until_ms)),
        last_error=row.last_error,
    )


def _now() -> int:
    return round(time.time() * 1000)

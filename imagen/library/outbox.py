"""The outbox: what others are yet to be told, so that nobody waits for them or fails with them."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import BigInteger, case, delete, exists, func, literal, or_, select, update

from imagen.core.json_values import json_safe
from imagen.library.records import Delivery
from imagen.library.schema import images, outbox
from imagen.library.stored_values import datetime_of, path_of, stored_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy import ColumnElement, Row

    from imagen.library.database import Library

DeliveryState = Literal["waiting", "stuck", "sent"]
_CLAIM_MS = 10 * 60 * 1000
"""After so long, one whose sender died is anybody's again."""
_UNSENT = outbox.c.state.in_(("waiting", "stuck"))
"""Said so that an index tells: of what was sent there may be a million."""
_DUE = case(
    (outbox.c.claimed_until_ms > outbox.c.due_ms, outbox.c.claimed_until_ms), else_=outbox.c.due_ms
)
"""When it can be claimed: another sender may have it in hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingDelivery:
    """One delivery, and how far it has come."""

    id: int
    delivery: Delivery
    state: DeliveryState
    attempts: int
    due: datetime
    """Not before then."""
    last_error: str
    """Why the last attempt failed; empty where there was none."""


def claim(library: Library, *, limit: int = 10, now_ms: int | None = None) -> list[PendingDelivery]:
    """The next deliveries that are due, for this caller alone; of several senders each gets other
    ones. A claim lasts ten minutes."""
    now = _now() if now_ms is None else now_ms
    order = outbox.c.due_ms, outbox.c.id
    chosen = select(outbox).where(*_free(library, now)).order_by(*order).limit(limit)
    with library.writing() as connection:
        found = connection.execute(chosen.with_for_update(skip_locked=True)).all()
        mine = outbox.c.id.in_([row.id for row in found])
        connection.execute(update(outbox).where(mine).values(claimed_until_ms=now + _CLAIM_MS))
    return [_waiting(row) for row in found]


def count_due(library: Library) -> int:
    """How many this machine could claim now."""
    chosen = select(func.count()).select_from(outbox).where(*_free(library, _now()))
    with library.reading() as connection:
        return connection.execute(chosen).scalar_one()


def _free(library: Library, now: int) -> Iterator[ColumnElement[bool]]:
    """Due, and in nobody's hand."""
    yield outbox.c.state == "waiting"
    yield outbox.c.due_ms <= now
    yield outbox.c.claimed_until_ms <= now
    yield from _for_us(library)


def _for_us(library: Library) -> Iterator[ColumnElement[bool]]:
    """In a library of several machines, a picture is sent by the one on which it lies."""
    if not library.is_sqlite:
        is_of_others = exists().where(*_of_others()).correlate(outbox)
        is_here = outbox.c.id.in_(_here_after_all(library))
        yield or_(outbox.c.kind != "cloud", ~is_of_others, is_here)


def _of_others() -> tuple[ColumnElement[bool], ...]:
    """A delivery's picture, and that a machine of another name made it."""
    its = images.c.generation == outbox.c.generation, images.c.number == outbox.c.part
    return *its, images.c.host != platform.node()


def _here_after_all(library: Library) -> list[int]:
    """Pictures that a machine of another name made, and that lie here: it may be this one."""
    theirs = outbox.c.kind == "cloud", _UNSENT, *_of_others()
    chosen = select(outbox.c.id, images.c.path, images.c.size_bytes).where(*theirs)
    with library.reading() as connection:
        rows = connection.execute(chosen).all()
    return [row.id for row in rows if _size(path_of(row.path)) == row.size_bytes]


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def with_current_paths(library: Library, waiting: PendingDelivery) -> PendingDelivery | None:
    """A picture's delivery with the places at which its files lie by now; None, and it is called
    off, where the library has the picture no more."""
    delivery = waiting.delivery
    its = images.c.generation == delivery.generation, images.c.number == delivery.part
    with library.reading() as connection:
        row = connection.execute(select(images).where(*its)).one_or_none()
    if row is None:
        delete_unsent(library, [waiting.id])
        return None
    sidecar = str(path_of(row.sidecar)) if row.sidecar else None
    now = {"file": str(path_of(row.path)), "sidecar": sidecar, "host": row.host}
    moved = delivery.model_copy(update={"payload": delivery.payload | now})
    return replace(waiting, delivery=moved)


def mark_sent(library: Library, waiting: PendingDelivery, facts: Mapping[str, Any]) -> None:
    """It was delivered; `facts` say where a picture lies in the cloud now."""
    delivery = waiting.delivery
    with library.writing() as connection:
        _update(connection, waiting, state="sent", sent_ms=_now(), last_error="")
        if delivery.kind == "cloud":
            its = images.c.generation == delivery.generation, images.c.number == delivery.part
            connection.execute(update(images).where(*its).values(cloud=json_safe(facts)))


def mark_failed(
    library: Library, waiting: PendingDelivery, why: str, *, again_in_seconds: float | None
) -> None:
    """It was not delivered: it waits for another attempt, or is stuck where there is no sense in
    one."""
    state = "stuck" if again_in_seconds is None else "waiting"
    due = _now() + round((again_in_seconds or 0) * 1000)
    with library.writing() as connection:
        _update(connection, waiting, state=state, due_ms=due, last_error=stored_text(why))


def hold_destination(
    library: Library, failed: PendingDelivery, why: str, *, pauses: Sequence[float] | None
) -> int:
    """What one failed for is wrong with its destination: whatever else is due there waits too,
    untried, or is stuck without `pauses`; how many these are.

    `pauses` are seconds, by the number of attempts.
    """
    now = _now()
    values: dict[str, Any] = {"attempts": outbox.c.attempts + 1, "last_error": stored_text(why)}
    if pauses is None:
        values["state"] = "stuck"
    else:
        values["due_ms"] = literal(now, BigInteger) + _pause(pauses) - _turn(failed)
    chosen = update(outbox).where(*_to_the_same(failed.delivery), *_free(library, now))
    with library.writing() as connection:
        return connection.execute(chosen.values(**values)).rowcount


def _pause(pauses: Sequence[float]) -> ColumnElement[int]:
    """In milliseconds, by the number of attempts; the last one for any more."""
    ms = [round(seconds * 1000) for seconds in pauses]
    return case(dict(enumerate(ms)), value=outbox.c.attempts, else_=ms[-1])


def _turn(failed: PendingDelivery) -> ColumnElement[int]:
    """By a moment earlier, so that first those after the one that failed have their turn, then
    those before it, and it comes last: one that always fails keeps nobody waiting."""
    return case((outbox.c.id > failed.id, 2), else_=1)


def advance_destination(library: Library, delivery: Delivery, *, seconds: float) -> int:
    """It arrived: what else was tried in vain at its destination is due so much sooner."""
    late = outbox.c.state == "waiting", outbox.c.attempts > 0, outbox.c.due_ms > _now()
    chosen = update(outbox).where(*_to_the_same(delivery), *late)
    with library.writing() as connection:
        sooner = chosen.values(due_ms=outbox.c.due_ms - round(seconds * 1000))
        return connection.execute(sooner).rowcount


def _to_the_same(delivery: Delivery) -> Iterator[ColumnElement[bool]]:
    yield outbox.c.kind == delivery.kind
    yield outbox.c.destination == delivery.destination


def postpone(library: Library, waiting: PendingDelivery, why: str, *, seconds: float) -> None:
    """It can't be sent from here and now, which is no failure: it waits, and nothing is counted."""
    due = _now() + round(seconds * 1000)
    values = {"due_ms": due, "claimed_until_ms": 0, "last_error": stored_text(why)}
    with library.writing() as connection:
        connection.execute(update(outbox).where(outbox.c.id == waiting.id).values(**values))


def release(library: Library, waiting: PendingDelivery) -> None:
    """It was not sent after all: it is anybody's again, as if it had not been claimed."""
    mine = outbox.c.id == waiting.id, outbox.c.state == "waiting"
    with library.writing() as connection:
        connection.execute(update(outbox).where(*mine).values(claimed_until_ms=0))


def delete_unsent(library: Library, ids: Sequence[int]) -> int:
    """Be rid of what was not sent yet; how many these are."""
    chosen = delete(outbox).where(outbox.c.id.in_(ids), outbox.c.state != "sent")
    with library.writing() as connection:
        return connection.execute(chosen).rowcount


def _update(connection: Any, waiting: PendingDelivery, **values: Any) -> None:
    attempts = outbox.c.attempts + 1
    # Where a claim ran out, another sender may have delivered it by now.
    mine = outbox.c.id == waiting.id, outbox.c.state != "sent"
    connection.execute(
        update(outbox).where(*mine).values(claimed_until_ms=0, attempts=attempts, **values)
    )


def list_unsent(library: Library) -> list[PendingDelivery]:
    """All that waits or is stuck, in order."""
    chosen = select(outbox).where(_UNSENT).order_by(outbox.c.id)
    with library.reading() as connection:
        return [_waiting(row) for row in connection.execute(chosen)]


def deliveries_for(library: Library, generation: str, part: int) -> list[PendingDelivery]:
    """What is told of one picture, and of its generation as a whole; what was sent already too."""
    is_its = or_(outbox.c.kind != "cloud", outbox.c.part == part)
    chosen = select(outbox).where(outbox.c.generation == generation, is_its).order_by(outbox.c.id)
    with library.reading() as connection:
        return [_waiting(row) for row in connection.execute(chosen)]


def next_due(library: Library) -> datetime | None:
    """When the next delivery of this machine is due; None where none waits."""
    due = select(func.min(_DUE)).where(outbox.c.state == "waiting", *_for_us(library))
    with library.reading() as connection:
        ms = connection.execute(due).scalar()
    return None if ms is None else datetime_of(ms)


def retry(library: Library, ids: Sequence[int] | None = None) -> int:
    """Make what is stuck or waits for another attempt due now; how many these are.

    A claim that would last longer than any was made by a clock that was wrong: it holds no more.
    """
    now = _now()
    claimed = outbox.c.claimed_until_ms
    held = case((claimed > now + _CLAIM_MS, 0), else_=claimed)
    chosen = update(outbox).where(_UNSENT)
    if ids is not None:
        chosen = chosen.where(outbox.c.id.in_(ids))
    values = {"state": "waiting", "due_ms": now, "claimed_until_ms": held}
    with library.writing() as connection:
        return connection.execute(chosen.values(**values)).rowcount


def _waiting(row: Row[Any]) -> PendingDelivery:
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

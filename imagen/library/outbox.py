"""The outbox: what others are yet to be told, so that nobody waits for them or fails with them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import func, or_, select, update

from imagen.library.entries import Delivery
from imagen.library.keys import moment_of
from imagen.library.schema import images, outbox
from imagen.library.stored import as_json, storable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Row

    from imagen.library.opening import Library

DeliveryState = Literal["waiting", "stuck", "sent"]
_CLAIM_MS = 10 * 60 * 1000
"""After so long, one whose sender died is anybody's again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One delivery, and how far it has come."""

    id: int
    delivery: Delivery
    state: DeliveryState
    attempts: int
    due: datetime
    """Not before then."""
    last_error: str
    """Why the last attempt failed; empty where there was none."""


def claim(library: Library, *, limit: int = 10, now_ms: int | None = None) -> list[Waiting]:
    """The next deliveries that are due, for this caller alone; of several senders each gets other
    ones. A claim lasts ten minutes."""
    now = _now() if now_ms is None else now_ms
    is_due = (outbox.c.state == "waiting", outbox.c.due_ms <= now, outbox.c.claimed_until_ms <= now)
    chosen = select(outbox).where(*is_due).order_by(outbox.c.id).limit(limit)
    with library.writing() as connection:
        found = connection.execute(chosen.with_for_update(skip_locked=True)).all()
        mine = outbox.c.id.in_([row.id for row in found])
        connection.execute(update(outbox).where(mine).values(claimed_until_ms=now + _CLAIM_MS))
    return [_waiting(row) for row in found]


def sent(library: Library, waiting: Waiting, facts: Mapping[str, Any]) -> None:
    """It was delivered; `facts` say where a picture lies in the cloud now."""
    delivery = waiting.delivery
    with library.writing() as connection:
        _update(connection, waiting, state="sent", sent_ms=_now(), last_error="")
        if delivery.kind == "cloud":
            its = images.c.generation == delivery.generation, images.c.number == delivery.part
            connection.execute(update(images).where(*its).values(cloud=as_json(facts)))


def failed(library: Library, waiting: Waiting, why: str, *, again_in_seconds: float | None) -> None:
    """It was not delivered: it waits for another attempt, or is stuck where there is no sense in
    one."""
    state = "stuck" if again_in_seconds is None else "waiting"
    due = _now() + round((again_in_seconds or 0) * 1000)
    with library.writing() as connection:
        _update(connection, waiting, state=state, due_ms=due, last_error=storable(why))


def _update(connection: Any, waiting: Waiting, **values: Any) -> None:
    attempts = outbox.c.attempts + 1
    # Where a claim ran out, another sender may have delivered it by now.
    mine = outbox.c.id == waiting.id, outbox.c.state != "sent"
    connection.execute(
        update(outbox).where(*mine).values(claimed_until_ms=0, attempts=attempts, **values)
    )


def unsent(library: Library) -> list[Waiting]:
    """All that waits or is stuck, in order."""
    chosen = select(outbox).where(outbox.c.state != "sent").order_by(outbox.c.id)
    with library.reading() as connection:
        return [_waiting(row) for row in connection.execute(chosen)]


def told_of(library: Library, generation: str, part: int) -> list[Waiting]:
    """What is told of one picture, and of its generation as a whole; what was sent already too."""
    is_its = or_(outbox.c.kind != "cloud", outbox.c.part == part)
    chosen = select(outbox).where(outbox.c.generation == generation, is_its).order_by(outbox.c.id)
    with library.reading() as connection:
        return [_waiting(row) for row in connection.execute(chosen)]


def next_due(library: Library) -> datetime | None:
    """When the next delivery is due; None where none waits."""
    due = select(func.min(outbox.c.due_ms)).where(outbox.c.state == "waiting")
    with library.reading() as connection:
        ms = connection.execute(due).scalar()
    return None if ms is None else moment_of(ms)


def retry(library: Library, ids: Sequence[int] | None = None) -> int:
    """Make what is stuck or waits for another attempt due now; how many these are."""
    chosen = update(outbox).where(outbox.c.state != "sent")
    if ids is not None:
        chosen = chosen.where(outbox.c.id.in_(ids))
    with library.writing() as connection:
        return connection.execute(chosen.values(state="waiting", due_ms=_now())).rowcount


def _waiting(row: Row[Any]) -> Waiting:
    return Waiting(
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
        due=moment_of(row.due_ms),
        last_error=row.last_error,
    )


def _now() -> int:
    return round(time.time() * 1000)

"""What the library has on a picture beyond how it was made: its cost, its caller, who was told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from imagen.errors import LibraryError
from imagen.library.keys import moment_of
from imagen.library.ledger import use_of
from imagen.library.outbox import told_of
from imagen.library.schema import generations

if TYPE_CHECKING:
    from datetime import datetime

    from imagen.library.database import Library
    from imagen.library.ledger import LedgerRow
    from imagen.library.outbox import PendingDelivery
    from imagen.library.search import LibraryImage


@dataclass(frozen=True, slots=True, kw_only=True)
class Particulars:
    """What belongs to one picture, or to its generation as a whole."""

    source: str
    """`imagen`, or `import` for what was taken in from elsewhere."""
    kind: str
    """The kind of its backend's adapter."""
    caller: str
    ended: datetime
    warnings: tuple[str, ...]
    use: LedgerRow | None
    """Its row of the ledger."""
    deliveries: tuple[PendingDelivery, ...]
    """Who is told of it, and who has been."""


def particulars_of(library: Library, picture: LibraryImage) -> Particulars:
    """All of it; raises LibraryError."""
    statement = select(generations).where(generations.c.id == picture.generation)
    with library.reading() as connection:
        row = connection.execute(statement).one_or_none()
    if row is None:
        raise LibraryError(f"The library has nothing on the generation {picture.generation}.")
    return Particulars(
        source=row.source,
        kind=row.kind,
        caller=row.caller,
        ended=moment_of(row.ended_ms),
        warnings=tuple(row.warnings),
        use=use_of(library, picture.generation),
        deliveries=tuple(told_of(library, picture.generation, picture.number)),
    )

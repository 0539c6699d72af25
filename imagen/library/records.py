"""What the library tells of how a picture was made, as its sidecar would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from imagen.errors import LibraryError
from imagen.library.schema import generations
from imagen.outputs import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Row

    from imagen.library.opening import Library
    from imagen.library.pictures import Picture


def record_of(library: Library, picture: Picture) -> Record:
    """The record of a picture that the library knows; raises LibraryError.

    Of one that was taken in from elsewhere, the values are those that could be read.
    """
    statement = select(generations).where(generations.c.id == picture.generation)
    with library.reading() as connection:
        row = connection.execute(statement).one_or_none()
    if row is None:
        raise LibraryError(f"The library has nothing on the generation {picture.generation}.")
    return _record(row, picture)


def _record(row: Row[Any], picture: Picture) -> Record:
    ticket = _mapping(row.ticket)
    inputs = ticket.get("inputs")
    return Record(
        source="sidecar",
        backend=row.backend,
        request=dict(_mapping(row.asked)),
        resolved=_said(_mapping(ticket.get("request"))),
        receipt=dict(_mapping(ticket.get("receipt"))),
        facts=dict(_mapping(row.facts)),
        graph=dict(_mapping(ticket.get("payload"))),
        inputs=tuple(inputs) if isinstance(inputs, list) else (),
        file={
            "file": picture.path.name,
            "sha256": picture.sha256,
            "media_type": picture.media_type,
            "created": picture.began.isoformat(timespec="seconds"),
            "seed": picture.seed,
            "index": picture.number,
        },
    )


def _said(request: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in request.items() if value not in (None, [], {})}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}

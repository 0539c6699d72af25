"""Takes rows out of the library, with all that hangs on them; the ledger stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from imagen.library.schema import generations, images, outbox, prompts, tags, thumbnails

if TYPE_CHECKING:
    from sqlalchemy import Connection


def forget_picture(connection: Connection, key: int) -> None:
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


def forget_generation(connection: Connection, id: str) -> None:
    """A generation and all its pictures."""
    for key in connection.scalars(select(images.c.id).where(images.c.generation == id)).all():
        forget_picture(connection, key)
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

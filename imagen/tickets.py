"""Tickets on disk: written before anything is submitted, gone once the pictures are safe."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from imagen.errors import (
    Cancelled,
    Failed,
    ImagenError,
    Lost,
    OutputError,
    Rejected,
    RequestError,
    TimedOut,
)
from imagen.request import Request
from imagen.text import did_you_mean
from imagen.ticket import Ticket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

_FOLDER = "tickets"
_OVER = (Failed, Rejected, TimedOut, Cancelled)
"""After these nothing of the job is left at its engine."""


@contextmanager
def written(
    ticket: Ticket, asked: Request, state_dir: Path, output: Mapping[str, Any] | None = None
) -> Iterator[Callable[[Ticket], None]]:
    """Keeps `ticket` on disk while the block runs, and after it where the outcome is open.

    `output` says where the pictures were to go, for whoever fetches them later. The block is given
    a function that writes the ticket down anew. An error that leaves pictures at the engine names
    the command that fetches them. Raises OutputError if it can't be written.
    """
    held = [ticket]

    def write(changed: Ticket) -> None:
        held[0] = changed
        _write(changed, asked, state_dir, output or {})

    write(ticket)
    try:
        yield write
    except ImagenError as error:
        if not (held[0].submitted and _left_behind(error)):
            _forget(ticket.id, state_dir)
        else:
            error.advise(f"Fetch it again with: imagen resume {ticket.id}")
        raise
    _forget(ticket.id, state_dir)


def _left_behind(error: ImagenError) -> bool:
    """Whether the engine may still have pictures that nobody has fetched."""
    if isinstance(error, OutputError):
        return error.lost
    if isinstance(error, Lost):
        return not error.is_certain
    return not isinstance(error, _OVER)


def _forget(id: str, state_dir: Path) -> None:
    """Take the ticket away; one that can't be is only in the way."""
    with suppress(OSError):
        _path(id, state_dir).unlink(missing_ok=True)


def left(state_dir: Path) -> list[str]:
    """The ids of the tickets whose pictures nobody has yet."""
    folder = state_dir / _FOLDER
    return sorted(path.stem for path in folder.glob("*.json")) if folder.is_dir() else []


def read(id: str, state_dir: Path) -> tuple[Ticket, Request]:
    """The ticket of this id, and the request as it was asked.

    Raises RequestError where there is none, OutputError where it can't be read.
    """
    known = left(state_dir)
    if id not in known:
        raise RequestError(
            f"There is no ticket {id!r} left.{did_you_mean(id, known)}",
            remedy="List them with: imagen resume",
        )
    kept = _kept(id, state_dir)
    try:
        return Ticket.model_validate(kept["ticket"]), Request.model_validate(kept["asked"])
    except (ValueError, KeyError) as error:
        raise _unreadable(id, state_dir) from error


def output_of(id: str, state_dir: Path) -> dict[str, Any]:
    """Where the pictures of this ticket were to go; empty where it does not say."""
    output = _kept(id, state_dir).get("output")
    return output if isinstance(output, dict) else {}


def _kept(id: str, state_dir: Path) -> dict[str, Any]:
    try:
        kept = json.loads(_path(id, state_dir).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(id, state_dir) from error
    return kept if isinstance(kept, dict) else {}


def _unreadable(id: str, state_dir: Path) -> OutputError:
    return OutputError(
        f"The ticket {_path(id, state_dir)} can't be read; it may be another version's.",
        remedy="What it was for can't be fetched any more. Delete it to be rid of it.",
    )


def like(ticket: Ticket, state_dir: Path) -> Ticket | None:
    """A ticket left behind that was submitted for just the same: its pictures are paid for."""
    for id in left(state_dir):
        with suppress(OutputError, RequestError):  # it may be gone by now
            kept, _ = read(id, state_dir)
            if kept.submitted and _work(kept) == _work(ticket):
                return kept
    return None


def _work(ticket: Ticket) -> tuple[object, ...]:
    return ticket.backend, ticket.request, ticket.payload


def _path(id: str, state_dir: Path) -> Path:
    return state_dir / _FOLDER / f"{id}.json"


def _write(ticket: Ticket, asked: Request, state_dir: Path, output: Mapping[str, Any]) -> None:
    path = _path(ticket.id, state_dir)
    text = (
        f'{{"ticket": {ticket.model_dump_json()}, "asked": {asked.model_dump_json()}, '
        f'"output": {json.dumps(output)}}}'
    )
    beside = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)
    except OSError as error:
        raise OutputError(
            f"The job can't be written down in {path.parent}: {error.strerror or error}.",
            remedy="No job is left at the engine for it. "
            "Set IMAGEN_STATE, or state_dir in imagen.yaml.",
        ) from error

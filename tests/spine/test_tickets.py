"""Tickets on disk: there from before the submission until the pictures are safe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imagen import tickets
from imagen.errors import (
    Failed,
    ImagenError,
    Lost,
    OutputError,
    RequestError,
    Unauthorized,
    Unavailable,
)
from imagen.request import Request
from imagen.ticket import Ticket

if TYPE_CHECKING:
    from pathlib import Path

_ASKED = Request(prompt="a fox")
_TICKET = Ticket(
    id="5b6c8e5e-0000-4000-8000-000000000001",
    backend="studio",
    request=Request(prompt="a fox", seed=2**64 - 1),
    receipt={},
    payload={"1": {"class_type": "KSampler", "inputs": {"seed": 2**64 - 1}}},
)


def _run(state: Path, error: BaseException | None, *, sent: bool) -> None:
    with tickets.written(_TICKET, _ASKED, state) as write:
        if sent:
            write(_TICKET.sent(prompt_id="p"))
        if error is not None:
            raise error


def test_it_lies_there_while_the_work_runs_and_not_after(tmp_path: Path) -> None:
    with tickets.written(_TICKET, _ASKED, tmp_path):
        assert tickets.read(_TICKET.id, tmp_path) == (_TICKET, _ASKED)
    assert tickets.left(tmp_path) == []


def test_it_is_written_anew_once_it_is_submitted(tmp_path: Path) -> None:
    with tickets.written(_TICKET, _ASKED, tmp_path) as write:
        write(_TICKET.sent(prompt_id="p"))
        kept, _ = tickets.read(_TICKET.id, tmp_path)
    assert (kept.submitted, kept.engine) == (True, {"prompt_id": "p"})


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("gone"),
        Unauthorized("expired"),
        Lost("out of reach", is_certain=False),
        OutputError("full", lost=True),
    ],
    ids=["gone", "expired", "out of reach", "full"],
)
def test_it_stays_where_pictures_may_be_left_and_says_how_to_fetch(
    tmp_path: Path, error: ImagenError
) -> None:
    with pytest.raises(ImagenError) as caught:
        _run(tmp_path, error, sent=True)
    assert tickets.left(tmp_path) == [_TICKET.id]
    assert caught.value.remedy == f"Fetch it again with: imagen resume {_TICKET.id}"


def test_it_stays_when_the_process_is_killed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path, KeyboardInterrupt(), sent=True)
    assert tickets.left(tmp_path) == [_TICKET.id]


@pytest.mark.parametrize(
    "error",
    [Failed("no"), Lost("no"), OutputError("rescued")],
    ids=["failed", "lost", "safe elsewhere"],
)
def test_it_goes_where_nothing_is_left(tmp_path: Path, error: ImagenError) -> None:
    with pytest.raises(ImagenError):
        _run(tmp_path, error, sent=True)
    assert tickets.left(tmp_path) == []


def test_it_goes_where_nothing_was_submitted(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        _run(tmp_path, Unavailable("gone", remedy="Start it."), sent=False)
    assert (tickets.left(tmp_path), caught.value.remedy) == ([], "Start it.")


def test_an_unknown_ticket_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"There is no ticket '\.\./x' left"):
        tickets.read("../x", tmp_path)


def test_a_place_that_cannot_be_written_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(OutputError) as caught:
        _run(tmp_path / "state", None, sent=True)
    assert "No job is left at the engine for it. Set IMAGEN_STATE" in caught.value.remedy


def test_a_damaged_ticket_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "tickets").mkdir()
    (tmp_path / "tickets" / "a.json").write_text("{")
    with pytest.raises(OutputError, match="can't be read; it may be another version's"):
        tickets.read("a", tmp_path)


def test_a_ticket_left_for_the_same_work_is_found(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path, KeyboardInterrupt(), sent=True)
    again = _TICKET.model_copy(update={"id": "another"})
    other = again.model_copy(update={"backend": "elsewhere"})
    found = tickets.like(again, tmp_path)
    assert (found and found.id, tickets.like(other, tmp_path)) == (_TICKET.id, None)


def test_a_ticket_that_was_never_submitted_is_not_taken_up(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path, KeyboardInterrupt(), sent=False)
    assert tickets.like(_TICKET, tmp_path) is None

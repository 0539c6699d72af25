"""What a comparison is to make: each cell with its tickets, before any engine works."""

from __future__ import annotations

import json
from contextlib import closing
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from imagen.comparison.once import numbered
from imagen.comparison.record import Axis, Cell, Failure
from imagen.errors import ImagenError
from imagen.request import read_size
from imagen.spine import open_named, prepare

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from imagen.backends import Backend
    from imagen.comparison.record import Comparison
    from imagen.config import Settings
    from imagen.request import Request
    from imagen.ticket import Ticket


class PlannedCell(NamedTuple):
    """A cell that is to be made."""

    cell: Cell
    engine: Backend
    asked: Request
    runs: tuple[Ticket, ...]


def plan_cells(
    comparison: Comparison,
    models: Sequence[str],
    values: Sequence[Any],
    settings: Settings,
    folder: Path,
    *,
    strict: bool,
    engines: ExitStack,
) -> Iterator[Cell | PlannedCell]:
    """Each cell of these models and values; a Cell if it is made already or can't be requested.

    The engines stay open until `engines` is closed. Nothing is written or submitted.
    """
    for model in models:
        try:
            engine = engines.enter_context(closing(open_named(model, settings)))
        except ImagenError as error:
            yield from (_failed(comparison, model, value, error, folder) for value in values)
            continue
        for value in values:
            try:
                asked = varied(comparison.request, comparison.vary, value)
                runs = prepare(engine, asked, settings, strict=strict)
            except ImagenError as error:
                yield _failed(comparison, model, value, error, folder)
                continue
            key = _key(model, runs, settings)
            there = comparison.cell(model, value)
            if there is not None and there.is_done(key, folder):
                yield there.model_copy(update={"error": None})
                continue
            attempt = 0 if there is None else there.attempt + 1
            cell = Cell(model=model, value=value, key=key, attempt=attempt)
            yield PlannedCell(cell, engine, asked, number_runs(comparison, cell, runs))


def number_runs(comparison: Comparison, cell: Cell, runs: Sequence[Ticket]) -> tuple[Ticket, ...]:
    """The tickets of a cell under the ids that they always have, in any process."""
    place = comparison.token, *cell.place
    return tuple(numbered(ticket, *place, n) for n, ticket in enumerate(runs))


def varied(request: Request, vary: Axis | None, value: Any) -> Request:
    """The request with one value of the axis; `size` is width and height at once."""
    if vary is None:
        return request
    if vary.name == "size":
        width, height = read_size(str(value))
        return request.with_values({"width": width, "height": height})
    if vary.name == "prompt" and not isinstance(value, str):
        value = str(value)
    return request.with_values({vary.name: value})


def failure_in(error: ImagenError) -> Failure:
    """What the record keeps of an error."""
    return Failure(code=error.code, message=error.message, remedy=error.remedy)


def _failed(
    comparison: Comparison, model: str, value: Any, error: ImagenError, folder: Path
) -> Cell:
    """A cell that can't be requested; an earlier image of it is kept."""
    there = comparison.cell(model, value)
    if there is None or not there.is_whole(folder):
        there = Cell(model=model, value=value)
    return there.model_copy(update={"error": failure_in(error)})


def _key(model: str, runs: Sequence[Ticket], settings: Settings) -> str:
    kind = settings.backends.get(model, {}).get("type", model)
    whole = [kind, *([t.request.model_dump(mode="json"), t.payload] for t in runs)]
    text = json.dumps(whole, sort_keys=True)
    state = json.dumps(str(settings.state_dir.absolute()))[1:-1]
    # Pictures made ready lie there under their hashes: where that is says nothing of the work.
    return sha256(text.replace(state, "").encode()).hexdigest()

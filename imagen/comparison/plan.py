"""Plan a comparison: each cell with its tickets, before any engine works."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from imagen import delivery
from imagen.backends import require_known
from imagen.comparison.record import Axis, CellFailure, ComparisonCell, load_or_create
from imagen.core.image_file import read_image_file
from imagen.core.request import Request
from imagen.core.text import did_you_mean
from imagen.errors import ImagenError, MissingPrompt, RequestError
from imagen.pipeline.prepare import Preparation, open_named, with_local_images
from imagen.pipeline.resolve import draw_small_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from imagen.backends import Backend
    from imagen.comparison.record import Comparison
    from imagen.config import Settings
    from imagen.core.ticket import Ticket

_NOT_ONE_VALUE = ("extra", "loras", "controls", "references", "upscale", "outpaint", "restore")


class PlannedCell(NamedTuple):
    """A cell that is to be generated."""

    cell: ComparisonCell
    engine: Backend
    plan: Preparation
    asked: Request
    tickets: tuple[Ticket, ...]


def plan_comparison(
    request: Request,
    models: Sequence[str],
    settings: Settings,
    *,
    folder: Path,
    vary: Axis | None = None,
    strict: bool = False,
) -> list[tuple[ComparisonCell, tuple[Ticket, ...]]]:
    """What `compare` would do with these arguments: each cell, and the tickets it still needs.

    Nothing is sent or written. Raises what `compare` raises before it starts, except OverBudget.
    """
    plan = open_plan(request, models, settings, folder=folder, vary=vary, strict=strict)
    with plan as (_, cells):
        return [(c.cell, c.tickets) if isinstance(c, PlannedCell) else (c, ()) for c in cells]


@contextmanager
def open_plan(
    request: Request,
    models: Sequence[str],
    settings: Settings,
    *,
    folder: Path,
    vary: Axis | None,
    strict: bool,
    draw: Callable[[], int] = draw_small_seed,
) -> Iterator[tuple[Comparison, list[ComparisonCell | PlannedCell]]]:
    """The comparison to continue, with the seed that all cells share, and its cells.

    A ComparisonCell is complete already or cannot be requested. The engines of the planned cells
    stay open for the block.
    """
    names = tuple(dict.fromkeys(models))
    for name in names:
        require_known(name, settings.backends)
    delivery.check_settings(settings, os.environ)
    _refuse_unknown_axis(vary, request, names, settings)
    request = with_local_images(request, settings)
    recorded = vary and vary.without_folders(request)
    comparison = load_or_create(folder, request, names, recorded)
    if comparison.request.draws_seed:
        shared = comparison.request.with_values({"seed": draw()})
        comparison = comparison.model_copy(update={"request": shared})
    requests: list[tuple[object, Request]] = [(None, comparison.request)]
    if vary and recorded:
        varied = (vary.apply(comparison.request, value) for value in vary.values)
        local = (with_local_images(one, settings) for one in varied)
        requests = list(zip(recorded.values, local, strict=True))
    images: dict[str | None, str] = {}
    for _, asked in requests:
        images |= {asked.image: "image", asked.mask: "mask"}
        images |= dict.fromkeys(asked.references, "references")
        images |= {control.image: "controls" for control in asked.controls}
    for path, parameter in images.items():
        if path is not None:  # an unreadable image is a fault of the request, not of a backend
            read_image_file(path, parameter)
    with ExitStack() as engines:
        column = _ColumnPlan(comparison, requests, settings, folder, strict, engines)
        yield comparison, [cell for model in names for cell in column.plan(model)]


def number_tickets(
    comparison: Comparison, cell: ComparisonCell, tickets: Sequence[Ticket]
) -> tuple[Ticket, ...]:
    """The tickets of a cell, with the ids that they have in every process."""

    def stable_id(number: int) -> str:
        parts = (comparison.token, *cell.identity, number)
        digest = sha256(json.dumps([str(part) for part in parts]).encode()).hexdigest()
        return str(UUID(hex=digest[:32], version=4))

    return tuple(ticket.model_copy(update={"id": stable_id(n)}) for n, ticket in enumerate(tickets))


@dataclass(frozen=True)
class _ColumnPlan:
    """Plans the cells of one model after another."""

    comparison: Comparison
    requests: Sequence[tuple[object, Request]]
    settings: Settings
    folder: Path
    strict: bool
    engines: ExitStack
    """Closes the engines of the planned cells."""

    def plan(self, model: str) -> Iterator[ComparisonCell | PlannedCell]:
        try:
            engine = self.engines.enter_context(closing(open_named(model, self.settings)))
        except ImagenError as error:
            yield from (self._fail(model, value, error) for value, _ in self.requests)
            return
        for value, asked in self.requests:
            try:
                plan = Preparation(engine, asked, self.settings, strict=self.strict)
            except MissingPrompt as error:
                raise error.replace(message=f"{model}: {error.message}") from error
            except ImagenError as error:
                yield self._fail(model, value, error)
                continue
            tickets = plan.tickets
            key = _cell_key(model, tickets, self.settings)
            old = self.comparison.cell(model, value)
            if old is not None and old.is_done(key, self.folder):
                yield old.model_copy(update={"error": None})
                continue
            cell = ComparisonCell(
                model=model,
                workflow=tickets[0].workflow,
                value=value,
                key=key,
                attempt=0 if old is None else old.attempt + 1,
            )
            numbered = number_tickets(self.comparison, cell, tickets)
            yield PlannedCell(cell, engine, plan, asked, numbered)

    def _fail(self, model: str, value: object, error: ImagenError) -> ComparisonCell:
        """A cell that cannot be requested; it keeps an earlier image."""
        cell = self.comparison.cell(model, value)
        if cell is None or not cell.is_complete(self.folder):
            cell = ComparisonCell(model=model, value=value)
        return cell.model_copy(update={"error": describe_failure(error)})


def describe_failure(error: ImagenError) -> CellFailure:
    """What the record keeps of an error."""
    return CellFailure(code=error.code, message=error.message, remedy=error.remedy)


def _refuse_unknown_axis(
    vary: Axis | None, request: Request, models: Iterable[str], settings: Settings
) -> None:
    """Raise RequestError for a misspelt parameter: every value would give the same image."""
    if vary is None:
        return
    if vary.name in _NOT_ONE_VALUE:
        raise RequestError(f"{vary.name} cannot be varied: it is not a single value.")
    if vary.name == "size" or vary.name in Request.model_fields:
        return
    known: set[str] = set()
    for model in models:
        with suppress(ImagenError), closing(open_named(model, settings)) as engine:
            known |= engine.capabilities(request.task).parameters.keys()
    if vary.name not in known:
        raise RequestError(
            f"None of these backends has a parameter {vary.name!r} to vary."
            + did_you_mean(vary.name, known | {*Request.model_fields, "size"})
        )


def _cell_key(model: str, tickets: Sequence[Ticket], settings: Settings) -> str:
    """A hash of all that determines the images of a cell."""
    kind = settings.backends.get(model, {}).get("type", model)
    requests = [
        t.request.model_dump(mode="json", exclude=t.request.unset_additions) for t in tickets
    ]
    whole = [kind, *([request, t.payload] for request, t in zip(requests, tickets, strict=True))]
    text = json.dumps(whole, sort_keys=True)
    state = json.dumps(str(settings.state_dir.absolute()))[1:-1]
    # Prepared images are there under their hashes; the folder itself does not matter.
    return sha256(text.replace(state, "").encode()).hexdigest()

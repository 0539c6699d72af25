"""What a comparison is to make: each cell with its tickets, before any engine works."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack, closing, contextmanager, suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from imagen import delivery
from imagen.backends import require_known
from imagen.comparison.once import with_stable_id
from imagen.comparison.record import Axis, CellFailure, ComparisonCell, load_or_create
from imagen.core.image_file import read_image_file
from imagen.core.request import Request
from imagen.core.text import did_you_mean
from imagen.errors import ImagenError, MissingPrompt, RequestError
from imagen.pipeline.generate import open_named, prepare, with_local_images
from imagen.pipeline.resolve import draw_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from imagen.backends import Backend
    from imagen.comparison.record import Comparison
    from imagen.config import Settings
    from imagen.core.ticket import Ticket

_NOT_ONE_VALUE = ("extra", "loras", "controls", "references", "upscale", "outpaint", "restore")


class PlannedCell(NamedTuple):
    """A cell that is to be made."""

    cell: ComparisonCell
    engine: Backend
    asked: Request
    runs: tuple[Ticket, ...]


def draw_small_seed() -> int:
    """A random seed that every engine can take: some have 31 bits for it."""
    return draw_seed() % 2**31


def plan_comparison(
    request: Request,
    models: Sequence[str],
    settings: Settings,
    *,
    folder: Path,
    vary: Axis | None = None,
    strict: bool = False,
) -> list[tuple[ComparisonCell, tuple[Ticket, ...]]]:
    """What `compare` would do with the same arguments: each cell, and the runs it still needs.

    Nothing is sent, or written to the folder. Raises what `compare` raises before it begins, but
    for OverBudget.
    """
    with open_plan(request, models, settings, folder=folder, vary=vary, strict=strict) as (
        _,
        cells,
    ):
        return [(c.cell, c.runs) if isinstance(c, PlannedCell) else (c, ()) for c in cells]


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

    A Cell is made already or can't be requested. The engines of the others stay open for the block.
    """
    names = tuple(dict.fromkeys(models))
    for name in names:
        require_known(name, settings.backends)
    delivery.check(settings, os.environ)
    _refuse_unknown_axis(vary, request, names, settings)
    request = with_local_images(request, settings)
    recorded = vary and vary.without_folders(request)
    comparison = load_or_create(folder, request, names, recorded)
    if comparison.request.draws_seed:
        shared = comparison.request.with_values({"seed": draw()})
        comparison = comparison.model_copy(update={"request": shared})
    requests: list[tuple[Any, Request]] = [(None, comparison.request)]
    if vary and recorded:
        varied = (vary.apply(comparison.request, value) for value in vary.values)
        local = (with_local_images(one, settings) for one in varied)
        requests = list(zip(recorded.values, local, strict=True))
    _refuse_lost_images(asked for _, asked in requests)
    with ExitStack() as engines:
        cells = (
            cell
            for model in names
            for cell in _column(comparison, model, requests, settings, folder, strict, engines)
        )
        yield comparison, list(cells)


def _column(
    comparison: Comparison,
    model: str,
    requests: Sequence[tuple[Any, Request]],
    settings: Settings,
    folder: Path,
    strict: bool,
    engines: ExitStack,
) -> Iterator[ComparisonCell | PlannedCell]:
    """The cells of one model, whose engine stays open until `engines` are closed."""
    try:
        engine = engines.enter_context(closing(open_named(model, settings)))
    except ImagenError as error:
        yield from (_failed(comparison, model, value, error, folder) for value, _ in requests)
        return
    for value, asked in requests:
        try:
            runs = prepare(engine, asked, settings, strict=strict)
        except MissingPrompt as error:
            raise error.replace(message=f"{model}: {error.message}") from error
        except ImagenError as error:
            yield _failed(comparison, model, value, error, folder)
            continue
        key = _key(model, runs, settings)
        there = comparison.cell(model, value)
        if there is not None and there.is_done(key, folder):
            yield there.model_copy(update={"error": None})
            continue
        attempt = 0 if there is None else there.attempt + 1
        workflow = runs[0].workflow
        cell = ComparisonCell(model=model, workflow=workflow, value=value, key=key, attempt=attempt)
        yield PlannedCell(cell, engine, asked, number_runs(comparison, cell, runs))


def number_runs(
    comparison: Comparison, cell: ComparisonCell, runs: Sequence[Ticket]
) -> tuple[Ticket, ...]:
    """The tickets of a cell under the ids that they always have, in any process."""
    place = comparison.token, *cell.place
    return tuple(with_stable_id(ticket, *place, n) for n, ticket in enumerate(runs))


def _refuse_unknown_axis(
    vary: Axis | None, request: Request, models: Iterable[str], settings: Settings
) -> None:
    """A slip of the pen would give the same picture for each value."""
    if vary is None:
        return
    if vary.name in _NOT_ONE_VALUE:
        raise RequestError(f"{vary.name} can't be varied: it is not one value.")
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


def _refuse_lost_images(requests: Iterable[Request]) -> None:
    """An image that can't be read is a fault of the request, not of a backend."""
    given: dict[str | None, str] = {}
    for request in requests:
        given |= {request.image: "image", request.mask: "mask"}
        given |= dict.fromkeys(request.references, "references")
        given |= {control.image: "controls" for control in request.controls}
    for path, what in given.items():
        if path is not None:
            read_image_file(path, what)


def failure_in(error: ImagenError) -> CellFailure:
    """What the record keeps of an error."""
    return CellFailure(code=error.code, message=error.message, remedy=error.remedy)


def _failed(
    comparison: Comparison, model: str, value: Any, error: ImagenError, folder: Path
) -> ComparisonCell:
    """A cell that can't be requested; an earlier image of it is kept."""
    there = comparison.cell(model, value)
    if there is None or not there.is_whole(folder):
        there = ComparisonCell(model=model, value=value)
    return there.model_copy(update={"error": failure_in(error)})


def _key(model: str, runs: Sequence[Ticket], settings: Settings) -> str:
    kind = settings.backends.get(model, {}).get("type", model)
    requests = [t.request.model_dump(mode="json", exclude=t.request.unset_additions) for t in runs]
    whole = [kind, *([request, t.payload] for request, t in zip(requests, runs, strict=True))]
    text = json.dumps(whole, sort_keys=True)
    state = json.dumps(str(settings.state_dir.absolute()))[1:-1]
    # Pictures made ready lie there under their hashes: where that is says nothing of the work.
    return sha256(text.replace(state, "").encode()).hexdigest()

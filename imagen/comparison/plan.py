"""Plan a comparison: each cell with its tickets, before any engine works."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any, NamedTuple, Required, TypedDict, Unpack
from uuid import UUID

from imagen import delivery
from imagen.backends import require_known
from imagen.comparison.axes import apply_values, check_axes, combine, sort_by_cost, values_key
from imagen.comparison.record import CellFailure, ComparisonCell, load_or_create
from imagen.core.image_file import read_image_file
from imagen.core.request import Request
from imagen.core.text import one_line
from imagen.errors import ImagenError, MissingPrompt, RequestError
from imagen.outputs.naming import slugify
from imagen.outputs.provenance import sent_models
from imagen.pipeline.pools import open_named
from imagen.pipeline.prepare import Preparation, with_local_images
from imagen.pipeline.resolve import draw_small_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from imagen.backends import Backend
    from imagen.comparison.axes import Axis
    from imagen.comparison.record import Comparison
    from imagen.config import Settings
    from imagen.core.ticket import Ticket


class PlannedCell(NamedTuple):
    """A cell that is to be generated."""

    cell: ComparisonCell
    engine: Backend
    plan: Preparation
    asked: Request
    tickets: tuple[Ticket, ...]

    @property
    def place(self) -> tuple[str, str]:
        return self.cell.place

    @property
    def values(self) -> dict[str, Any]:
        return self.cell.values


class ComparisonOptions(TypedDict, total=False):
    """What is compared, beside the request and the backends."""

    folder: Required[Path]
    """Where everything is saved; an existing comparison continues."""
    axes: Sequence[Axis]
    skip: Sequence[Axis]
    """Values that are neither generated nor drawn this time."""
    strict: bool
    has_wildcards: bool
    """Whether wildcards in texts are expanded; the seed of a cell decides them."""
    has_own_seeds: bool
    """Whether each cell of a new comparison has a seed of its own."""


def plan_comparison(
    request: Request,
    models: Sequence[str],
    settings: Settings,
    **options: Unpack[ComparisonOptions],
) -> list[tuple[ComparisonCell, tuple[Ticket, ...]]]:
    """What `compare` would do with these arguments: each cell, and the tickets it still needs.

    Nothing is sent or written. Raises what `compare` raises before it starts, except OverBudget.
    """
    with open_plan(request, models, settings, **options) as (comparison, cells):
        planned = {one.place: one for one in cells}
        places = [
            (model, values_key(values))
            for model in comparison.models
            for values in combine(comparison.axes)
        ]
        ordered = (planned[place] for place in places if place in planned)
        return [(c.cell, c.tickets) if isinstance(c, PlannedCell) else (c, ()) for c in ordered]


def default_folder(
    settings: Settings, request: Request, axes: Sequence[Axis], *, has_own_seeds: bool = False
) -> Path:
    """The same folder for the same request and axes, so that a comparison can be continued."""
    stable = request.model_copy(update={"prompt": request.prompt or ""})  # as in earlier versions
    names = ",".join(sorted(axis.name for axis in axes)) + "*" * has_own_seeds
    key = stable.model_dump_json(exclude=stable.unset_additions) + names
    digest = sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    words = slugify(request.prompt or PureWindowsPath(request.image or "").stem)
    return settings.output.directory / f"compare-{words}-{digest}"


def estimate_seconds(tickets: Sequence[Ticket], settings: Settings) -> list[float | None]:
    """How long each ticket usually takes, according to the library; None if that is unknown."""
    at = settings.library_at
    if not settings.library.enabled or not ("://" in at or os.path.isfile(at)):
        return [None] * len(tickets)
    from imagen.library import open_library, usual_seconds

    try:
        with open_library(settings) as library:
            known = usual_seconds(library, {ticket.backend for ticket in tickets})
    except ImagenError:
        return [None] * len(tickets)
    estimates: list[float | None] = []
    for ticket in tickets:
        mine = {
            model: each for (backend, model), each in known.items() if backend == ticket.backend
        }
        models = (ticket.request.model, *sent_models(ticket.payload))
        each = next((mine[model] for model in models if model in mine), None)
        if each is None and len(mine) == 1 and not any(models):  # an engine with one model
            (each,) = mine.values()
        estimates.append(None if each is None else each * ticket.images)
    return estimates


@contextmanager
def open_plan(
    request: Request,
    models: Sequence[str],
    settings: Settings,
    *,
    folder: Path,
    axes: Sequence[Axis] = (),
    skip: Sequence[Axis] = (),
    strict: bool = False,
    has_wildcards: bool = False,
    has_own_seeds: bool = False,
    draw: Callable[[], int] = draw_small_seed,
) -> Iterator[tuple[Comparison, list[ComparisonCell | PlannedCell]]]:
    """The comparison to continue, with the seed that all cells share, and the wanted cells.

    A ComparisonCell is complete already or cannot be requested. The engines of the planned cells
    stay open for the block. The cells are in the order in which they are to be generated: the
    costliest changes happen least often.
    """
    names = tuple(dict.fromkeys(models))
    for name in names:
        for member in settings.members(name):
            require_known(member, settings.backends)
    delivery.check_settings(settings, os.environ)
    check_axes(axes, request, len(names), _parameter_names(axes, request, names, settings))
    request = with_local_images(request, settings)
    recorded = [axis.without_folders() for axis in axes]
    comparison = load_or_create(folder, request, names, recorded)
    if comparison.request.draws_seed:
        shared = comparison.request.with_values({"seed": draw()})
        comparison = comparison.model_copy(update={"request": shared})
    if has_own_seeds:
        comparison = comparison.model_copy(update={"has_own_seeds": True})
    expand = _wildcard_expansion(settings) if has_wildcards else lambda asked: asked
    shown = comparison.without(skip)
    wanted = {values_key(values) for values in combine(shown.axes)}
    requests = [
        (
            {axis.name: kept[axis.name] for axis in axes},
            with_local_images(expand(apply_values(comparison.request, values)), settings),
        )
        for kept, values in zip(
            combine(sort_by_cost(recorded)), combine(sort_by_cost(axes)), strict=True
        )
        if values_key(kept) in wanted
    ]
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
        cells = [cell for model in names if model in shown.models for cell in column.plan(model)]
        if not strict:
            _refuse_impossible_values(recorded, cells)
        yield comparison, cells


def cell_settings(
    settings: Settings, comparison: Comparison, cell: ComparisonCell, folder: Path
) -> Settings:
    """The settings for one cell: its images are named after backend, values and seed."""
    numbers = [
        [*map(repr, axis.values)].index(repr(cell.values[axis.name])) + 1
        for axis in comparison.axes
    ]
    name = "-".join(("{backend}", *(f"{number:02d}" for number in numbers), "{seed}"))
    output = settings.output.model_copy(update={"directory": folder, "name": name, "sidecar": True})
    return settings.model_copy(update={"output": output})


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
    requests: Sequence[tuple[dict[str, Any], Request]]
    settings: Settings
    folder: Path
    strict: bool
    engines: ExitStack
    """Closes the engines of the planned cells."""

    def plan(self, model: str) -> Iterator[ComparisonCell | PlannedCell]:
        member = self.settings.members(model)[0]  # the backends of a pool are alike
        try:
            engine = self.engines.enter_context(closing(open_named(member, self.settings)))
        except ImagenError as error:
            yield from (self._fail(model, values, error) for values, _ in self.requests)
            return
        known = {
            cell.key: cell.values
            for cell in self.comparison.cells
            if cell.model == model and cell.same_as is None and cell.is_complete(self.folder)
        }
        for values, shared in self.requests:
            asked = self._with_seed(shared, model, values)
            try:
                plan = Preparation(engine, asked, self.settings, strict=self.strict)
            except MissingPrompt as error:
                raise error.replace(message=f"{model}: {error.message}") from error
            except ImagenError as error:
                yield self._fail(model, values, error)
                continue
            tickets = plan.tickets
            key = _cell_key(member, tickets, self.settings)
            old = self.comparison.cell(model, values)
            if old is not None and old.is_done(key, self.folder):
                yield old.model_copy(update={"error": None})
                continue
            first = known.setdefault(key, values)
            if values_key(first) != values_key(values) and not _is_seed_dropped(tickets):
                same = ComparisonCell(model=model, values=values, key=key, same_as=first)
                yield same.model_copy(update={"receipt": tickets[0].receipt})
                continue
            cell = ComparisonCell(
                model=model,
                workflow=tickets[0].workflow,
                values=values,
                key=key,
                attempt=0 if old is None else old.attempt + 1,
            )
            numbered = number_tickets(self.comparison, cell, tickets)
            yield PlannedCell(cell, engine, plan, asked, numbered)

    def _with_seed(self, request: Request, model: str, values: dict[str, Any]) -> Request:
        """The request with the seed of its cell, which is the same in every run."""
        if not self.comparison.has_own_seeds or "seed" in values:
            return request
        parts = json.dumps([self.comparison.request.seed, model, values_key(values)])
        return request.with_values({"seed": int(sha256(parts.encode()).hexdigest()[:7], 16)})

    def _fail(self, model: str, values: dict[str, Any], error: ImagenError) -> ComparisonCell:
        """A cell that cannot be requested; it keeps an earlier image."""
        cell = self.comparison.cell(model, values)
        if cell is None or not cell.is_complete(self.folder):
            cell = ComparisonCell(model=model, values=values)
        return cell.model_copy(update={"error": describe_failure(error)})


def _is_seed_dropped(tickets: Sequence[Ticket]) -> bool:
    """Whether the same request gives other images each time, as the engine takes no seed."""
    seed = tickets[0].receipt.get("seed")
    return seed is not None and seed.outcome == "dropped"


def describe_failure(error: ImagenError) -> CellFailure:
    """What the record keeps of an error."""
    return CellFailure(code=error.code, message=error.message, remedy=error.remedy)


def _wildcard_expansion(settings: Settings) -> Callable[[Request], Request]:
    """A function that expands the wildcards of a request; all its images share the texts."""
    from imagen.batch.expand import expand_request
    from imagen.batch.wildcards import Wildcards

    wildcards = Wildcards(settings.wildcard_dirs)

    def expand(asked: Request) -> Request:
        (expanded,) = expand_request(asked.with_values({"count": None}), wildcards, settings)
        return expanded.with_values({"count": asked.count})

    return expand


def _parameter_names(
    axes: Sequence[Axis], request: Request, models: Iterable[str], settings: Settings
) -> set[str]:
    """The parameters of these backends, if one of the axes is not a field of every request."""
    names: set[str] = set()
    if all(name in Request.model_fields for axis in axes for name in axis.parameters):
        return names
    for model in models:
        member = settings.members(model)[0]
        with suppress(ImagenError), closing(open_named(member, settings)) as engine:
            names |= engine.capabilities(request.task).parameters.keys()
    return names


def _refuse_impossible_values(
    axes: Sequence[Axis], cells: Sequence[ComparisonCell | PlannedCell]
) -> None:
    """Raise RequestError for a value that every backend refuses, such as a misspelt sampler."""
    refused: list[tuple[bool, Axis, int, object, CellFailure]] = []
    for axis in axes:
        for number, value in enumerate(axis.values, start=1):
            mine = [one for one in cells if repr(one.values[axis.name]) == repr(value)]
            errors = [one.error for one in mine if isinstance(one, ComparisonCell) and one.error]
            if errors and len(errors) == len(mine) and {e.code for e in errors} == {"request"}:
                # The axis is to blame if others of its values are fine, or if the error names it.
                names = any(name in errors[0].message.lower() for name in axis.parameters)
                refused.append((names, axis, number, value, errors[0]))
    if not refused:
        return
    partly = {
        axis.name
        for axis in axes
        if sum(one[1].name == axis.name for one in refused) < len(axis.values)
    }
    _, axis, number, value, error = max(refused, key=lambda one: (one[1].name in partly, one[0]))
    raise RequestError(
        f"--vary {axis.name}, value {number} ({one_line(str(value), limit=40)}): {error.message}",
        remedy=error.remedy,
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

"""One request, put to one backend after another; what is there already is not made again."""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from imagen import sinks
from imagen.backends import available
from imagen.budgets import refuse_over_budget
from imagen.comparison.contact import write_sheet
from imagen.comparison.once import is_begun, made_once
from imagen.comparison.plan import PlannedCell, failure_in, number_runs, plan_cells, varied
from imagen.comparison.record import (
    Axis,
    Cell,
    Comparison,
    Failure,
    File,
    alone_in,
    begun,
    write,
)
from imagen.errors import (
    Cancelled,
    ImagenError,
    OutputError,
    RequestError,
    UnknownBackend,
)
from imagen.pictures import read_picture
from imagen.request import Request
from imagen.resolve import draw_seed
from imagen.result import OnProgress, ignore
from imagen.spine import open_named, ready, with_local_images
from imagen.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from imagen.backends import Backend
    from imagen.config import Settings
    from imagen.spine import Made
    from imagen.ticket import Ticket

    Watch = Callable[[str], AbstractContextManager[OnProgress]]


_NOT_ONE_VALUE = ("extra", "loras", "controls", "references", "upscale", "outpaint", "restore")


def draw_small_seed() -> int:
    """A random seed that every engine can take: some have 31 bits for it."""
    return draw_seed() % 2**31


def unseen(label: str) -> AbstractContextManager[OnProgress]:  # noqa: ARG001
    """A `watch` that shows nothing."""
    return nullcontext(ignore)


def compare(
    request: Request,
    models: Sequence[str],
    settings: Settings,
    *,
    folder: Path,
    vary: Axis | None = None,
    strict: bool = False,
    watch: Watch = unseen,
    note: str = "",
    draw: Callable[[], int] = draw_small_seed,
) -> Comparison:
    """Put one request to each of these backends in turn, and keep all that comes of it in `folder`.

    All cells share one seed, drawn once. A backend that fails is a cell with an error. Run again
    with the same folder, only what is missing or failed is made. `watch` is given a cell's label
    and gives the callback for its progress; `note` stands on the sheet.

    Raises UnknownBackend and ConfigError before anything is made, OverBudget where all of it would
    exceed a budget for one run, RequestError where the folder holds another comparison or another
    process is at work there, OutputError where it can't be written, and Cancelled with all that was
    made kept.
    """
    request = with_local_images(request, settings)
    names = _checked(request, models, settings, vary)
    with alone_in(folder), ExitStack() as engines:
        comparison = _begun(request, names, folder, vary, draw)
        values = vary.values if vary else (None,)
        cells = list(
            plan_cells(comparison, names, values, settings, folder, strict=strict, engines=engines)
        )
        _refuse_beyond_one_run(cells, settings, folder)
        planned = [ticket for one in cells if isinstance(one, PlannedCell) for ticket in one.runs]
        comparison = comparison.with_inputs(known for ticket in planned for known in ticket.inputs)
        write(comparison, folder)
        return _compared(_Loop(comparison, settings, folder, watch=watch), cells, note)


def plan_comparison(
    request: Request,
    models: Sequence[str],
    settings: Settings,
    *,
    folder: Path,
    vary: Axis | None = None,
    strict: bool = False,
) -> list[Cell | PlannedCell]:
    """What `compare` would do with the same arguments; nothing is sent, or written to the folder.

    Raises what `compare` raises before it begins, but for OverBudget.
    """
    request = with_local_images(request, settings)
    names = _checked(request, models, settings, vary)
    comparison = _begun(request, names, folder, vary, draw_small_seed)
    values = vary.values if vary else (None,)
    with ExitStack() as engines:
        return list(
            plan_cells(comparison, names, values, settings, folder, strict=strict, engines=engines)
        )


def _checked(
    request: Request, models: Sequence[str], settings: Settings, vary: Axis | None
) -> tuple[str, ...]:
    """The names of the models, each once; raises where none of them could begin."""
    names = tuple(dict.fromkeys(models))
    _refuse_unknown(names, settings)
    sinks.check(settings, os.environ)
    _refuse_unknown_axis(vary, request, names, settings)
    _refuse_lost_pictures(request)
    for value in vary.values if vary else ():
        varied(request, vary, value)  # what no backend could take is found before any works
    return names


def _begun(
    request: Request,
    names: tuple[str, ...],
    folder: Path,
    vary: Axis | None,
    draw: Callable[[], int],
) -> Comparison:
    """The comparison to continue, with the seed that all cells share."""
    comparison = begun(folder, request, names, vary)
    if comparison.request.seed is None:
        shared = comparison.request.with_values({"seed": draw()})
        comparison = comparison.model_copy(update={"request": shared})
    return comparison


def _refuse_beyond_one_run(
    cells: Iterable[Cell | PlannedCell], settings: Settings, folder: Path
) -> None:
    """A budget for one run covers all cells together: if it is too small, none is made.

    Budgets for a day or a month may have changed by the time a cell is made, and are checked then.
    """
    of_one_run = tuple(budget for budget in settings.budgets if budget.per == "run")
    output = settings.output.model_copy(update={"directory": folder})
    settings = settings.model_copy(update={"budgets": of_one_run, "output": output})
    plan = [ticket for one in cells if isinstance(one, PlannedCell) for ticket in one.runs]
    refuse_over_budget(_unbegun(plan, settings), settings)


def _unbegun(runs: Sequence[Ticket], settings: Settings) -> list[Ticket]:
    """The tickets that no earlier process began; without budgets it does not matter which."""
    return [ticket for ticket in runs if settings.budgets and not is_begun(ticket, settings)]


def _compared(loop: _Loop, cells: Sequence[Cell | PlannedCell], note: str) -> Comparison:
    """All its cells, and the sheet of those there are whatever ends it."""
    try:
        loop.run(cells)
    except BaseException:
        with suppress(OutputError):  # what ended it all is the thing to tell
            write_sheet(loop.comparison, loop.folder, note=note)
        raise
    write_sheet(loop.comparison, loop.folder, note=note)
    return loop.comparison


def _refuse_unknown(names: Iterable[str], settings: Settings) -> None:
    known = available(settings.backends)
    for name in names:
        if name not in known:
            raise UnknownBackend(name, known)


class _Loop:
    """Makes the cells of one run, one after another."""

    def __init__(
        self, comparison: Comparison, settings: Settings, folder: Path, *, watch: Watch
    ) -> None:
        self.comparison = comparison
        self._settings = settings
        self.folder = folder
        self._watch = watch
        self._at_work: Backend | None = None
        self._paid: list[Ticket] = []
        """What was begun in this run, and counts against its budgets."""
        self._control_pictures: dict[str, dict[tuple[str, str], str]] = {}
        """Those made so far, for each model: by kind and file, where they lie."""

    def run(self, cells: Iterable[Cell | PlannedCell]) -> None:
        for one in cells:
            if isinstance(one, PlannedCell):
                self._make(one)
            elif one != self.comparison.cell(one.model, one.value):
                self._keep(one)

    def _make(self, planned: PlannedCell) -> None:
        """Make one cell; where a run of it fails, those before it stay in the record."""
        cell, engine, asked, runs = planned
        self._make_room(engine)
        began = time.monotonic()
        settings = self._settings_of(cell.value)
        made: list[Made] = []
        failure: Failure | None = None
        warnings: list[str] = []
        try:
            new = _unbegun(runs, settings)
            warnings = refuse_over_budget(new, self._settings, before=self._paid)
            with self._watch(self._label(cell.model, cell.value)) as on_progress:
                known = self._control_pictures.setdefault(cell.model, {})
                submittable, _ = ready(engine, runs, asked, settings, on_progress, known)
                for ticket in number_runs(self.comparison, cell, submittable):
                    made.append(
                        made_once(engine, ticket, asked, settings, on_progress, before=self._paid)
                    )
                    self._paid += [ticket for one in new if one.id == ticket.id]
        except Cancelled:
            raise
        except ImagenError as error:
            failure = failure_in(error)
        cell = cell.model_copy(update={"seconds": time.monotonic() - began, "error": failure})
        cell = _with_facts(cell, made, warnings, self.folder) if made else cell
        self._keep(cell if failure is None else cell.model_copy(update={"key": ""}))

    def _make_room(self, engine: Backend) -> None:
        """One GPU: before another engine works, the last one gives its memory back."""
        if self._at_work is not None and self._at_work.engine != engine.engine:
            self._at_work.free()
        self._at_work = engine

    def _keep(self, cell: Cell) -> None:
        self.comparison = self.comparison.with_cell(cell)
        try:
            write(self.comparison, self.folder)
        except OutputError as error:
            if cell.error is not None:  # it says where the picture lies now
                error.message = f"{cell.error.message}\n{error.message}"
            raise

    def _settings_of(self, value: Any) -> Settings:
        name = "{backend}-{seed}"
        if self.comparison.vary is not None:
            name = f"{{backend}}-{self.comparison.values.index(value) + 1:02d}-{{seed}}"
        output = self._settings.output.model_copy(
            update={"directory": self.folder, "name": name, "sidecar": True}
        )
        return self._settings.model_copy(update={"output": output})

    def _label(self, model: str, value: Any) -> str:
        vary = self.comparison.vary
        return model if vary is None else f"{model}, {vary.name} {value}"


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


def _refuse_lost_pictures(request: Request) -> None:
    """A picture that can't be read is no backend's fault."""
    given = [("image", request.image), ("mask", request.mask)]
    given += [("references", path) for path in request.references]
    given += [("controls", control.image) for control in request.controls]
    for what, path in given:
        if path is not None:
            read_picture(path, what)


def _with_facts(cell: Cell, made: Sequence[Made], warnings: Sequence[str], folder: Path) -> Cell:
    """The cell with what came back; several runs of one cell count as one."""
    facts = [run.result.facts for run in made]
    latencies = [f.latency_seconds for f in facts if f.latency_seconds is not None]
    costs = [f.cost_usd for f in facts if f.cost_usd is not None]
    return cell.model_copy(
        update={
            "files": tuple(_file(saved, folder) for run in made for saved in run.saved),
            "seed": facts[0].seed,
            "seconds": sum(latencies) if len(latencies) == len(facts) else cell.seconds,
            "cost_usd": sum(costs) if len(costs) == len(facts) else None,
            "receipt": made[0].ticket.receipt,
            "facts": asdict(facts[0]),
            "warnings": (*warnings, *(w for run in made for w in _said(run))),
        }
    )


def _said(run: Made) -> tuple[str, ...]:
    return (*run.result.warnings, *((run.remark,) if run.remark else ()))


def _file(saved: Any, folder: Path) -> File:
    return File(
        path=saved.path.relative_to(folder).as_posix(),
        sha256=saved.sha256,
        seed=saved.seed,
        width=saved.width,
        height=saved.height,
    )

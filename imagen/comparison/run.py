"""One request, put to one backend after another; what is there already is not made again."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from imagen.comparison.contact import write_sheet
from imagen.comparison.once import find_begun, run_once
from imagen.comparison.plan import PlannedCell, draw_small_seed, failure_in, number_runs, open_plan
from imagen.comparison.record import (
    Axis,
    CellFailure,
    CellImage,
    Comparison,
    ComparisonCell,
    lock_comparison,
    write_comparison,
)
from imagen.core.capabilities import ParameterOutcome
from imagen.core.result import OnProgress, count_images, no_progress
from imagen.errors import Cancelled, ImagenError, OutputError
from imagen.outputs import strip_folders
from imagen.pipeline.budgets import refuse_over_budget
from imagen.pipeline.generate import preprocess_controls

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from imagen.backends import Backend
    from imagen.config import Settings
    from imagen.core.request import Request
    from imagen.core.ticket import Ticket
    from imagen.pipeline.generate import Generation

    Watch = Callable[[str], AbstractContextManager[OnProgress]]


def watch_nothing(label: str) -> AbstractContextManager[OnProgress]:  # noqa: ARG001
    """A `watch` that shows nothing."""
    return nullcontext(no_progress)


def compare(
    request: Request,
    models: Sequence[str],
    settings: Settings,
    *,
    folder: Path,
    vary: Axis | None = None,
    strict: bool = False,
    watch: Watch = watch_nothing,
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
    plan = open_plan(request, models, settings, folder=folder, vary=vary, strict=strict, draw=draw)
    with lock_comparison(folder), plan as (comparison, cells):
        runs = [ticket for one in cells if isinstance(one, PlannedCell) for ticket in one.runs]
        begun = find_begun(runs, folder, settings.state_dir)
        new = [ticket for ticket in runs if ticket.id not in begun]
        # A budget for one run covers all cells together: if it is too small, none is made. Those
        # for a day or a month may change until a cell is made, and are checked then.
        of_one_run = tuple(budget for budget in settings.budgets if budget.per == "run")
        refuse_over_budget(new, settings.model_copy(update={"budgets": of_one_run}))
        comparison = comparison.with_inputs(known for ticket in runs for known in ticket.inputs)
        write_comparison(comparison, folder)
        return _compared(_Loop(comparison, settings, folder, new, watch=watch), cells, note)


def _compared(loop: _Loop, cells: Sequence[ComparisonCell | PlannedCell], note: str) -> Comparison:
    """All its cells, and the sheet of those there are whatever ends it."""
    try:
        loop.run(cells)
    except BaseException:
        with suppress(OutputError):  # what ended it all is the thing to tell
            write_sheet(loop.comparison, loop.folder, note=note)
        raise
    write_sheet(loop.comparison, loop.folder, note=note)
    return loop.comparison


class _Loop:
    """Makes the cells of one run, one after another."""

    def __init__(
        self,
        comparison: Comparison,
        settings: Settings,
        folder: Path,
        new: Sequence[Ticket],
        *,
        watch: Watch,
    ) -> None:
        self.comparison = comparison
        self._settings = settings
        self.folder = folder
        self._watch = watch
        self._images = 0
        """How many are to be made in all."""
        self._begun = 0
        """How many of them are made, or failed."""
        self._at_work: Backend | None = None
        self._new = {ticket.id for ticket in new}
        """The runs that this process begins, and that count against its budgets."""
        self._paid: list[Ticket] = []
        """Those of them that were made."""
        self._control_pictures: dict[str, dict[tuple[str, str], str]] = {}
        """Those made so far, for each model: by kind and file, where they lie."""

    def run(self, cells: Sequence[ComparisonCell | PlannedCell]) -> None:
        planned = [one for one in cells if isinstance(one, PlannedCell)]
        self._images = sum(ticket.images for one in planned for ticket in one.runs)
        for one in cells:
            if isinstance(one, PlannedCell):
                self._make(one)
                self._begun += sum(ticket.images for ticket in one.runs)
            elif one != self.comparison.cell(one.model, one.value):
                self._keep(one)

    def _make(self, planned: PlannedCell) -> None:
        """Make one cell; where a run of it fails, those before it stay in the record."""
        cell, engine, asked, runs = planned
        self._make_room(engine)
        began = time.monotonic()
        settings = self._settings_of(cell.value)
        made: list[Generation] = []
        failure: CellFailure | None = None
        warnings: list[str] = []
        try:
            new = [ticket for ticket in runs if ticket.id in self._new]
            warnings = refuse_over_budget(new, self._settings, before=self._paid)
            with self._watch(self._label(cell.model, cell.value)) as on_progress:
                known = self._control_pictures.setdefault(cell.model, {})
                submittable, _ = preprocess_controls(
                    engine, runs, asked, settings, on_progress, known
                )
                for ticket in number_runs(self.comparison, cell, submittable):
                    begun = self._begun + sum(one.ticket.images for one in made)
                    watched = count_images(on_progress, begun, self._images)
                    made.append(
                        run_once(engine, ticket, asked, settings, watched, before=self._paid)
                    )
                    self._paid += [ticket] if ticket.id in self._new else []
        except Cancelled:
            raise
        except ImagenError as error:
            failure = failure_in(error)
        cell = cell.model_copy(update={"seconds": time.monotonic() - began, "error": failure})
        cell = _with_facts(cell, made, warnings, self.folder, asked) if made else cell
        self._keep(cell if failure is None else cell.model_copy(update={"key": ""}))

    def _make_room(self, engine: Backend) -> None:
        """One GPU: before another engine works, the last one gives its memory back."""
        if self._at_work is not None and self._at_work.engine != engine.engine:
            self._at_work.free()
        self._at_work = engine

    def _keep(self, cell: ComparisonCell) -> None:
        self.comparison = self.comparison.with_cell(cell)
        try:
            write_comparison(self.comparison, self.folder)
        except OutputError as error:
            if cell.error is None:
                raise
            message = f"{cell.error.message}\n{error.message}"  # it says where the image is
            raise error.replace(message=message) from error

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


def _with_facts(
    cell: ComparisonCell,
    made: Sequence[Generation],
    warnings: Sequence[str],
    folder: Path,
    asked: Request,
) -> ComparisonCell:
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
            "receipt": {
                name: ParameterOutcome.model_validate(
                    strip_folders(fate.model_dump(mode="json"), asked)
                )
                for name, fate in made[0].ticket.receipt.items()
            },
            "facts": asdict(facts[0]),
            "warnings": (*warnings, *(w for run in made for w in _said(run))),
        }
    )


def _said(run: Generation) -> tuple[str, ...]:
    return (*run.result.warnings, *((run.remark,) if run.remark else ()))


def _file(saved: Any, folder: Path) -> CellImage:
    return CellImage(
        path=saved.path.relative_to(folder).as_posix(),
        sha256=saved.sha256,
        seed=saved.seed,
        width=saved.width,
        height=saved.height,
    )

"""Run a comparison: one request on one backend after another, without repeating finished work."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Unpack

from imagen.comparison.collect import (
    FolderImages,
    collect_from_queue,
    draw_comparison,
    refuse_queued,
    with_results,
)
from imagen.comparison.plan import (
    ComparisonOptions,
    PlannedCell,
    cell_settings,
    describe_failure,
    number_tickets,
    open_plan,
)
from imagen.comparison.record import lock_comparison, write_comparison
from imagen.core.filesystem import file_sha256
from imagen.core.result import Facts, OnProgress, Result, count_images, no_progress
from imagen.errors import Cancelled, ImagenError, Lost, OutputError
from imagen.jobs import file_store
from imagen.jobs.recover import finish_job
from imagen.pipeline.budgets import plan_within_budgets, refuse_over_budget
from imagen.pipeline.generate import Generation, create_jobs, preprocess_controls, run_job
from imagen.pipeline.record import with_job_settings
from imagen.pipeline.resolve import draw_small_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from imagen.backends import Backend
    from imagen.comparison.record import CellFailure, Comparison, ComparisonCell
    from imagen.config import Settings
    from imagen.core.request import Request
    from imagen.core.ticket import Ticket

    Watch = Callable[[str], AbstractContextManager[OnProgress]]

_MAY_HAVE_RUN = "It may have run, so it is not repeated automatically. Run this again to repeat it."


def watch_nothing(label: str) -> AbstractContextManager[OnProgress]:  # noqa: ARG001
    """A `watch` that shows nothing."""
    return nullcontext(no_progress)


def compare(
    request: Request,
    models: Sequence[str],
    settings: Settings,
    *,
    watch: Watch = watch_nothing,
    note: str = "",
    draw: Callable[[], int] = draw_small_seed,
    **options: Unpack[ComparisonOptions],
) -> Comparison:
    """Run one request on each of these backends in turn, and save all results in `folder`.

    All cells share one seed, drawn once. A backend that fails becomes a cell with an error. Run
    again with the same folder, only missing and failed cells are generated. `watch` gets the label
    of a cell and returns the callback for its progress; `note` appears on the sheet.

    Raises UnknownBackend and ConfigError before anything is generated, OverBudget if all of it
    would exceed a budget for one run, RequestError if the folder holds another comparison or
    another process works there, OutputError if it cannot be written, and Cancelled with all
    finished cells saved.
    """
    folder, skip = options["folder"], options.get("skip", ())
    collect_from_queue(folder, settings)
    plan = open_plan(request, models, settings, draw=draw, **options)
    with lock_comparison(folder), plan as (comparison, cells):
        refuse_queued(comparison, folder, settings)  # submitted since
        comparison = comparison.model_copy(update={"job": ""})
        planned = [
            ticket for one in cells if isinstance(one, PlannedCell) for ticket in one.tickets
        ]
        # An earlier process started some of these jobs: its budgets allowed them then.
        started = set(file_store.pending(settings.state_dir))
        images = FolderImages(folder)
        new = [
            ticket for ticket in planned if ticket.id not in started and not images.find(ticket.id)
        ]
        # A budget for one run covers all cells together: if it is too small, none is generated.
        # Those for a day or a month may change in the meantime, and are checked for each cell.
        of_one_run = tuple(budget for budget in settings.budgets if budget.per == "run")
        refuse_over_budget(new, settings.model_copy(update={"budgets": of_one_run}))
        comparison = comparison.with_inputs(known for ticket in planned for known in ticket.inputs)
        write_comparison(comparison, folder)
        run = _ComparisonRun(comparison, settings, images, folder, new, watch=watch)
        try:
            run.run(cells)
        except BaseException:
            with suppress(OutputError):  # the first error is the one to report
                draw_comparison(run.comparison.without(skip), folder, note=note)
            raise
        draw_comparison(run.comparison.without(skip), folder, note=note)
        return run.comparison


class _ComparisonRun:
    """Generates the missing cells of a comparison, one after another."""

    def __init__(
        self,
        comparison: Comparison,
        settings: Settings,
        images: FolderImages,
        folder: Path,
        new: Sequence[Ticket],
        *,
        watch: Watch,
    ) -> None:
        self.comparison = comparison
        self._settings = settings
        self._found = images
        self._folder = folder
        self._watch = watch
        self._images = 0
        """How many images are to be generated in all."""
        self._finished_images = 0
        """How many of them are generated, or failed."""
        self._busy_engine: Backend | None = None
        self._new = {ticket.id for ticket in new}
        """The jobs that this process starts, which count against its budgets."""
        self._paid: list[Ticket] = []
        """Those of them that ran."""
        self._control_images: dict[str, dict[tuple[str, str], str]] = {}
        """The control images so far, for each model: paths by kind and file."""

    def run(self, cells: Sequence[ComparisonCell | PlannedCell]) -> None:
        planned = [one for one in cells if isinstance(one, PlannedCell)]
        self._images = sum(ticket.images for one in planned for ticket in one.tickets)
        for one in cells:
            if isinstance(one, PlannedCell):
                self._generate(one)
                self._finished_images += sum(ticket.images for ticket in one.tickets)
            elif one != self.comparison.cell(one.model, one.values):
                self._save(one)
        whole = self.comparison.with_shared_images()
        if whole != self.comparison:
            self.comparison = whole
            write_comparison(whole, self._folder)

    def _generate(self, planned: PlannedCell) -> None:
        """Generate one cell; if one of its jobs fails, the record keeps those before it."""
        cell, engine, plan, asked, tickets = planned
        if self._busy_engine is not None and self._busy_engine.engine != engine.engine:
            self._busy_engine.free()  # one GPU: the last engine gives its memory back
        self._busy_engine = engine
        started = time.monotonic()
        settings = cell_settings(self._settings, self.comparison, cell, self._folder)
        generations: list[Generation] = []
        failure: CellFailure | None = None
        warnings: list[str] = []
        try:
            new = [ticket for ticket in tickets if ticket.id in self._new]
            warnings = refuse_over_budget(new, self._settings, before=self._paid)
            with self._watch(cell.label) as on_progress:
                known = self._control_images.setdefault(cell.model, {})
                ready, _ = preprocess_controls(engine, plan, settings, on_progress, known)
                for ticket in number_tickets(self.comparison, cell, ready):
                    finished = sum(one.ticket.images for one in generations)
                    count = count_images(
                        on_progress, self._finished_images + finished, self._images
                    )
                    generation = run_once(
                        engine, ticket, asked, settings, count, self._found, before=self._paid
                    )
                    generations.append(generation)
                    self._paid += [ticket] if ticket.id in self._new else []
        except Cancelled:
            raise
        except ImagenError as error:
            failure = describe_failure(error)
        cell = cell.model_copy(update={"seconds": time.monotonic() - started, "error": failure})
        if generations:
            cell = with_results(cell, generations, warnings, self._folder, asked=asked)
        self._save(cell if failure is None else cell.model_copy(update={"key": ""}))

    def _save(self, cell: ComparisonCell) -> None:
        self.comparison = self.comparison.with_cell(cell)
        try:
            write_comparison(self.comparison, self._folder)
        except OutputError as error:
            if cell.error is None:
                raise
            message = f"{cell.error.message}\n{error.message}"  # it says where the image is
            raise error.replace(message=message) from error


def run_once(
    engine: Backend,
    ticket: Ticket,
    asked: Request,
    settings: Settings,
    on_progress: OnProgress,
    images: FolderImages,
    *,
    before: Sequence[Ticket] = (),
) -> Generation:
    """Run a ticket with a stable id, or take up what an earlier process started or saved.

    `images` are those in the folder of the comparison; `before` are its tickets that ran already,
    for its budgets.

    Raises RequestError if another process works on it; Lost if its engine no longer knows the
    job; OutputError if its images are gone: generated again it would be another job.
    """
    if ticket.id in file_store.pending(settings.state_dir):
        with file_store.claim(ticket.id, settings.state_dir) as job:
            if job is None:
                raise file_store.job_busy(ticket.id)
            settings = with_job_settings(settings, job)
            try:
                outcome, generation = finish_job(
                    job, lambda: nullcontext(engine), settings, on_progress
                )
            except Lost as error:
                if error.never_ran or not error.is_certain:
                    raise
                raise error.with_remedy(_MAY_HAVE_RUN) from error
        saved = generation.saved
        if outcome == "saved" and not (saved and all(image.path.is_file() for image in saved)):
            raise OutputError(
                "It was generated and saved before, and its images are no longer in the folder.",
                remedy="Run this again to generate them again.",
            )
        if all(file_sha256(image.path) == image.sha256 for image in saved):
            return generation
    if found := images.find(ticket.id):
        result = Result(outputs=(), facts=Facts.of(found[0][1]))
        return Generation(ticket=ticket, result=result, saved=tuple(image for image, _ in found))
    jobs = create_jobs([ticket], asked, settings)
    with plan_within_budgets(jobs, settings, before=before):
        return run_job(engine, jobs[0], settings, on_progress)

"""Build the record of a comparison from images that are in its folder already."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from imagen.comparison.axes import Axis
from imagen.comparison.record import (
    RECORD_NAME,
    CellFailure,
    CellImage,
    Comparison,
    ComparisonCell,
    lock_comparison,
    read_comparison,
    write_comparison,
)
from imagen.comparison.report import write_report
from imagen.comparison.sheet import write_sheets
from imagen.core.capabilities import ParameterOutcome
from imagen.core.json_values import as_list, as_mapping, parse_json
from imagen.core.request import Request
from imagen.core.result import Facts, Result
from imagen.core.ticket import Ticket
from imagen.errors import OutputError, RequestError
from imagen.outputs import SavedImage, find_saved, strip_folders
from imagen.pipeline.generate import Generation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from imagen.config import Settings
    from imagen.jobs.model import QueuedJob
    from imagen.jobs.sql_store import SqlJobStore

_JOBS_AT_ONCE = 500
_NO_IMAGES = CellFailure(
    code="output",
    message="It was generated, and its images are not in the folder of the comparison.",
    remedy="If another machine has them, copy them with their sidecars into the folder. Run the "
    "comparison again to generate what is still missing.",
)


class SheetCellJobs(BaseModel):
    """A cell that the queue generates, and the ids of its jobs."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    cell: ComparisonCell
    jobs: tuple[str, ...]


class SheetJob(BaseModel):
    """What the last job of a comparison in the queue is to do. JSON in and out."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    skip: tuple[Axis, ...] = ()
    comparison: Comparison
    cells: tuple[SheetCellJobs, ...]


class FolderImages:
    """The images of a folder by their tickets, as their sidecars say."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tickets: dict[Path, object] = {}
        """The ticket of each sidecar that was read."""

    def find(self, ticket: str) -> list[tuple[SavedImage, dict[str, object]]]:
        """The images of a ticket in their order, each with the facts of its generation."""
        for sidecar in sorted(self._folder.glob("*.json")):
            if sidecar not in self._tickets and sidecar.name != RECORD_NAME:
                self._tickets[sidecar] = _read_sidecar(sidecar).get("ticket")
        mine = [sidecar for sidecar, owner in self._tickets.items() if owner == ticket]
        found = [find_saved(sidecar, ticket=ticket) for sidecar in mine]
        return sorted((one for one in found if one is not None), key=lambda one: one[0].index)

    def load(self, ticket: str) -> Generation | None:
        """The generation of a ticket, as the sidecar of its first image says; None if it has no
        images."""
        found = self.find(ticket)
        if not found:
            return None
        first, facts = found[0]
        values = _read_sidecar(first.sidecar) if first.sidecar else {}
        plain = {"id": ticket, "backend": values.get("backend"), "workflow": values.get("workflow")}
        known = {"receipt": values.get("receipt"), "request": values.get("resolved")}
        try:
            own = Ticket.model_validate(plain | known)
        except ValidationError:  # edited by hand
            own = Ticket(id=ticket, backend="", request=Request(), receipt={})
        warnings = tuple(map(str, as_list(values.get("warnings"))))
        result = Result(outputs=(), facts=Facts.of(facts), warnings=warnings)
        return Generation(ticket=own, result=result, saved=tuple(image for image, _ in found))


def _read_sidecar(path: Path) -> dict[str, object]:
    try:
        return as_mapping(parse_json(path.read_bytes(), strict_numbers=False))
    except (OSError, ValueError):
        return {}


def collect_from_queue(folder: Path, settings: Settings) -> None:
    """Bring what the queue has generated of the comparison in this folder into its record.

    For a comparison whose sheet another machine has drawn, or none. Raises RequestError while the
    queue is generating it, and what `draw_queued_sheet` raises.
    """
    comparison = read_comparison(folder)
    if comparison is None or not refuse_queued(comparison, folder, settings):
        return
    from imagen.jobs.sql_store import open_job_store

    with open_job_store(settings) as store:
        for row in list_children(store, comparison.job):
            if row.kind == "sheet":
                draw_queued_sheet(row, store, settings, folder=folder)


def refuse_queued(comparison: Comparison, folder: Path, settings: Settings) -> bool:
    """Raise RequestError if the queue is generating this comparison; whether it has done so."""
    if not comparison.job:
        return False
    from imagen.jobs.model import ENDED
    from imagen.jobs.sql_store import open_job_store

    with open_job_store(settings) as store:
        try:
            state = store.read(comparison.job).state
        except RequestError:  # it was never submitted, or deleted long after it ended
            return False
    if state not in ENDED:
        raise RequestError(
            f"The comparison in {folder} is in the queue, as job {comparison.job}.",
            remedy=f"Wait for it with: imagen jobs wait {comparison.job}",
        )
    return True


def draw_queued_sheet(
    row: QueuedJob, store: SqlJobStore, settings: Settings, *, folder: Path | None = None
) -> None:
    """Run a job of kind `sheet`, without an engine: record and draw what its siblings generated.

    Images that other machines made are copied into the folder: by default that of the job. Raises
    RequestError if another process works on the comparison, OutputError if a file cannot be
    written, LibraryUnreachable.
    """
    from imagen.jobs.image_files import copy_image  # with the library
    from imagen.jobs.prepare_queued import settings_of
    from imagen.library import images_of

    assert row.spec is not None
    folder = folder or settings_of(row.spec, row.spec.backend, settings).output.directory
    images = FolderImages(folder)
    jobs = {job.id: job for job in list_children(store, row.parent) if job.kind == "image"}
    for job in jobs.values():
        if job.state == "done" and not images.find(job.ticket_id):
            for image in images_of(store.library, job.ticket_id):
                with suppress(OutputError):  # its cell says so
                    copy_image(image, folder, store.library, settings)
    collect_comparison(row.spec.comparison, jobs, folder)


def list_children(store: SqlJobStore, parent: str | None) -> Iterator[QueuedJob]:
    before = None
    while page := store.list_jobs(parent=parent, limit=_JOBS_AT_ONCE, before=before):
        yield from page
        before = page[-1].id


def collect_comparison(
    sheet: Mapping[str, JsonValue], jobs: Mapping[str, QueuedJob], folder: Path
) -> Comparison:
    """Record the cells that jobs of the queue have generated, and draw sheet and report.

    `sheet` is the `SheetJob` that was submitted with the jobs. Nothing is generated. Raises
    RequestError if another process works on the comparison, OutputError if a file cannot be
    written.
    """
    work = SheetJob.model_validate(sheet)
    with lock_comparison(folder):
        comparison = read_comparison(folder) or work.comparison
        if comparison.token != work.comparison.token:
            raise RequestError(
                f"{folder} holds another comparison.",
                remedy="Move its compare.json away, and retry the job.",
            )
        images = FolderImages(folder)
        for planned in work.cells:
            old = comparison.cell(planned.cell.model, planned.cell.values)
            if old is None or old.attempt <= planned.cell.attempt:
                cell = _collect_cell(planned, jobs, images, folder)
                comparison = comparison.with_cell(cell)
        comparison = comparison.model_copy(update={"job": ""}).with_shared_images()
        write_comparison(comparison, folder)
        draw_comparison(comparison.without(work.skip), folder)
        return comparison


def _collect_cell(
    planned: SheetCellJobs, jobs: Mapping[str, QueuedJob], images: FolderImages, folder: Path
) -> ComparisonCell:
    generations: list[Generation] = []
    failures: list[CellFailure] = []
    for id in planned.jobs:
        job = jobs.get(id)
        ticket = id if job is None else job.ticket_id
        if generation := images.load(ticket):
            generations.append(generation)
        elif job is None or job.state == "done":
            failures.append(_NO_IMAGES)
        else:
            failures.append(failure_of(job))
    cell = planned.cell
    if generations:
        cell = with_results(cell, generations, (), folder)
    if failures:
        cell = cell.model_copy(update={"key": "", "error": failures[0]})
    return cell


def failure_of(job: QueuedJob) -> CellFailure:
    """Why a job that ended has no image."""
    error = job.error or {"code": job.state, "message": f"Its job was {job.state}."}
    return CellFailure(**{name: str(error.get(name) or "") for name in CellFailure.model_fields})


def with_results(
    cell: ComparisonCell,
    generations: Sequence[Generation],
    warnings: Sequence[str],
    folder: Path,
    *,
    asked: Request | None = None,
) -> ComparisonCell:
    """The cell with its results; several generations of one cell count as one."""
    first = generations[0]
    facts = [one.result.facts for one in generations]
    latencies = [f.latency_seconds for f in facts if f.latency_seconds is not None]
    costs = [f.cost_usd for f in facts if f.cost_usd is not None]
    said = [w for one in generations for w in (*one.result.warnings, one.remark) if w]
    used = first.ticket.request
    return cell.model_copy(
        update={
            "files": tuple(
                CellImage(
                    path=saved.path.absolute().relative_to(folder.absolute()).as_posix(),
                    sha256=saved.sha256,
                    seed=saved.seed,
                    width=saved.width,
                    height=saved.height,
                )
                for one in generations
                for saved in one.saved
            ),
            "seed": facts[0].seed,
            "seconds": sum(latencies) if len(latencies) == len(facts) else cell.seconds,
            "cost_usd": sum(costs) if len(costs) == len(facts) else None,
            "parameters": strip_folders(used.model_dump(exclude={"extra"}) | used.extra, used),
            "receipt": {
                name: ParameterOutcome.model_validate(
                    strip_folders(outcome.model_dump(mode="json"), asked or used)
                )
                for name, outcome in first.ticket.receipt.items()
            },
            "facts": asdict(facts[0]),
            "warnings": (*warnings, *said),
        }
    )


def draw_comparison(comparison: Comparison, folder: Path, *, note: str = "") -> None:
    """Write the contact sheets and the report. Raises OutputError."""
    write_sheets(comparison, folder, note=note)
    write_report(comparison, folder, note=note)

"""Comparisons of clients: each has a folder below the output directory, whose name is its id."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING

from imagen.batch.wildcards import may_have_wildcards
from imagen.comparison.axes import MOST_CELLS, Axis, apply_values, combine, values_key
from imagen.comparison.collect import (
    SheetJob,
    collect_from_queue,
    failure_of,
    list_children,
)
from imagen.comparison.plan import default_folder, estimate_seconds, plan_comparison
from imagen.comparison.record import RECORD_NAME, ComparisonCell, read_comparison
from imagen.comparison.report import REPORT_NAME, build_report
from imagen.comparison.sheet import sheet_paths
from imagen.comparison.submit import submit_comparison
from imagen.core.image_file import blob_name
from imagen.core.json_values import json_safe
from imagen.core.prompt_syntax import TEXTS
from imagen.core.request import Request
from imagen.core.text import one_line
from imagen.errors import ImagenError, NotFound, OutputError, OverBudget, RequestError
from imagen.jobs.model import ENDED
from imagen.jobs.prepare_queued import settings_of
from imagen.library.ledger import find_rows
from imagen.library.search import images_of, images_of_each, images_with_bytes
from imagen.pipeline.budgets import refuse_over_budget
from imagen.pipeline.prepare import with_local_images
from imagen.runtime.client_requests import refuse_paths, resolve_extra, resolve_input
from imagen.views.comparisons import (
    CellImageView,
    ComparisonCellView,
    ComparisonEstimateView,
    ComparisonsView,
    ComparisonView,
    ListedComparisonView,
    PlannedCellView,
    SubmittedComparisonView,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from imagen.comparison.plan import ComparisonOptions
    from imagen.comparison.record import CellImage, Comparison
    from imagen.core.ticket import InputImage, Ticket
    from imagen.jobs.model import QueuedJob
    from imagen.jobs.submit import SubmitOptions
    from imagen.library import LibraryImage
    from imagen.library.ledger import LedgerRow
    from imagen.runtime.runtime import Runtime

_ID = re.compile(r"compare-[\w-]{1,120}")
_MOST_LISTED = 500


def submit_client_comparison(
    request: Request,
    models: Sequence[str],
    runtime: Runtime,
    options: SubmitOptions,
    *,
    axes: Sequence[Axis] = (),
    skip: Sequence[Axis] = (),
    is_literal: bool = False,
    has_own_seeds: bool = False,
) -> SubmittedComparisonView:
    """Submit the missing cells of a comparison, also of one that the queue generates now.

    Raises what `submit_comparison` raises.
    """
    settings = runtime.settings
    if not is_literal:
        _refuse_varied_loras(request, axes)
    axes, skip = ([_admit_axis(axis, request, runtime) for axis in each] for each in (axes, skip))
    request = with_local_images(request, settings, blobs=runtime.blobs)
    folder = default_folder(settings, request, axes, has_own_seeds=has_own_seeds)
    known = read_comparison(folder)
    jobs = {} if known is None else _open_jobs(known, runtime)
    submission = submit_comparison(
        request,
        models,
        settings,
        options,
        folder=folder,
        axes=axes,
        skip=skip,
        strict=options.strict,
        has_wildcards=not is_literal,
        has_own_seeds=has_own_seeds,
        running=_find_sheet_job(jobs),
    )
    if submission is None:
        job = known.job if known is not None and jobs else None
        return SubmittedComparisonView(id=folder.name, job=job, jobs=tuple(jobs))
    return SubmittedComparisonView(
        id=folder.name,
        job=submission.id,
        jobs=tuple(submission.ids),
        warnings=tuple(submission.warnings),
    )


def extend_comparison(
    id: str,
    models: Sequence[str],
    axes: Sequence[Axis],
    runtime: Runtime,
    options: SubmitOptions,
    *,
    is_literal: bool = False,
) -> SubmittedComparisonView:
    """Submit what a comparison lacks, with more backends or values; nothing is generated twice.

    `models` and `axes` are what is wanted: those of the comparison where they are empty. While the
    queue generates the comparison, it gets more cells. Raises what `submit_comparison` raises.
    """
    comparison, folder = _find(id, runtime)
    jobs = _open_jobs(comparison, runtime)
    request, wanted = _request_to_extend(comparison, axes, runtime)
    if not is_literal:
        _refuse_varied_loras(request, wanted)
    submission = submit_comparison(
        request,
        models or comparison.models,
        runtime.settings,
        options,
        folder=folder,
        axes=wanted,
        strict=options.strict,
        has_wildcards=not is_literal,
        running=_find_sheet_job(jobs),
    )
    if submission is None:
        return SubmittedComparisonView(id=id, job=comparison.job if jobs else None, jobs=())
    return SubmittedComparisonView(
        id=id,
        job=submission.id,
        jobs=tuple(submission.ids),
        warnings=tuple(submission.warnings),
    )


def estimate_client_comparison(
    request: Request,
    models: Sequence[str],
    runtime: Runtime,
    *,
    axes: Sequence[Axis] = (),
    skip: Sequence[Axis] = (),
    strict: bool = False,
    is_literal: bool = False,
    has_own_seeds: bool = False,
) -> ComparisonEstimateView:
    """What the missing cells of a comparison would cost and take; nothing is sent or written.

    Raises what `submit_comparison` raises, except OverBudget.
    """
    axes, skip = ([_admit_axis(axis, request, runtime) for axis in each] for each in (axes, skip))
    request = with_local_images(request, runtime.settings, blobs=runtime.blobs)
    folder = default_folder(runtime.settings, request, axes, has_own_seeds=has_own_seeds)
    what: ComparisonOptions = {
        "folder": folder,
        "axes": axes,
        "skip": skip,
        "strict": strict,
        "has_wildcards": not is_literal,
        "has_own_seeds": has_own_seeds,
    }
    return _estimate(request, models, runtime, what)


def estimate_extension(
    id: str, models: Sequence[str], axes: Sequence[Axis], runtime: Runtime
) -> ComparisonEstimateView:
    """What `extend_comparison` would cost and take."""
    comparison, folder = _find(id, runtime)
    request, wanted = _request_to_extend(comparison, axes, runtime)
    what: ComparisonOptions = {"folder": folder, "axes": wanted, "has_wildcards": True}
    return _estimate(request, models or comparison.models, runtime, what)


def _estimate(
    request: Request, models: Sequence[str], runtime: Runtime, what: ComparisonOptions
) -> ComparisonEstimateView:
    plan = plan_comparison(request, models, runtime.settings, **what)
    known = read_comparison(what["folder"])
    queued = {} if known is None else _jobs_by_cell(_open_jobs(known, runtime))
    plan = [(cell, () if cell.place in queued else missing) for cell, missing in plan]
    tickets = [ticket for _, missing in plan for ticket in missing]
    usual = estimate_seconds(tickets, runtime.settings)
    seconds = {ticket.id: each for ticket, each in zip(tickets, usual, strict=True)}
    is_over_budget = False
    try:
        with runtime.library.reading() as connection:
            budgets = refuse_over_budget(tickets, runtime.settings, connection=connection)
    except OverBudget as error:
        budgets, is_over_budget = [error.message], True
    costs = [ticket.estimate.usd for ticket in tickets if ticket.estimate is not None]
    return ComparisonEstimateView(
        images=sum(ticket.images for ticket in tickets),
        usual_seconds=_sum_known(usual),
        cost_usd=sum(cost or 0.0 for cost in costs),
        unknown_costs=costs.count(None),
        is_free=not costs,
        budgets=tuple(budgets),
        is_over_budget=is_over_budget,
        cells=tuple(_planned_view(cell, missing, seconds) for cell, missing in plan),
    )


def _planned_view(
    cell: ComparisonCell, tickets: Sequence[Ticket], seconds: Mapping[str, float | None]
) -> PlannedCellView:
    costs = [ticket.estimate.usd for ticket in tickets if ticket.estimate is not None]
    receipt = tickets[0].receipt if tickets else cell.receipt
    is_same = cell.same_as is not None and not cell.files
    recorded = "failed" if cell.error else "same" if is_same else "done"
    return PlannedCellView.model_validate(
        {
            "model": cell.model,
            "values": json_safe(cell.values),
            "state": "planned" if tickets else recorded,
            "images": sum(ticket.images for ticket in tickets),
            "usual_seconds": _sum_known([seconds[ticket.id] for ticket in tickets]),
            "cost_usd": _sum_known(costs),
            "is_free": not costs,
            "dropped": [name for name, one in receipt.items() if one.outcome == "dropped"],
            "error": cell.error,
        }
    )


def _sum_known(values: Sequence[float | None]) -> float | None:
    """The sum; None if one of them is unknown."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def read_client_comparison(id: str, runtime: Runtime) -> ComparisonView:
    """A comparison and how far it is. Raises NotFound."""
    comparison, folder = _find(id, runtime)
    jobs = _open_jobs(comparison, runtime)
    if comparison.job and not jobs:  # it was cancelled before its sheet was drawn
        with suppress(ImagenError):
            collect_from_queue(folder, runtime.settings)
        comparison = read_comparison(folder) or comparison
    cells = _read_cells(comparison, folder, jobs, runtime)
    sheets = [path.name for path in sheet_paths(comparison, folder) if path.is_file()]
    return ComparisonView(
        id=id,
        job=comparison.job if jobs else None,
        request=json_safe(comparison.request.model_dump(mode="json", exclude_defaults=True)),
        has_own_seeds=comparison.has_own_seeds,
        models=comparison.models,
        axes=comparison.axes,
        cells=cells,
        sheets=tuple(sheets),
        report=REPORT_NAME if (folder / REPORT_NAME).is_file() else None,
    )


def _read_cells(
    comparison: Comparison, folder: Path, jobs: dict[str, QueuedJob], runtime: Runtime
) -> tuple[ComparisonCellView, ...]:
    planned = _jobs_by_cell(jobs)
    own = {id: job for id, job in jobs.items() if job.kind == "image"}
    made = [job.ticket_id for job in own.values() if job.state == "done"]
    images = images_of_each(runtime.library, made)
    rows = find_rows(runtime.library, made)
    cells = [
        comparison.cell(model, values) or ComparisonCell(model=model, values=values)
        for model in comparison.models
        for values in combine(comparison.axes)
    ]
    digests = {file.sha256 for cell in cells for file in cell.files}
    known = images_with_bytes(runtime.library, [*digests])
    shown = []
    for cell in cells:
        ids = planned.get(cell.place, ())
        generations = [own[id].ticket_id for id in ids if id in own and own[id].state == "done"]
        if ids:
            cell = _with_ledger(cell, [rows[one] for one in generations if one in rows])
        views = [_image_view(one) for each in generations for one in images[each]]
        if not views:
            views = [_recorded_image_view(file, known[file.sha256], folder) for file in cell.files]
        shown.append(_cell_view(cell, ids, own, views))
    return tuple(shown)


def _jobs_by_cell(jobs: dict[str, QueuedJob]) -> dict[tuple[str, str], tuple[str, ...]]:
    """The jobs of each cell that the queue generates, by the place of the cell."""
    work = _find_sheet_job(jobs)
    return {} if work is None else {one.cell.place: one.jobs for one in work.cells}


def _find_sheet_job(jobs: Mapping[str, QueuedJob]) -> SheetJob | None:
    """The work of the job that draws the sheet; None without such a job."""
    specs = (job.spec for job in jobs.values() if job.kind == "sheet")
    spec = next((one for one in specs if one is not None), None)
    return None if spec is None else SheetJob.model_validate(spec.comparison)


def _with_ledger(cell: ComparisonCell, rows: Sequence[LedgerRow]) -> ComparisonCell:
    """The cell with the time and the cost of what was generated for it just now."""
    seconds = _sum_known([row.latency_seconds for row in rows]) if rows else None
    cost = _sum_known([row.cost for row in rows]) if rows else None
    return cell.model_copy(update={"seconds": seconds, "cost_usd": cost})


def _image_view(image: LibraryImage) -> CellImageView:
    return CellImageView(
        uid=image.uid,
        file=None,
        width=image.width,
        height=image.height,
        seed=image.seed,
        rating=image.rating,
    )


def _recorded_image_view(
    file: CellImage, known: Sequence[LibraryImage], folder: Path
) -> CellImageView:
    """A file of the comparison; of several images with its bytes, that with its path."""
    path = folder.absolute() / file.path
    best = sorted(known, key=lambda image: (image.path != path, image.is_trashed))
    return CellImageView(
        uid=best[0].uid if best else None,
        file=file.path,
        width=file.width,
        height=file.height,
        seed=file.seed,
        rating=best[0].rating if best else None,
    )


def find_comparison_file(id: str, name: str, runtime: Runtime) -> Path:
    """A sheet, the report, the record or an image of a comparison. Raises NotFound."""
    comparison, folder = _find(id, runtime)
    known = {path.name for path in sheet_paths(comparison, folder)} | {REPORT_NAME, RECORD_NAME}
    known |= {file.path for cell in comparison.cells for file in cell.files}
    if name not in known or not (folder / name).is_file():
        raise NotFound(f"This comparison has no file {one_line(name, limit=60)!r}.")
    return folder / name


def build_portable_report(id: str, runtime: Runtime) -> str:
    """The report of a comparison with its images in it. Raises NotFound."""
    comparison, folder = _find(id, runtime)
    return build_report(comparison, folder=folder)


def find_queued_sheet(job: str, runtime: Runtime) -> Path | None:
    """The first sheet of the comparison that a job of the queue is; None if it was not drawn."""
    sheets = (one.spec for one in list_children(runtime.store, job) if one.kind == "sheet")
    spec = next(sheets, None)
    if spec is None:
        return None
    folder = settings_of(spec, spec.backend, runtime.settings).output.directory
    comparison = read_comparison(folder)
    paths = sheet_paths(comparison, folder) if comparison is not None else []
    return next((path for path in paths if path.is_file()), None)


def list_comparisons(runtime: Runtime, *, limit: int) -> ComparisonsView:
    """The comparisons that have ids, the last that was changed first."""
    found: list[tuple[int, Path]] = []
    with suppress(OSError):
        for folder in runtime.settings.output.directory.iterdir():
            with suppress(OSError):
                if _ID.fullmatch(folder.name):
                    found.append(((folder / RECORD_NAME).stat().st_mtime_ns, folder))
    found.sort(reverse=True)
    shown = []
    for changed, folder in found[:limit]:
        with suppress(OutputError):  # its record is damaged
            if (comparison := _read_at(folder, changed)) is not None:
                shown.append(_listed_view(comparison, folder, changed, runtime))
    return ComparisonsView(comparisons=tuple(shown))


@lru_cache(maxsize=_MOST_LISTED)
def _read_at(folder: Path, changed: int) -> Comparison | None:  # noqa: ARG001 - part of the key
    """The comparison in a folder, read once as long as its record does not change."""
    return read_comparison(folder)


def _listed_view(
    comparison: Comparison, folder: Path, changed: int, runtime: Runtime
) -> ListedComparisonView:
    jobs = _open_jobs(comparison, runtime)
    working = _jobs_by_cell(jobs)
    cells = {cell.place: cell for cell in comparison.cells}
    done = failed = same = 0
    for model in comparison.models:
        for values in combine(comparison.axes):
            place = model, values_key(values)
            cell, own = cells.get(place), [jobs[id] for id in working.get(place, ()) if id in jobs]
            states = {job.state for job in own}
            same += cell is not None and cell.same_as is not None
            if own:
                done += states == {"done"}
                failed += states <= {*ENDED} and bool(states - {"done", "cancelled"})
            elif cell is not None and cell.same_as is None:
                done += bool(cell.files)
                failed += cell.error is not None and cell.error.code != "cancelled"
    return ListedComparisonView(
        id=folder.name,
        changed=datetime.fromtimestamp(changed / 1e9, UTC),
        job=comparison.job if jobs else None,
        prompt=comparison.request.prompt or "",
        models=comparison.models,
        axes=comparison.axes,
        cells=len(comparison.models) * prod(len(axis.values) for axis in comparison.axes) - same,
        done=done,
        failed=failed,
        cover=_find_cover(comparison, folder, jobs, runtime),
    )


def _find_cover(
    comparison: Comparison, folder: Path, jobs: dict[str, QueuedJob], runtime: Runtime
) -> CellImageView | None:
    first = next((file for cell in comparison.cells for file in cell.files), None)
    if first is not None:
        known = images_with_bytes(runtime.library, [first.sha256])[first.sha256]
        return _recorded_image_view(first, known, folder)
    made = (job for job in jobs.values() if job.kind == "image" and job.state == "done")
    if (job := next(made, None)) is not None:
        images = images_of(runtime.library, job.ticket_id)
        return _image_view(images[0]) if images else None
    return None


def _find(id: str, runtime: Runtime) -> tuple[Comparison, Path]:
    folder = runtime.settings.output.directory / id
    comparison = read_comparison(folder) if _ID.fullmatch(id) else None
    if comparison is None:
        raise NotFound(f"There is no comparison {one_line(id, limit=60)!r}.")
    return comparison, folder


def _open_jobs(comparison: Comparison, runtime: Runtime) -> dict[str, QueuedJob]:
    """The jobs of a comparison that the queue generates now, by their ids."""
    with suppress(NotFound):
        if comparison.job and runtime.store.read(comparison.job).state not in ENDED:
            return {job.id: job for job in list_children(runtime.store, comparison.job)}
    return {}


def _request_to_extend(
    comparison: Comparison, axes: Sequence[Axis], runtime: Runtime
) -> tuple[Request, list[Axis]]:
    """The request of a comparison with its input images, and its axes with the wanted values.

    Raises RequestError for an axis that it does not have, NotFound for an image that is gone.
    """
    own = {axis.name: axis for axis in comparison.axes}
    given = {axis.name: axis for axis in axes}
    if unknown := given.keys() - own.keys():
        raise RequestError(f"This comparison has no axis {one_line(min(unknown), limit=60)!r}.")
    request = comparison.request
    stored = {(one.parameter, one.name): one for one in comparison.inputs}

    def restore(name: str, parameter: str) -> str:
        known = stored.get((parameter, name))
        word = name if known is None else blob_name(known.sha256, name)
        return resolve_input(word, parameter, runtime)

    changes: dict[str, object] = {
        name: restore(path, name) for name in ("image", "mask") if (path := getattr(request, name))
    }
    if request.references:
        changes["references"] = tuple(
            restore(name, f"references.{n}") for n, name in enumerate(request.references)
        )
    if request.controls:
        changes["controls"] = tuple(
            one.model_copy(update={"image": restore(one.image, f"controls.{n}")})
            for n, one in enumerate(request.controls)
        )
    extra = {
        name: restore(value, name)
        for name, value in request.extra.items()
        if isinstance(value, str) and (name, value) in stored
    }
    changes |= {"extra": {**request.extra, **extra}} if extra else {}
    request = request.with_values(changes) if changes else request
    wanted = []
    for name, axis in own.items():
        values = given.get(name, axis).values
        words = [_as_stored(name, value, stored) for value in values]
        admitted = (_admit_value(name, word, request, runtime) for word in words)
        wanted.append(Axis(name=name, values=tuple(admitted)))
    return with_local_images(request, runtime.settings, blobs=runtime.blobs), wanted


def _as_stored(name: str, value: object, stored: Mapping[tuple[str, str], InputImage]) -> object:
    """A value of an axis with the stored files in place of the names of input images."""
    if isinstance(value, dict):
        return {one: _as_stored(one, own, stored) for one, own in value.items()}
    known = stored.get((name, value)) if isinstance(value, str) else None
    return value if known is None else blob_name(known.sha256, known.name)


def _cell_view(
    cell: ComparisonCell,
    ids: Sequence[str],
    jobs: dict[str, QueuedJob],
    images: Sequence[CellImageView],
) -> ComparisonCellView:
    own = [jobs[id].state for id in ids if id in jobs]
    open_states = [state for state in own if state not in ENDED]
    failed = [state for state in own if state in ENDED and state != "done"]
    recorded = "done" if cell.files else "failed" if cell.error else "missing"
    state = next(iter((*sorted(open_states, key=_ORDER.index), *failed, *own)), recorded)
    shared = cell.model_dump(include={*ComparisonCellView.model_fields})
    if own:  # what the record says is about an earlier attempt
        broken = [jobs[id] for id in ids if id in jobs and jobs[id].state in failed]
        shared["error"] = failure_of(broken[0]).model_dump() if broken else None
    more = {"label": cell.label, "state": state, "jobs": ids, "images": images}
    return ComparisonCellView.model_validate(shared | more)


_ORDER = ("running", "cancelling", "queued", "held")
"""Of the states of the jobs of one cell, the first is its own."""


def _admit_axis(axis: Axis, request: Request, runtime: Runtime) -> Axis:
    """The axis with files of this machine in place of its images; raises RequestError."""
    if len(axis.values) > MOST_CELLS:
        raise RequestError(f"vary: an axis has at most {MOST_CELLS:,} values.")
    values = tuple(_admit_value(axis.name, value, request, runtime) for value in axis.values)
    return axis.model_copy(update={"values": values})


def _admit_value(name: str, value: object, request: Request, runtime: Runtime) -> object:
    if isinstance(value, dict):
        return {one: _admit_value(one, own, request, runtime) for one, own in value.items()}
    if name in ("image", "mask"):
        stored = Request(image=resolve_input(str(value), name, runtime))
        return with_local_images(stored, runtime.settings, blobs=runtime.blobs).image
    try:
        varied = apply_values(request, {name: value})
    except RequestError:
        return value  # which is refused later, with its place
    refuse_paths(varied)
    is_known = name in Request.model_fields or name in ("size", "lora", "lora_strength", "backend")
    return value if is_known else resolve_extra(value, name, runtime)


def _refuse_varied_loras(request: Request, axes: Sequence[Axis]) -> None:
    """Raise RequestError for wildcards in prompts that name LoRAs: they could write any name."""
    prompts = [getattr(request, name) for name in TEXTS]
    prompts += [json.dumps(axis.values, default=str) for axis in axes]
    if any("lora:" in text.lower() and may_have_wildcards(text) for text in prompts if text):
        raise RequestError(
            "The prompts of a comparison cannot have both wildcards and LoRA tags.",
            remedy="Set literal, or name the LoRAs in loras.",
        )

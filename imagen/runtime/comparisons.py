"""Comparisons of clients: each has a folder below the output directory, whose name is its id."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from imagen.batch.wildcards import may_have_wildcards
from imagen.comparison.axes import MOST_CELLS, Axis, apply_values, combine
from imagen.comparison.collect import SheetJob, list_children
from imagen.comparison.plan import default_folder
from imagen.comparison.record import RECORD_NAME, ComparisonCell, read_comparison
from imagen.comparison.report import REPORT_NAME
from imagen.comparison.sheet import sheet_paths
from imagen.comparison.submit import submit_comparison
from imagen.core.json_values import json_safe
from imagen.core.prompt_syntax import TEXTS
from imagen.core.request import Request
from imagen.core.text import one_line
from imagen.errors import NotFound, RequestError
from imagen.jobs.model import ENDED
from imagen.jobs.prepare_queued import settings_of
from imagen.pipeline.prepare import with_local_images
from imagen.runtime.client_requests import refuse_paths, resolve_extra, resolve_input
from imagen.views.comparisons import (
    ComparisonCellView,
    ComparisonsView,
    ComparisonView,
    ListedComparisonView,
    SubmittedComparisonView,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imagen.comparison.record import Comparison
    from imagen.jobs.model import QueuedJob
    from imagen.jobs.submit import SubmitOptions
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
) -> SubmittedComparisonView:
    """Submit the missing cells of a comparison; while the queue generates it, that is all.

    Raises what `submit_comparison` raises.
    """
    settings = runtime.settings
    if not is_literal:
        _refuse_varied_loras(request, axes)
    axes, skip = ([_admit_axis(axis, request, runtime) for axis in each] for each in (axes, skip))
    request = with_local_images(request, settings, blobs=runtime.blobs)
    folder = default_folder(settings, request, axes)
    known = read_comparison(folder)
    is_whole = known is not None and {*models} <= {*known.models}
    if known is not None and is_whole and (jobs := _open_jobs(known, runtime)):
        return SubmittedComparisonView(id=folder.name, job=known.job, jobs=tuple(jobs))
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
    )
    if submission is None:
        return SubmittedComparisonView(id=folder.name, job=None, jobs=())
    return SubmittedComparisonView(
        id=folder.name,
        job=submission.id,
        jobs=tuple(submission.ids),
        warnings=tuple(submission.warnings),
    )


def read_client_comparison(id: str, runtime: Runtime) -> ComparisonView:
    """A comparison and how far it is. Raises NotFound."""
    comparison, folder = _find(id, runtime)
    jobs = _open_jobs(comparison, runtime)
    planned: dict[tuple[str, str], tuple[str, ...]] = {}
    for job in jobs.values():
        if job.kind == "sheet" and job.spec is not None:
            work = SheetJob.model_validate(job.spec.comparison)
            planned = {one.cell.place: one.jobs for one in work.cells}
    cells = [
        comparison.cell(model, values) or ComparisonCell(model=model, values=values)
        for model in comparison.models
        for values in combine(comparison.axes)
    ]
    own = {id: job for id, job in jobs.items() if job.kind == "image"}
    shown = tuple(_cell_view(cell, [*planned.get(cell.place, ())], own) for cell in cells)
    sheets = [path.name for path in sheet_paths(comparison, folder) if path.is_file()]
    return ComparisonView(
        id=id,
        job=comparison.job if jobs else None,
        request=json_safe(comparison.request.model_dump(mode="json", exclude_defaults=True)),
        models=comparison.models,
        axes=comparison.axes,
        cells=shown,
        sheets=tuple(sheets),
        report=REPORT_NAME if (folder / REPORT_NAME).is_file() else None,
    )


def find_comparison_file(id: str, name: str, runtime: Runtime) -> Path:
    """A sheet, the report, the record or an image of a comparison. Raises NotFound."""
    comparison, folder = _find(id, runtime)
    known = {path.name for path in sheet_paths(comparison, folder)} | {REPORT_NAME, RECORD_NAME}
    known |= {file.path for cell in comparison.cells for file in cell.files}
    if name not in known or not (folder / name).is_file():
        raise NotFound(f"This comparison has no file {one_line(name, limit=60)!r}.")
    return folder / name


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


def list_comparisons(runtime: Runtime) -> ComparisonsView:
    """The comparisons that have ids, the last that was changed first."""
    found: list[ListedComparisonView] = []
    with suppress(OSError):
        for folder in runtime.settings.output.directory.iterdir():
            with suppress(OSError):
                changed = (folder / RECORD_NAME).stat().st_mtime
                if _ID.fullmatch(folder.name):
                    moment = datetime.fromtimestamp(changed, UTC)
                    found.append(ListedComparisonView(id=folder.name, changed=moment))
    found.sort(key=lambda one: one.changed, reverse=True)
    return ComparisonsView(comparisons=tuple(found[:_MOST_LISTED]))


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


def _cell_view(
    cell: ComparisonCell, ids: Sequence[str], jobs: dict[str, QueuedJob]
) -> ComparisonCellView:
    own = [jobs[id].state for id in ids if id in jobs]
    open_states = [state for state in own if state not in ENDED]
    failed = [state for state in own if state in ENDED and state != "done"]
    recorded = "done" if cell.files else "failed" if cell.error else "missing"
    state = next(iter((*sorted(open_states, key=_ORDER.index), *failed, *own)), recorded)
    shared = cell.model_dump(include={*ComparisonCellView.model_fields})
    return ComparisonCellView.model_validate(
        shared | {"label": cell.label, "state": state, "jobs": ids}
    )


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

"""imagen compare: compare backends on the same prompt."""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import TYPE_CHECKING

import click

from imagen.cli.axes import parse_axis
from imagen.cli.command_table import Command, Option
from imagen.cli.completers import complete_backend_list
from imagen.cli.generation import (
    describe_budgets,
    explain_placeholders,
    plan_previews,
    show_files,
)
from imagen.cli.options import (
    ALL_REQUEST_OPTIONS,
    config_option,
    dry_run_option,
    from_json_option,
    json_option,
    literal_option,
    no_cloud_option,
    no_metadata_option,
    over_budget_option,
    preview_option,
    prompt_argument,
    quiet_option,
    request_options,
    settings_from_options,
    strict_option,
)
from imagen.cli.output import (
    estimate_lines,
    format_compute,
    plan_json,
    summarize_image,
)
from imagen.cli.parsing import (
    PATH,
    request_from_args,
)
from imagen.cli.queue_options import print_submission, queue_options
from imagen.cli.terminal import echo
from imagen.core.capabilities import not_honoured
from imagen.core.text import format_duration, format_usd, one_line
from imagen.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from imagen.cli.queue_options import QueueOptions
    from imagen.comparison import Comparison, ComparisonCell
    from imagen.comparison.plan import ComparisonOptions
    from imagen.config import Settings
    from imagen.core.request import Request
    from imagen.core.ticket import Ticket


@click.command(cls=Command)
@prompt_argument
@from_json_option
@request_options(
    *("long_model" if name == "model" else name for name in ALL_REQUEST_OPTIONS)
)  # -m is --models
@click.option(
    "--models",
    "-m",
    required=True,
    shell_complete=complete_backend_list,
    metavar="A,B,…",
    help="The backends, in order.",
)
@click.option(
    "--vary",
    multiple=True,
    metavar="NAME=VALUES",
    help="An axis: any parameter and its values, such as steps=4,8, cfg=1..3/0.5, prompt=@file, "
    "lora=ink:0.4,none or '{size=512x512,steps=4},{size=1024x1024,steps=8}'; may be repeated.",
)
@click.option(
    "--skip",
    multiple=True,
    metavar="NAME=VALUES",
    help="Leave out values of an axis, or backend=NAME, this time; their images stay. May be "
    "repeated.",
)
@click.option(
    "--output",
    "-o",
    cls=Option,
    hidden_names=("--out",),
    type=PATH,
    metavar="DIR",
    help="Folder for the result; if it exists, only missing images are generated.",
)
@literal_option
@strict_option
@dry_run_option
@over_budget_option
@no_metadata_option
@preview_option
@no_cloud_option
@json_option
@quiet_option
@partial(queue_options, has_pool=False)
@config_option
def compare(
    prompt: str | None,
    document: str | None,
    values: dict[str, object],
    models: str,
    vary: tuple[str, ...],
    skip: tuple[str, ...],
    output: Path | None,
    literal: bool,
    strict: bool,
    dry_run: bool,
    over_budget: bool,
    no_metadata: bool,
    preview: bool | None,
    no_cloud: bool,
    as_json: bool,
    quiet: bool,
    queue: QueueOptions,
    config_path: Path | None,
) -> int:
    """Compare backends on the same prompt.

    PROMPT is optional if no backend needs one. The backends run one after another with the same
    seed. If one fails, its cell shows the error, and the exit code is 4. Run the same command again
    to generate only what is missing or failed. With --detach, workers do all this.
    """
    from imagen.cli.progress import show_progress
    from imagen.comparison import compare as run
    from imagen.comparison import default_folder
    from imagen.delivery.background import sync_afterwards

    settings = settings_from_options(
        config_path, no_metadata=no_metadata, no_cloud=no_cloud, over_budget=over_budget
    )
    names = parse_backends(models)
    file = request_from_args(prompt, document, values, names)
    axes = [parse_axis(text) for text in vary]
    skipped = [parse_axis(text, "--skip") for text in skip]
    folder = output or default_folder(settings, file.request, axes)
    what: ComparisonOptions = {"folder": folder, "axes": axes, "skip": skipped, "strict": strict}
    what["has_wildcards"] = not (literal or file.finished)
    if dry_run:
        return _print_plan(file.request, names, settings, what, as_json=as_json)
    if queue.is_detached:
        from imagen.comparison.submit import submit_comparison

        options = queue.as_submit_options(names[0], strict=strict, over_budget=over_budget)
        submission = submit_comparison(file.request, names, settings, options, **what)
        if submission is not None:
            print_submission(submission, as_json=as_json, quiet=quiet)
            return 0
    previews = plan_previews(settings.output, preview, as_json=as_json, quiet=quiet)
    with sync_afterwards(settings):
        watch = partial(show_progress, quiet=quiet)
        comparison = run(file.request, names, settings, watch=watch, **what).without(skipped)
        sheet = print_comparison(comparison, folder, as_json=as_json)
        if not (as_json or quiet):
            explain_placeholders([cell.model for cell in comparison.cells if cell.files], settings)
        show_files(previews, {sheet: file.request})
    return 4 if comparison.failed_among(names, axes) else 0


def parse_backends(models: str) -> list[str]:
    """`a, b` as ["a", "b"]; raises RequestError if there is none."""
    names = [name.strip() for name in models.split(",") if name.strip()]
    if not names:
        raise RequestError("--models does not name a backend. Write it as --models a,b,c.")
    return names


# --- results ---


def print_comparison(comparison: Comparison, folder: Path, *, as_json: bool) -> Path:
    """Print a line for each cell and the paths of the sheets; or the record, and these paths.

    Returns the path of the first sheet.
    """
    from imagen.comparison.report import REPORT_NAME
    from imagen.comparison.sheet import sheet_paths

    paths = sheet_paths(comparison, folder)
    sheets = [str(path) for path in paths]
    report = str(folder / REPORT_NAME)
    if as_json:
        body = comparison.model_dump(mode="json")
        if len(comparison.axes) < 2:
            body["vary"] = next(iter(body["axes"]), None)
        body["cells"] = [
            known | _only_value(cell)
            for known, cell in zip(body["cells"], comparison.cells, strict=True)
        ]
        body |= {"folder": str(folder), "sheet": sheets[0], "sheets": sheets, "report": report}
        click.echo(json.dumps(body, indent=2))
        return paths[0]
    for cell in comparison.cells:
        label = cell.label
        if cell.error is not None:
            echo(f"{label}: failed: {one_line(cell.error.message)}", err=True, hanging=2)
        else:
            images = ", ".join(str(folder / file.path) for file in cell.files)
            cost = format_usd(cell.cost_usd) if cell.cost_usd else ""
            if sys.stderr.isatty():
                file = cell.files[0] if cell.files else None
                summary = summarize_image(
                    cell.model,
                    seed=cell.seed,
                    size=(file.width, file.height) if file else (None, None),
                    seconds=cell.seconds,
                    cost=cost,
                    images=len(cell.files),
                )
                echo(f"{label}: {images}", err=True, hanging=2)
                echo(f"  {summary}", err=True, hanging=2, dim=True)
            else:
                time = "" if cell.seconds is None else format_duration(cell.seconds)
                line = ", ".join(filter(None, (images, time, cost)))
                echo(f"{label}: {line}", err=True, hanging=2)
        for sentence in (*not_honoured(cell.receipt), *cell.warnings):
            echo(f"  {sentence}", err=True, hanging=2)
    paid = [cell.cost_usd for cell in comparison.cells if cell.cost_usd]
    if len(paid) > 1:
        echo(f"Total cost: {format_usd(sum(paid))}.", err=True)
    echo(f"Report: {report}", err=True)
    for sheet in sheets:
        click.echo(sheet)
    return paths[0]


def _only_value(cell: ComparisonCell) -> dict[str, object]:
    """The `value` of a cell, if there are not several axes."""
    return {"value": next(iter(cell.values.values()), None)} if len(cell.values) < 2 else {}


# --- plans ---


def _print_plan(
    request: Request,
    names: Sequence[str],
    settings: Settings,
    what: ComparisonOptions,
    *,
    as_json: bool,
) -> int:
    """Print what would be generated; the exit code."""
    from imagen.comparison.plan import estimate_seconds, plan_comparison
    from imagen.core.ticket import total_compute

    cells = plan_comparison(request, names, settings, **what)
    code = 4 if any(cell.error for cell, _ in cells) else 0
    tickets = [ticket for _, missing in cells for ticket in missing]
    usual = estimate_seconds(tickets, settings)
    seconds = {ticket.id: each for ticket, each in zip(tickets, usual, strict=True)}
    budgets = describe_budgets(tickets, settings)
    if as_json:
        costs = [ticket.estimate for ticket in tickets if ticket.estimate is not None]
        body = {
            "cells": [
                {
                    "model": cell.model,
                    "values": cell.values,
                    **_only_value(cell),
                    "state": _plan_state(cell, missing),
                    "plan": [plan_json(ticket) for ticket in missing],
                    "compute": total_compute(missing),
                    "usual_seconds": _sum_known(seconds[ticket.id] for ticket in missing),
                    "error": cell.error and cell.error.model_dump(),
                }
                for cell, missing in cells
            ],
            "compute": total_compute(tickets),
            "usual_seconds": _sum_known(seconds.values()),
            "cost_usd": sum(cost.usd for cost in costs if cost.usd is not None),
            "unknown_costs": sum(cost.usd is None for cost in costs),
            "budgets": budgets,
            "folder": str(what["folder"]),
        }
        click.echo(json.dumps(body, indent=2))
        return code
    states = [_plan_state(cell, missing) for cell, missing in cells]
    planned, failed, same = (states.count(state) for state in ("planned", "failed", "same"))
    total = (
        f"Cells to generate: {planned}. Images: {sum(ticket.images for ticket in tickets)}. "
        f"Compute: {format_compute(tickets)} (megapixels × steps). "
        + (f"Usual time: {_format_usual(seconds.values())}. " if tickets else "")
        + f"Already complete: {states.count('done')}. Failing: {failed}."
        + (f" Same as another: {same}." if same else "")
    )
    lines = [
        line
        for cell, missing in cells
        for line in _planned_cell_lines(cell, missing, [seconds[ticket.id] for ticket in missing])
    ]
    for line in (*lines, total, *estimate_lines(tickets), *budgets):
        echo(line, hanging=2)
    return code


def _plan_state(cell: ComparisonCell, missing: Sequence[Ticket]) -> str:
    if missing:
        return "planned"
    if cell.error is not None:
        return "failed"
    return "same" if cell.same_as is not None and not cell.files else "done"


def _sum_known(seconds: Iterable[float | None]) -> float | None:
    """The sum; None if one of them is unknown."""
    each = [*seconds]
    known = [one for one in each if one is not None]
    return sum(known) if len(known) == len(each) else None


def _format_usual(seconds: Iterable[float | None]) -> str:
    total = _sum_known(seconds)
    return "unknown" if total is None else f"about {format_duration(total)}"


def _planned_cell_lines(
    cell: ComparisonCell, missing: Sequence[Ticket], seconds: Sequence[float | None]
) -> Iterator[str]:
    label = cell.label
    if not missing:
        state = f"fails: {one_line(cell.error.message)}" if cell.error else "already complete"
        if cell.same_as is not None:
            other = cell.model_copy(update={"values": cell.same_as}).label
            state = f"the same as {one_line(other)}"
        yield f"{label}: {state}"
        return
    first = missing[0].request
    costs = [ticket.estimate.usd for ticket in missing if ticket.estimate is not None]
    known = [usd for usd in costs if usd is not None]
    cost = f"about {format_usd(sum(known))}" if known else ""
    parts = (
        f"{first.width}x{first.height}" if first.width and first.height else "",
        "" if first.steps is None else f"{first.steps} step{'s' * (first.steps != 1)}",
        f"compute {format_compute(missing)}",
        cost if len(known) == len(costs) else "cost unknown",
        "" if _sum_known(seconds) is None else _format_usual(seconds),
    )
    yield f"{label}: {', '.join(filter(None, parts))}"
    yield from (f"  not honoured: {sentence}" for sentence in not_honoured(missing[0].receipt))
    yield from (f"  {warning}" for warning in missing[0].warnings)

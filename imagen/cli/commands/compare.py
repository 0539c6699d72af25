"""imagen compare: put one prompt to several backends."""

from __future__ import annotations

import csv
import json
import sys
from functools import partial
from hashlib import sha256
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.command_table import Command, Option
from imagen.cli.completers import complete_backend_list
from imagen.cli.generation import planned, said_of_budgets, say_painted, show_files
from imagen.cli.options import (
    EVERYTHING,
    asking,
    config_option,
    dry_run_option,
    json_option,
    no_cloud_option,
    no_metadata_option,
    over_budget_option,
    preview_option,
    prompt_argument,
    quiet_option,
    settings_for,
    strict_option,
    without_budgets,
    without_cloud,
)
from imagen.cli.output import compute_of, expected, format_compute, plan_as_data, summarize_image
from imagen.cli.parsing import PATH, TEXTS, from_json_option, plain, prompted, scalar
from imagen.cli.terminal import echo
from imagen.core.capabilities import not_honoured
from imagen.core.text import format_duration, format_usd, one_line
from imagen.delivery.background import sync_afterwards
from imagen.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imagen.comparison import Axis, Comparison, ComparisonCell
    from imagen.config import Settings
    from imagen.core.request import Request
    from imagen.core.ticket import Ticket
    from imagen.preview import PreviewPlan

    Planned = tuple[ComparisonCell, Sequence[Ticket]]
    """A cell, and the runs it still needs; none where it is made already or would fail."""


@click.command(cls=Command)
@prompt_argument
@from_json_option
@asking(*("long_model" if flag == "model" else flag for flag in EVERYTHING))  # -m is --models
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
    metavar="NAME=V1,V2,…",
    help='A second axis: any parameter, such as steps=4,8 or prompt="a cat, asleep",a dog.',
)
@click.option(
    "--output",
    "-o",
    cls=Option,
    hidden_names=("--out",),
    type=PATH,
    metavar="DIR",
    help="The folder; run again with the same one, only what is missing is made.",
)
@strict_option
@dry_run_option
@over_budget_option
@no_metadata_option
@preview_option
@no_cloud_option
@json_option
@quiet_option
@config_option
def compare(
    prompt: str | None,
    document: str | None,
    asked: dict[str, Any],
    models: str,
    vary: str | None,
    output: Path | None,
    strict: bool,
    dry_run: bool,
    over_budget: bool,
    no_metadata: bool,
    preview: bool | None,
    no_cloud: bool,
    as_json: bool,
    quiet: bool,
    config_path: Path | None,
) -> int:
    """Put one prompt to several backends.

    PROMPT is optional if no backend needs one. The backends work one after another, with the same
    seed. A backend that fails is a cell of the sheet that says why, and the exit code is 4. Run
    again, only what is missing or failed is made.
    """
    from imagen.cli.progress import shown
    from imagen.comparison import compare as run

    settings = settings_for(config_path, has_metadata=not no_metadata)
    settings = without_budgets(settings) if over_budget else settings
    settings = without_cloud(settings) if no_cloud else settings
    names = names_of(models)
    request = prompted(prompt, document, asked, names).request
    axis = axis_of(vary) if vary else None
    folder = output or _usual_folder(settings, request, axis)
    if dry_run:
        from imagen.comparison import plan_comparison

        cells = plan_comparison(request, names, settings, folder=folder, vary=axis, strict=strict)
        tell_plan(cells, settings, folder, axis, as_json=as_json)
        return 4 if any(cell.error for cell, _ in cells) else 0
    shows = planned(settings.output, preview, as_json=as_json, quiet=quiet)
    with sync_afterwards(settings):
        comparison = run(
            request,
            names,
            settings,
            folder=folder,
            vary=axis,
            strict=strict,
            watch=partial(shown, quiet=quiet),
        )
        tell(comparison, folder, as_json=as_json)
        if not (as_json or quiet):
            say_painted([cell.model for cell in comparison.cells if cell.files], settings)
        _show_sheet(shows, folder, request)
    return 4 if comparison.failed_among(names, axis) else 0


def _show_sheet(shows: PreviewPlan | None, folder: Path, request: Request) -> None:
    from imagen.comparison.sheet import SHEET_NAME

    show_files(shows, {folder / SHEET_NAME: request})


def names_of(models: str) -> list[str]:
    """`a, b` as ["a", "b"]; raises RequestError where there is none."""
    names = [name.strip() for name in models.split(",") if name.strip()]
    if not names:
        raise RequestError("--models names no backend. Write them as --models a,b,c.")
    return names


def axis_of(text: str) -> Axis:
    """`steps=4,8` as an axis. A value with a comma stands in double quotes.

    Raises RequestError for what is no axis.
    """
    from imagen.comparison import Axis

    name, equals, values = text.partition("=")
    try:
        read = next(csv.reader([values], skipinitialspace=True, strict=True), [])
    except csv.Error:
        read = []  # a quote that is never closed
    if not equals or not name.strip() or not read:
        raise RequestError(f"--vary {text!r} is no axis. Write it as name=value1,value2.")
    texts = name.strip() in TEXTS | {"size"}
    found = [v if texts else plain(f"--vary {name}", scalar(v.strip())) for v in read]
    return Axis(name=name.strip(), values=tuple({repr(value): value for value in found}.values()))


def _usual_folder(settings: Settings, request: Request, axis: Axis | None) -> Path:
    """The same folder for the same request, so that running again goes on with it."""
    from imagen.outputs.naming import slugify

    plain = request.model_copy(update={"prompt": request.prompt or ""})  # as it always was
    whole = plain.model_dump_json(exclude=plain.unset_additions) + (axis.name if axis else "")
    digest = sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    words = slugify(request.prompt or PureWindowsPath(request.image or "").stem)
    return settings.output.directory / f"compare-{words}-{digest}"


def tell(comparison: Comparison, folder: Path, *, as_json: bool) -> None:
    """A line for each cell, and where the sheet is; or compare.json and the folder as JSON."""
    from imagen.comparison.sheet import SHEET_NAME

    sheet = folder / SHEET_NAME
    if as_json:
        whole: dict[str, Any] = comparison.model_dump(mode="json")
        click.echo(json.dumps(whole | {"folder": str(folder), "sheet": str(sheet)}, indent=2))
        return
    for cell in comparison.cells:
        _print_cell(cell, comparison.vary, folder)
    paid = [cell.cost_usd for cell in comparison.cells if cell.cost_usd]
    if len(paid) > 1:
        echo(f"Cost {format_usd(sum(paid))} in all.", err=True)
    click.echo(str(sheet))


def label_of(cell: ComparisonCell, axis: Axis | None) -> str:
    at = "" if axis is None else f", {axis.name} {one_line(str(cell.value), limit=40)}"
    return f"{cell.model}{at}"


def _print_cell(cell: ComparisonCell, axis: Axis | None, folder: Path) -> None:
    """Its images, or why there are none; on a terminal with what is known of them below."""
    label = label_of(cell, axis)
    if cell.error is not None:
        echo(f"{label}: failed: {one_line(cell.error.message)}", err=True, hanging=2)
    else:
        paths = ", ".join(str(folder / file.path) for file in cell.files)
        is_terminal = sys.stderr.isatty()
        seconds = (
            "" if cell.seconds is None or is_terminal else f", {format_duration(cell.seconds)}"
        )
        cost = f", {format_usd(cell.cost_usd)}" if cell.cost_usd and not is_terminal else ""
        echo(f"{label}: {paths}{seconds}{cost}", err=True, hanging=2)
        if is_terminal:
            echo(f"  {_summary(cell)}", err=True, hanging=2, dim=True)
    for sentence in (*not_honoured(cell.receipt), *cell.warnings):
        echo(f"  {sentence}", err=True, hanging=2)


def _summary(cell: ComparisonCell) -> str:
    file = cell.files[0] if cell.files else None
    return summarize_image(
        cell.model,
        seed=cell.seed,
        size=(file.width, file.height) if file else (None, None),
        seconds=cell.seconds,
        cost=format_usd(cell.cost_usd) if cell.cost_usd else "",
        images=len(cell.files),
    )


def tell_plan(
    cells: Sequence[Planned], settings: Settings, folder: Path, axis: Axis | None, *, as_json: bool
) -> None:
    """Which cells a comparison would make, and what they would cost."""
    tickets = [ticket for _, runs in cells for ticket in runs]
    budgets = said_of_budgets(tickets, settings)
    if as_json:
        costs = [ticket.estimate for ticket in tickets if ticket.estimate is not None]
        whole = {
            "cells": [_cell_as_data(cell, runs) for cell, runs in cells],
            "compute": compute_of(tickets),
            "cost_usd": sum(cost.usd for cost in costs if cost.usd is not None),
            "unknown_costs": sum(cost.usd is None for cost in costs),
            "budgets": budgets,
            "folder": str(folder),
        }
        click.echo(json.dumps(whole, indent=2))
        return
    lines = [line for cell, runs in cells for line in _plan_lines(cell, runs, axis)]
    for line in (*lines, _counted(cells, tickets), *expected(tickets), *budgets):
        echo(line, hanging=2)


def _cell_as_data(cell: ComparisonCell, runs: Sequence[Ticket]) -> dict[str, Any]:
    return {
        "model": cell.model,
        "value": cell.value,
        "state": "planned" if runs else "failed" if cell.error else "made",
        "plan": [plan_as_data(ticket) for ticket in runs],
        "compute": compute_of(runs),
        "error": cell.error and cell.error.model_dump(),
    }


def _plan_lines(cell: ComparisonCell, runs: Sequence[Ticket], axis: Axis | None) -> Iterator[str]:
    if not runs:
        state = f"fails: {one_line(cell.error.message)}" if cell.error else "made already"
        yield f"{label_of(cell, axis)}: {state}"
        return
    first = runs[0].request
    size = f"{first.width}x{first.height}" if first.width and first.height else ""
    steps = "" if first.steps is None else f"{first.steps} step{'s' * (first.steps != 1)}"
    costs = [ticket.estimate.usd for ticket in runs if ticket.estimate is not None]
    known = [usd for usd in costs if usd is not None]
    cost = f"about {format_usd(sum(known))}" if known else ""
    cost = cost if len(known) == len(costs) else "cost unknown"
    work = f"compute {format_compute(runs)}"
    yield f"{label_of(cell, axis)}: {', '.join(filter(None, (size, steps, work, cost)))}"
    yield from (f"  not honoured: {sentence}" for sentence in not_honoured(runs[0].receipt))
    yield from (f"  {warning}" for warning in runs[0].warnings)


def _counted(cells: Sequence[Planned], tickets: Sequence[Ticket]) -> str:
    planned = sum(bool(runs) for _, runs in cells)
    failed = sum(cell.error is not None for cell, _ in cells)
    images = sum(ticket.images for ticket in tickets)
    return (
        f"Cells to make: {planned}. Images: {images}. Compute: {format_compute(tickets)} "
        f"(megapixels × steps). Made already: {len(cells) - planned - failed}. Failing: {failed}."
    )

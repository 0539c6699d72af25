"""imagen compare --dry-run: which cells would be made, and what they would cost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from imagen.capabilities import unhonoured
from imagen.cli.compare import label_of
from imagen.cli.costs import expected
from imagen.cli.making import said_of_budgets
from imagen.cli.telling import plan_as_data
from imagen.comparison import PlannedCell, plan_comparison
from imagen.text import dollars, one_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from imagen.comparison import Axis, Cell
    from imagen.config import Settings
    from imagen.request import Request
    from imagen.ticket import Ticket


def plan(
    request: Request,
    models: Sequence[str],
    settings: Settings,
    folder: Path,
    axis: Axis | None,
    *,
    strict: bool,
    as_json: bool,
) -> int:
    """Print what a comparison would make; the exit code is 4 where a cell would fail."""
    cells = plan_comparison(request, models, settings, folder=folder, vary=axis, strict=strict)
    tickets = [ticket for one in cells if isinstance(one, PlannedCell) for ticket in one.runs]
    budgets = said_of_budgets(tickets, settings)
    if as_json:
        costs = [ticket.estimate for ticket in tickets if ticket.estimate is not None]
        whole = {
            "cells": list(map(_cell_as_data, cells)),
            "compute": _compute(tickets),
            "cost_usd": sum(cost.usd for cost in costs if cost.usd is not None),
            "unknown_costs": sum(cost.usd is None for cost in costs),
            "budgets": budgets,
            "folder": str(folder),
        }
        click.echo(json.dumps(whole, indent=2))
    else:
        lines = [line for one in cells for line in _lines(one, axis)]
        for line in (*lines, _counted(cells, tickets), *expected(tickets), *budgets):
            click.echo(printable(line))
    return 4 if any(map(_is_failing, cells)) else 0


def _cell_as_data(one: Cell | PlannedCell) -> dict[str, Any]:
    cell, runs = (one.cell, one.runs) if isinstance(one, PlannedCell) else (one, ())
    state = "planned" if runs else "made" if cell.error is None else "failed"
    return {
        "model": cell.model,
        "value": cell.value,
        "state": state,
        "plan": [plan_as_data(ticket) for ticket in runs],
        "compute": _compute(runs) if runs else 0,
        "error": cell.error and cell.error.model_dump(),
    }


def _lines(one: Cell | PlannedCell, axis: Axis | None) -> Iterator[str]:
    if not isinstance(one, PlannedCell):
        why = "made already" if one.error is None else f"fails: {one_line(one.error.message)}"
        yield f"{label_of(one, axis)}: {why}"
        return
    first = one.runs[0].request
    size = f"{first.width}x{first.height}" if first.width and first.height else ""
    steps = "" if first.steps is None else f"{first.steps} step{'s' * (first.steps != 1)}"
    compute = _compute(one.runs)
    work = "compute unknown" if compute is None else f"compute {compute:.4g}"
    known = ", ".join(part for part in (size, steps, work, _cost(one.runs)) if part)
    yield f"{label_of(one.cell, axis)}: {known}"
    yield from (f"  not honoured: {sentence}" for sentence in unhonoured(one.runs[0].receipt))
    yield from (f"  {warning}" for warning in one.runs[0].warnings)


def _cost(tickets: Sequence[Ticket]) -> str:
    costs = [ticket.estimate.usd for ticket in tickets if ticket.estimate is not None]
    known = [usd for usd in costs if usd is not None]
    if len(known) < len(costs):
        return "cost unknown"
    return f"about {dollars(sum(known))}" if known else ""


def _compute(tickets: Sequence[Ticket]) -> float | None:
    """Megapixels × steps of all images; None where one of the engines decides that itself."""
    each = [(ticket.request.compute, ticket.request.count or 1) for ticket in tickets]
    known = [compute * count for compute, count in each if compute is not None]
    return sum(known) if len(known) == len(each) else None


def _counted(cells: Sequence[Cell | PlannedCell], tickets: Sequence[Ticket]) -> str:
    planned = sum(isinstance(one, PlannedCell) for one in cells)
    failed = sum(map(_is_failing, cells))
    made = len(cells) - planned - failed
    images = sum(ticket.request.count or 1 for ticket in tickets)
    compute = _compute(tickets)
    all_of_it = "unknown" if compute is None else f"{compute:.4g}"
    return (
        f"Cells to make: {planned}. Images: {images}. Compute: "
        f"{all_of_it} (megapixels × steps). Made already: {made}. Failing: {failed}."
    )


def _is_failing(one: Cell | PlannedCell) -> bool:
    return not isinstance(one, PlannedCell) and one.error is not None

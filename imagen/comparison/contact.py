"""The contact sheet of a comparison: what is written on it, and in which order."""

from __future__ import annotations

from math import ceil, sqrt
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any

from imagen.comparison.layout import SheetCell as Shown
from imagen.comparison.sheet import draw_sheet
from imagen.core.capabilities import mark_not_honoured
from imagen.core.text import format_duration, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagen.comparison.record import Comparison, ComparisonCell
    from imagen.core.request import Request

SHEET_NAME = "contact-sheet.png"
_IN_A_ROW = 4


def write_sheet(comparison: Comparison, folder: Path, *, note: str = "") -> Path:
    """Write the sheet of all that is there so far; raises OutputError where it can't be."""
    path = folder / SHEET_NAME
    shown = [
        _shown(comparison, comparison.cell(model, value), model, value, folder)
        for value in comparison.values
        for model in comparison.models
    ]
    draw_sheet(
        shown,
        path,
        title=comparison.request.prompt or "Without a prompt",
        note=" · ".join(part for part in (note, *describe_request(comparison)) if part),
        columns=count_columns(comparison),
    )
    return path


def count_columns(comparison: Comparison) -> int:
    """A column for each model where there is an axis, else about as many as rows."""
    count = len(comparison.models)
    if comparison.vary is not None or count <= _IN_A_ROW:
        return count
    return ceil(sqrt(count))


def describe_request(comparison: Comparison) -> tuple[str, ...]:
    """What holds for all cells: the negative, the pictures they are made of, strength and seed."""
    request, axis = comparison.request, comparison.vary
    varied = None if axis is None else axis.name
    told = [f"{name} {getattr(request, name)}" for name in ("strength", "seed") if name != varied]
    known = [note for note in told if not note.endswith(" None")]
    negative = f"negative: {request.negative}" if request.negative else ""
    return (*([negative] if negative else []), *_made_of(request), *known)


def _made_of(request: Request) -> Iterator[str]:
    """What all cells are made of, by the names of the files."""
    given = [("image", request.image), ("mask", request.mask)]
    given += [("reference", path) for path in request.references]
    given += [(control.kind, control.image) for control in request.controls]
    yield from (f"{what}: {PureWindowsPath(path).name}" for what, path in given if path)
    yield from (f"LoRA: {lora.name} at {lora.strength:g}" for lora in request.loras)


def _shown(
    comparison: Comparison, cell: ComparisonCell | None, model: str, value: Any, folder: Path
) -> Shown:
    axis = comparison.vary
    at_prompt = axis is not None and axis.name == "prompt"
    at = f", {axis.name} {one_line(str(value))}" if axis is not None and not at_prompt else ""
    failure = None if cell is None else cell.error
    error = "" if failure is None else f"{failure.message}\n{failure.remedy}".strip()
    return Shown(
        title=f"{model}{at}",
        details=_details(cell),
        text=str(value) if at_prompt else "",
        remark=_remark(cell),
        picture=folder / cell.files[0].path if cell is not None and cell.files else None,
        error=error,
    )


def _details(cell: ComparisonCell | None) -> str:
    if cell is None:
        return "not made yet"
    cost = "" if cell.cost_usd is None else f"${cell.cost_usd:.4g}"
    seconds = "" if cell.seconds is None else format_duration(cell.seconds)
    seed = "" if cell.seed is None else f"seed {cell.seed}"
    return " · ".join(part for part in (seed, seconds, cost) if part)


def _remark(cell: ComparisonCell | None) -> str:
    """What was not as it was asked for."""
    if cell is None:
        return ""
    others = f"the first of {len(cell.files)}" if len(cell.files) > 1 else ""
    unlike = [
        f"{name} {fate.outcome if fate.outcome in ('clamped', 'dropped') else 'syntax not read'}"
        for name, fate in mark_not_honoured(cell.receipt).items()
    ]
    return " · ".join(part for part in (others, *unlike) if part)

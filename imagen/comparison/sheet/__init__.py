"""The contact sheet of a comparison: which cells it has, and what their captions say."""

from __future__ import annotations

from math import ceil, sqrt
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING

from imagen.comparison.sheet.draw import draw_sheet
from imagen.comparison.sheet.layout import SheetCell
from imagen.core.capabilities import mark_not_honoured
from imagen.core.text import format_duration, one_line

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.comparison.record import Comparison

SHEET_NAME = "contact-sheet.png"
_MOST_IN_ONE_ROW = 4


def write_sheet(comparison: Comparison, folder: Path, *, note: str = "") -> Path:
    """Write the sheet of all cells so far. Raises OutputError if it cannot be written."""
    path = folder / SHEET_NAME
    cells = [
        _describe_cell(comparison, model, value, folder)
        for value in comparison.values
        for model in comparison.models
    ]
    # A column for each model if there is an axis, else about as many columns as rows.
    columns = len(comparison.models)
    if comparison.vary is None and columns > _MOST_IN_ONE_ROW:
        columns = ceil(sqrt(columns))
    draw_sheet(
        cells,
        path,
        title=comparison.request.prompt or "No prompt",
        note=" · ".join(part for part in (note, *describe_request(comparison)) if part),
        columns=columns,
    )
    return path


def describe_request(comparison: Comparison) -> tuple[str, ...]:
    """What all cells share: negative prompt, input files, LoRAs, denoising strength and seed."""
    request = comparison.request
    notes = [f"negative: {request.negative}"] if request.negative else []
    files = [("image", request.image), ("mask", request.mask)]
    files += [("reference", path) for path in request.references]
    files += [(control.kind, control.image) for control in request.controls]
    notes += [f"{what}: {PureWindowsPath(path).name}" for what, path in files if path]
    notes += [f"LoRA: {lora.name} at {lora.strength:g}" for lora in request.loras]
    for name in ("strength", "seed"):
        value = getattr(request, name)
        if value is not None and not (comparison.vary and comparison.vary.name == name):
            notes.append(f"{name} {value}")
    return tuple(notes)


def _describe_cell(comparison: Comparison, model: str, value: object, folder: Path) -> SheetCell:
    cell = comparison.cell(model, value)
    axis = comparison.vary
    varies_prompt = axis is not None and axis.name == "prompt"
    title = model
    if axis is not None and not varies_prompt:
        title = f"{model}, {axis.name} {one_line(str(value))}"
    text = str(value) if varies_prompt else ""
    if cell is None:
        return SheetCell(title=title, details="not generated yet", text=text)
    details = [
        "" if cell.seed is None else f"seed {cell.seed}",
        "" if cell.seconds is None else format_duration(cell.seconds),
        "" if cell.cost_usd is None else f"${cell.cost_usd:.4g}",
    ]
    remarks = [f"the first of {len(cell.files)}"] if len(cell.files) > 1 else []
    for name, outcome in mark_not_honoured(cell.receipt).items():
        is_plain = outcome.outcome in ("clamped", "dropped")
        remarks.append(f"{name} {outcome.outcome if is_plain else 'syntax not read'}")
    failure = cell.error
    return SheetCell(
        title=title,
        details=" · ".join(filter(None, details)),
        text=text,
        remark=" · ".join(remarks),
        image=folder / cell.files[0].path if cell.files else None,
        error=f"{failure.message}\n{failure.remedy}".strip() if failure else "",
    )

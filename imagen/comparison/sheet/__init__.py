"""The contact sheet of a comparison: which cells it has, and what their captions say."""

from __future__ import annotations

from math import ceil, sqrt
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any

from imagen.comparison.axes import BACKEND_AXIS, Axis, combine, describe_value
from imagen.comparison.sheet.draw import draw_sheet
from imagen.comparison.sheet.layout import SheetCell
from imagen.core.capabilities import mark_not_honoured
from imagen.core.text import format_duration

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from imagen.comparison.record import Comparison

    _Values = dict[str, Any]

SHEET_NAME = "contact-sheet.png"
_MOST_IN_ONE_ROW = 4


def sheet_path(folder: Path, page: int) -> Path:
    """`contact-sheet.png`, `contact-sheet-2.png`, …"""
    path = folder / SHEET_NAME
    return path if page == 1 else path.with_stem(f"{path.stem}-{page}")


def sheet_paths(comparison: Comparison, folder: Path) -> list[Path]:
    """The sheets of this comparison."""
    return [sheet_path(folder, page + 1) for page in range(len(_arrange(comparison)[2]))]


def write_sheets(comparison: Comparison, folder: Path, *, note: str = "") -> None:
    """Write the sheets of all cells so far: one for each combination of the outer axes.

    The backends are the columns and the first axis the rows; for a single backend, the first axis
    and the second. Raises OutputError if a sheet cannot be written.
    """
    across, down, pages = _arrange(comparison)
    columns = len(across)
    if len(down) == 1 and columns > _MOST_IN_ONE_ROW:  # about as many columns as rows
        columns = ceil(sqrt(columns))
    for number, page in enumerate(pages, start=1):
        places = [page | row | column for row in down for column in across]
        about = ", ".join(describe_value(name, value) for name, value in page.items())
        about = f"page {number} of {len(pages)}: {about}" if page else ""
        draw_sheet(
            [_describe_cell(comparison, place, [*page], folder) for place in places],
            sheet_path(folder, number),
            title=title_of(comparison),
            note=" · ".join(filter(None, (about, note, *describe_request(comparison)))),
            columns=columns,
        )
    stale = len(pages) + 1
    while sheet_path(folder, stale).is_file():  # of a comparison that had more pages
        sheet_path(folder, stale).unlink()
        stale += 1


def _arrange(comparison: Comparison) -> tuple[list[_Values], list[_Values], list[_Values]]:
    """The columns, the rows and the pages, each with its values by the names of the axes."""
    models = Axis(name=BACKEND_AXIS, values=comparison.models)
    own = [*([models] if len(models.values) != 1 else []), *comparison.axes]
    across, down, pages = (list(combine(axes)) for axes in (own[:1], own[1:2], own[2:]))
    if len(models.values) == 1:
        across = [{BACKEND_AXIS: models.values[0]} | values for values in across]
    return across, down, pages


def title_of(comparison: Comparison) -> str:
    """The prompt of all cells."""
    if any("prompt" in axis.parameters for axis in comparison.axes):
        return "Several prompts"
    return comparison.request.prompt or "No prompt"


def describe_request(comparison: Comparison) -> tuple[str, ...]:
    """What all cells share: negative prompt, input files, LoRAs, denoising strength and seed."""
    request = comparison.request
    varied = {name for axis in comparison.axes for name in axis.parameters}
    notes = [f"negative: {request.negative}"] if request.negative else []
    files = [("image", request.image), ("mask", request.mask)]
    files += [("reference", path) for path in request.references]
    files += [(control.kind, control.image) for control in request.controls]
    notes += [f"{what}: {PureWindowsPath(path).name}" for what, path in files if path]
    notes += [f"LoRA: {lora.name} at {lora.strength:g}" for lora in request.loras]
    for name in ("strength", "seed"):
        value = getattr(request, name)
        if value is not None and name not in varied:
            notes.append(f"{name} {value}")
    return tuple(notes)


def _describe_cell(
    comparison: Comparison, place: _Values, of_page: Collection[str], folder: Path
) -> SheetCell:
    values = {axis.name: place[axis.name] for axis in comparison.axes}
    model = str(place[BACKEND_AXIS])
    cell = comparison.cell(model, values)
    shown = {name: value for name, value in values.items() if name not in of_page}
    prompt = shown.pop("prompt", None)
    title = ", ".join((model, *(describe_value(name, value) for name, value in shown.items())))
    text = "" if prompt is None else str(prompt)
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

"""The contact sheet: pictures in a grid, each with its caption, on one PNG of a bounded size.

It can't fail and leaves nothing out in silence: what has no picture is a labelled cell, text
wraps, and cells shrink until the sheet keeps within its bounds. A text that still does not fit
shows its beginning and end, says how many characters are missing, and where all of it stands.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from imagen.comparison import pictures
from imagen.comparison.encoding import write_png
from imagen.comparison.faces import system_fonts
from imagen.comparison.layout import GROUND, PlacedCell, SheetCell, SheetLayout, lay_out
from imagen.comparison.lettering import draw_block
from imagen.comparison.typesetting import fit
from imagen.core.filesystem import part_in
from imagen.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imagen.comparison.faces import FontSet

_BACKING = (235, 232, 227)
_INK = (28, 27, 25)
_QUIET = (112, 107, 98)
_ALARM = (150, 46, 30)
_ALARM_BACKING = (244, 228, 222)
_WORKERS = min(4, os.cpu_count() or 1)
_PAD = 14


def draw_sheet(
    cells: Sequence[SheetCell],
    path: Path,
    *,
    title: str,
    note: str = "",
    columns: int,
    cell_size: int = 512,
    elsewhere: str = "all of it is in compare.json",
    faces: FontSet | None = None,
) -> None:
    """Write the sheet of these cells, row by row, to `path`, over an older one.

    A row has `columns` cells, or a multiple of that where the sheet would be a tower. `title`
    stands above them in full length, as a rule the prompt; `elsewhere` says where a text too long
    for the sheet can be read. Raises OutputError where the file can't be written.
    """
    faces = faces or system_fonts()
    layout = lay_out(
        cells,
        faces,
        title=title,
        note=note,
        columns=columns,
        side=cell_size,
        elsewhere=elsewhere,
    )
    sheet = Image.new("RGB", layout.size, GROUND)
    _head(sheet, layout, faces)
    _show_pictures(sheet, layout, faces)
    for placed in layout.cells:
        _caption(sheet, placed, faces)
    _write(sheet, path)


def _head(sheet: Image.Image, layout: SheetLayout, faces: FontSet) -> None:
    x, y = layout.margin, layout.margin
    for block, colour in ((layout.title, _INK), (layout.note, _QUIET)):
        draw_block(sheet, (x, y), block, faces, fill=colour, width=layout.text_width)
        y += block.height + layout.leading


def _show_pictures(sheet: Image.Image, layout: SheetLayout, faces: FontSet) -> None:
    """Each worker holds one picture at a time, and puts it onto the sheet itself."""
    lock = Lock()

    def show(placed: PlacedCell) -> PlacedCell | None:
        if placed.picture is None:
            return placed
        try:
            small = pictures.load_reduced(placed.picture, placed.shown, ground=_BACKING)
        except pictures.UNREADABLE:
            return placed
        with lock:
            _put(sheet, placed, small)
        return None

    with ThreadPoolExecutor(_WORKERS) as pool:
        missing = [placed for placed in pool.map(show, layout.cells) if placed is not None]
    for placed in missing:
        _label(sheet, placed, faces, layout.elsewhere)


def _put(sheet: Image.Image, placed: PlacedCell, small: Image.Image) -> None:
    left, top, right, bottom = placed.box
    if small.size != (right - left, bottom - top):
        sheet.paste(_BACKING, placed.box)
    x = left + (right - left - small.width) // 2
    sheet.paste(small, (x, top + (bottom - top - small.height) // 2))


def _label(sheet: Image.Image, placed: PlacedCell, faces: FontSet, elsewhere: str) -> None:
    """Why there is no picture, where it would stand."""
    left, top, right, bottom = placed.box
    ground, ink = (_ALARM_BACKING, _ALARM) if placed.failed else (_BACKING, _QUIET)
    ImageDraw.Draw(sheet).rectangle((left, top, right - 1, bottom - 1), fill=ground)
    pad = min(_PAD, (right - left) // 10)
    width, height = right - left - 2 * pad, bottom - top - 2 * pad
    sizes = [size for size in (18, 16, 14, 12, 10) if size <= width / 8] or [9]
    block = fit(placed.why, faces, width=width, height=height, sizes=sizes, elsewhere=elsewhere)
    draw_block(sheet, (left + pad, top + pad), block, faces, fill=ink, width=width)


def _caption(sheet: Image.Image, placed: PlacedCell, faces: FontSet) -> None:
    left, _, right, y = placed.box
    for block, colour in zip(placed.caption, (_INK, _QUIET, _INK, _ALARM), strict=True):
        y += placed.leading if block.lines else 0
        draw_block(sheet, (left, y), block, faces, fill=colour, width=right - left)
        y += block.height


def _write(sheet: Image.Image, path: Path) -> None:
    try:
        with part_in(path.parent) as part:
            with part.open("wb") as file:
                write_png(sheet, file)
            os.replace(part, path)
    except OSError as error:
        raise OutputError(
            f"The contact sheet can't be written to {path}: {error.strerror or error}.",
            remedy="The pictures themselves are safe; run the same command again for the sheet.",
        ) from error

"""Draw a contact sheet: images in a grid with captions, as one PNG of limited size.

Drawing does not fail on bad input and leaves nothing out silently: a cell without an image gets a
label, text wraps, and cells shrink until the sheet is within its limits. A text that still does
not fit shows its beginning and end, how many characters are missing, and where all of it is.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from imagen.comparison.sheet.fonts import system_fonts
from imagen.comparison.sheet.images import UNREADABLE, load_reduced
from imagen.comparison.sheet.layout import PlacedCell, SheetCell, SheetLayout, lay_out
from imagen.comparison.sheet.text import draw_block, fit_text
from imagen.core.filesystem import part_in
from imagen.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imagen.comparison.sheet.fonts import FontSet

_PAPER = (250, 249, 246)
_IMAGE_BACKGROUND = (235, 232, 227)
_INK = (28, 27, 25)
_GREY_INK = (112, 107, 98)
_ERROR_INK = (150, 46, 30)
_ERROR_BACKGROUND = (244, 228, 222)
_WORKERS = min(4, os.cpu_count() or 1)
_LABEL_PADDING = 14


def draw_sheet(
    cells: Sequence[SheetCell],
    path: Path,
    *,
    title: str,
    note: str = "",
    columns: int,
    cell_size: int = 512,
    elsewhere: str = "the whole text is in compare.json",
    fonts: FontSet | None = None,
) -> None:
    """Write the sheet of these cells, row by row, to `path`, replacing an older one.

    A row has `columns` cells, or a multiple of that if the sheet would be a tower. `title` is
    usually the prompt; `elsewhere` says where a text too long for the sheet can be read.

    Raises OutputError if the file cannot be written.
    """
    fonts = fonts or system_fonts()
    layout = lay_out(
        cells,
        fonts,
        title=title,
        note=note,
        columns=columns,
        side=cell_size,
        elsewhere=elsewhere,
    )
    sheet = Image.new("RGB", layout.size, _PAPER)
    x, y = layout.margin, layout.margin
    for block, colour in ((layout.title, _INK), (layout.note, _GREY_INK)):
        draw_block(sheet, (x, y), block, fonts, fill=colour, width=layout.text_width)
        y += block.height + layout.leading
    _draw_images(sheet, layout, fonts)
    for placed in layout.cells:
        left, _, right, y = placed.box
        for block, colour in zip(placed.caption, (_INK, _GREY_INK, _INK, _ERROR_INK), strict=True):
            y += placed.leading if block.lines else 0
            draw_block(sheet, (left, y), block, fonts, fill=colour, width=right - left)
            y += block.height
    try:
        with part_in(path.parent) as part:
            with part.open("wb") as file:
                sheet.save(file, "PNG", compress_level=1)
            os.replace(part, path)
    except OSError as error:
        raise OutputError(
            f"The contact sheet cannot be written to {path}: {error.strerror or error}.",
            remedy="The images are saved; run the same command again to write the sheet.",
        ) from error


def _draw_images(sheet: Image.Image, layout: SheetLayout, fonts: FontSet) -> None:
    """Load the images in threads, and draw a label for each that cannot be shown.

    Each thread holds one image at a time and pastes it itself, so that memory stays small.
    """
    lock = Lock()

    def draw_image(placed: PlacedCell) -> bool:
        if placed.image is None:
            return False
        try:
            small = load_reduced(placed.image, placed.shown, background=_IMAGE_BACKGROUND)
        except UNREADABLE:
            return False
        left, top, right, bottom = placed.box
        width, height = right - left, bottom - top
        with lock:
            if small.size != (width, height):
                sheet.paste(_IMAGE_BACKGROUND, placed.box)
            x, y = left + (width - small.width) // 2, top + (height - small.height) // 2
            sheet.paste(small, (x, y))
        return True

    with ThreadPoolExecutor(_WORKERS) as pool:
        drawn = list(pool.map(draw_image, layout.cells))
    for placed, is_drawn in zip(layout.cells, drawn, strict=True):
        if is_drawn:
            continue
        left, top, right, bottom = placed.box
        background, ink = (
            (_ERROR_BACKGROUND, _ERROR_INK) if placed.failed else (_IMAGE_BACKGROUND, _GREY_INK)
        )
        ImageDraw.Draw(sheet).rectangle((left, top, right - 1, bottom - 1), fill=background)
        pad = min(_LABEL_PADDING, (right - left) // 10)
        width, height = right - left - 2 * pad, bottom - top - 2 * pad
        sizes = [size for size in (18, 16, 14, 12, 10) if size <= width / 8] or [9]
        block = fit_text(
            placed.why,
            fonts,
            width=width,
            height=height,
            sizes=sizes,
            elsewhere=layout.elsewhere,
        )
        draw_block(sheet, (left + pad, top + pad), block, fonts, fill=ink, width=width)

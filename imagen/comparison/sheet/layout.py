"""Where everything goes on a contact sheet, in pixels."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, NamedTuple

from imagen.comparison.sheet.images import UNREADABLE, displayed_size, fit_size
from imagen.comparison.sheet.text import EMPTY, TextBlock, fit_text
from imagen.core.image_file import TooManyPixels

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imagen.comparison.sheet.fonts import FontSet
    from imagen.comparison.sheet.images import Size

LONGEST_SIDE = 16384
MOST_PIXELS = 64_000_000
_SMALLEST_SIDE = 24
_MOST_COLUMNS = 500
"""More do not fit into the longest side, however small they are."""
_NARROWEST_COLUMN = 240
"""Captions need this width, however small the images are."""
_LABEL_HEIGHT = 160
"""A label needs this height, however flat the images beside it are."""
_LEAST_HEAD = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetCell:
    """One image of a sheet with its caption, or why there is no image."""

    title: str
    details: str = ""
    text: str = ""
    """What only this cell has: its prompt, if prompts differ."""
    remark: str = ""
    """A warning."""
    image: Path | None = None
    error: str = ""


class PlacedCell(NamedTuple):
    """A cell with its position."""

    box: tuple[int, int, int, int]
    """Left, top, right, bottom of the image or label; the caption is below."""
    caption: tuple[TextBlock, ...]
    leading: int
    image: Path | None
    shown: Size
    """The size in which the image is shown."""
    why: str
    """The label if the image cannot be shown."""
    failed: bool

    @property
    def bottom(self) -> int:
        """The end of the caption."""
        caption = sum(block.height + self.leading for block in self.caption if block.lines)
        return self.box[3] + caption

    def moved(self, x: int, y: int) -> PlacedCell:
        left, top, right, bottom = self.box
        return self._replace(box=(left + x, top + y, right + x, bottom + y))


class SheetLayout(NamedTuple):
    """A whole sheet."""

    size: Size
    margin: int
    leading: int
    title: TextBlock
    note: TextBlock
    text_width: int
    cells: tuple[PlacedCell, ...]
    elsewhere: str


class _KnownCell(NamedTuple):
    """What is known of a cell before it is placed."""

    cell: SheetCell
    size: Size | None
    why: str
    failed: bool


def count_columns(wanted: int, cells: int) -> int:
    """As many columns as wanted, or a multiple if the sheet would be a tower."""
    columns = max(1, min(wanted, cells, _MOST_COLUMNS))
    is_tower = cells > 2 * columns * columns
    return columns * round(sqrt(cells) / columns) if is_tower else columns


def lay_out(
    cells: Sequence[SheetCell],
    fonts: FontSet,
    *,
    title: str,
    note: str,
    columns: int,
    side: int,
    elsewhere: str,
) -> SheetLayout:
    """Place the cells in a grid of images up to `side`, or smaller to keep the sheet's limits."""
    known = [_inspect(cell) for cell in cells]
    columns = count_columns(columns, len(known))
    while True:
        layout = _Draft(known, fonts, columns, side, elsewhere).with_head(title, note)
        width, height = layout.size
        share = min(LONGEST_SIDE / max(width, height), sqrt(MOST_PIXELS / (width * height)))
        if share >= 1 or side <= _SMALLEST_SIDE:
            return layout
        side = max(_SMALLEST_SIDE, int(side * min(0.95, share)))


def _inspect(cell: SheetCell) -> _KnownCell:
    if cell.image is None:
        return _KnownCell(cell, None, cell.error or "Not generated yet.", bool(cell.error))
    name = cell.image.name
    unreadable = f"The image {name} cannot be shown: it is missing or damaged."
    try:
        return _KnownCell(cell, displayed_size(cell.image), unreadable, True)
    except TooManyPixels as error:
        return _KnownCell(cell, None, f"{name} is not shown: {error}.", True)
    except UNREADABLE:
        return _KnownCell(cell, None, unreadable, True)


class _Draft:
    """A grid with images of one size."""

    def __init__(
        self,
        known: Sequence[_KnownCell],
        fonts: FontSet,
        columns: int,
        side: int,
        elsewhere: str,
    ) -> None:
        self._fonts, self._side, self._elsewhere = fonts, side, elsewhere
        self._gap = max(4, side // 22)
        self._margin = max(8, side // 14)
        self._leading = max(2, side // 72)
        widths = [fit_size(one.size, (side, side))[0] for one in known if one.size]
        self._width = max(min(_NARROWEST_COLUMN, side), *widths, 0 if widths else side)
        self._rows = [known[i : i + columns] for i in range(0, len(known), columns)]
        self._columns = columns

    def with_head(self, title: str, note: str) -> SheetLayout:
        """The whole sheet; the head may be as high as the grid below it."""
        cells: list[PlacedCell] = []
        for row in self._rows:
            top = max(cell.bottom for cell in cells) + self._gap if cells else 0
            cells += self._place_row(row, top)
        height = max((cell.bottom for cell in cells), default=0)
        width = self._columns * (self._width + self._gap) - self._gap
        head_height = max(_LEAST_HEAD, height)
        largest = max(14, min(26, self._side // 19), width // 80)
        sizes = [size for size in (44, 34, 26, 22, 18, 16, 14, 12) if size <= largest]
        head = (
            self._fit(title, width, head_height, sizes),
            self._fit(note, width, head_height // 4, [max(12, sizes[0] * 5 // 8), 12]),
        )
        top = self._margin + sum(block.height + self._leading for block in head if block.lines)
        top += self._gap // 2
        return SheetLayout(
            size=(width + 2 * self._margin, top + height + self._margin),
            margin=self._margin,
            leading=self._leading,
            title=head[0],
            note=head[1],
            text_width=width,
            cells=tuple(cell.moved(self._margin, top) for cell in cells),
            elsewhere=self._elsewhere,
        )

    def _place_row(self, row: Sequence[_KnownCell], top: int) -> list[PlacedCell]:
        box = (self._width, self._side)
        shown = [fit_size(one.size, box) if one.size else (0, 0) for one in row]
        label = 0 if all(one.size for one in row) else min(self._side, _LABEL_HEIGHT)
        height = max(label, self._side // 8, *(high for _, high in shown))
        large = max(10, min(17, self._side // 28))
        small = max(10, large - 3)
        caption_height = max(self._side // 3, 3 * large)
        placed = []
        for i, one in enumerate(row):
            left, cell = i * (self._width + self._gap), one.cell
            texts = ((cell.title, large), (cell.details, small), (cell.text, small))
            caption = [
                self._fit(text, self._width, caption_height, [size, 10])
                for text, size in (*texts, (cell.remark, small))
            ]
            placed.append(
                PlacedCell(
                    box=(left, top, left + self._width, top + height),
                    caption=tuple(caption),
                    leading=self._leading,
                    image=cell.image if one.size else None,
                    shown=shown[i],
                    why=one.why,
                    failed=one.failed,
                )
            )
        return placed

    def _fit(self, text: str, width: int, height: int, sizes: Sequence[int]) -> TextBlock:
        if not text:
            return EMPTY
        return fit_text(
            text, self._fonts, width=width, height=height, sizes=sizes, elsewhere=self._elsewhere
        )

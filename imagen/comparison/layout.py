"""Where everything stands on a contact sheet, in pixels."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, NamedTuple

from imagen.comparison import pictures
from imagen.comparison.typesetting import EMPTY, TextBlock, fit
from imagen.core.image_file import TooManyPixels

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imagen.comparison.faces import FontSet
    from imagen.comparison.pictures import Size

LONGEST_SIDE = 16384
MOST_PIXELS = 64_000_000
GROUND = (250, 249, 246)
_SMALLEST_SIDE = 24
_MOST_COLUMNS = 500
"""More would not fit into the longest side, however small."""
_NARROWEST = 240
"""Captions need this width, however small the pictures are."""
_LOWEST = 160
"""The height of a label, however flat the pictures beside it are."""
_LEAST_HEAD = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetCell:
    """One picture of a sheet, or why there is none."""

    title: str
    details: str = ""
    text: str = ""
    """What only this cell has: its prompt, where prompts differ."""
    remark: str = ""
    """What the reader should be warned of."""
    picture: Path | None = None
    error: str = ""


class PlacedCell(NamedTuple):
    """One cell in its place."""

    box: tuple[int, int, int, int]
    """Left, top, right, bottom of the picture or label; the caption stands below."""
    caption: tuple[TextBlock, ...]
    leading: int
    picture: Path | None
    shown: Size
    """The size in which the picture is shown."""
    why: str
    """Why there is no picture, should there be none."""
    failed: bool


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


class _Known(NamedTuple):
    """What a cell needs, before there is a place for it."""

    cell: SheetCell
    size: Size | None
    why: str
    failed: bool


def balanced(columns: int, cells: int) -> int:
    """As many columns as asked, or a multiple where the sheet would be a tower."""
    columns = max(1, min(columns, cells, _MOST_COLUMNS))
    is_tower = cells > 2 * columns * columns
    return columns * round(sqrt(cells) / columns) if is_tower else columns


def lay_out(
    cells: Sequence[SheetCell],
    faces: FontSet,
    *,
    title: str,
    note: str,
    columns: int,
    side: int,
    elsewhere: str,
) -> SheetLayout:
    """Place the cells in a grid whose pictures measure up to `side`, or less to keep the bounds."""
    known = [_looked_at(cell) for cell in cells]
    columns = balanced(columns, len(known))
    while True:
        draft = _Draft(known, faces, columns, side, elsewhere)
        layout = draft.with_head(title, note)
        width, height = layout.size
        share = min(LONGEST_SIDE / max(width, height), sqrt(MOST_PIXELS / (width * height)))
        if share >= 1 or side <= _SMALLEST_SIDE:
            return layout
        side = max(_SMALLEST_SIDE, int(side * min(0.95, share)))


def _looked_at(cell: SheetCell) -> _Known:
    if cell.picture is None:
        return _Known(cell, None, cell.error or "Not made yet.", bool(cell.error))
    gone = f"The picture {cell.picture.name} can't be shown: it is missing or damaged."
    try:
        return _Known(cell, pictures.displayed_size(cell.picture), gone, True)
    except TooManyPixels as error:
        return _Known(cell, None, f"{cell.picture.name} is not shown: {error}.", True)
    except pictures.UNREADABLE:
        return _Known(cell, None, gone, True)


class _Draft:
    """A grid with pictures of one size."""

    def __init__(
        self, known: Sequence[_Known], faces: FontSet, columns: int, side: int, elsewhere: str
    ) -> None:
        self._faces, self._side, self._elsewhere = faces, side, elsewhere
        self._gap = max(4, side // 22)
        self._margin = max(8, side // 14)
        self._leading = max(2, side // 72)
        self._width = self._column_width(known)
        self._rows = [known[i : i + columns] for i in range(0, len(known), columns)]
        self._columns = columns

    def with_head(self, title: str, note: str) -> SheetLayout:
        """The whole: the head may be as high as the grid below it."""
        cells, height = self._grid()
        width = self._columns * (self._width + self._gap) - self._gap
        head = self._head(title, note, width, max(_LEAST_HEAD, height))
        top = self._margin + sum(block.height + self._leading for block in head if block.lines)
        top += self._gap // 2
        return SheetLayout(
            size=(width + 2 * self._margin, top + height + self._margin),
            margin=self._margin,
            leading=self._leading,
            title=head[0],
            note=head[1],
            text_width=width,
            cells=tuple(_moved(cell, self._margin, top) for cell in cells),
            elsewhere=self._elsewhere,
        )

    def _column_width(self, known: Sequence[_Known]) -> int:
        """As wide as the widest picture shown, with room for a caption."""
        box = (self._side, self._side)
        widths = [pictures.fit_size(one.size, box)[0] for one in known if one.size]
        return max(min(_NARROWEST, self._side), *widths, 0 if widths else self._side)

    def _head(self, title: str, note: str, width: int, height: int) -> tuple[TextBlock, TextBlock]:
        largest = max(14, min(26, self._side // 19), width // 80)
        sizes = [size for size in (44, 34, 26, 22, 18, 16, 14, 12) if size <= largest]
        return (
            self._fit(title, width, height, sizes),
            self._fit(note, width, height // 4, [max(12, sizes[0] * 5 // 8), 12]),
        )

    def _grid(self) -> tuple[list[PlacedCell], int]:
        """The cells, from (0, 0) on, and how high they are together."""
        placed: list[PlacedCell] = []
        top = 0
        for row in self._rows:
            cells = self._row(row, top)
            placed += cells
            top = max(cell.box[3] + _caption_height(cell) for cell in cells) + self._gap
        return placed, max(0, top - self._gap)

    def _row(self, row: Sequence[_Known], top: int) -> list[PlacedCell]:
        shown = [pictures.fit_size(one.size, (self._width, self._side)) if one.size else (0, 0)
                 for one in row]  # fmt: skip
        tallest = max(height for _, height in shown)
        label = 0 if all(one.size for one in row) else min(self._side, _LOWEST)
        height = max(tallest, label, self._side // 8)
        step = self._width + self._gap
        return [
            PlacedCell(
                box=(i * step, top, i * step + self._width, top + height),
                caption=self._caption(one.cell),
                leading=self._leading,
                picture=one.cell.picture if one.size else None,
                shown=shown[i],
                why=one.why,
                failed=one.failed,
            )
            for i, one in enumerate(row)
        ]

    def _caption(self, cell: SheetCell) -> tuple[TextBlock, ...]:
        """Title, details, text and remark, each at most a third as high as a picture may be."""
        size = max(10, min(17, self._side // 28))
        small = max(10, size - 3)
        texts = (
            (cell.title, size),
            (cell.details, small),
            (cell.text, small),
            (cell.remark, small),
        )
        height = max(self._side // 3, 3 * size)
        return tuple(self._fit(text, self._width, height, [first, 10]) for text, first in texts)

    def _fit(self, text: str, width: int, height: int, sizes: Sequence[int]) -> TextBlock:
        return fit(
            text, self._faces, width=width, height=height, sizes=sizes, elsewhere=self._elsewhere
        ) if text else EMPTY  # fmt: skip


def _caption_height(cell: PlacedCell) -> int:
    return sum(block.height + cell.leading for block in cell.caption if block.lines)


def _moved(cell: PlacedCell, x: int, y: int) -> PlacedCell:
    left, top, right, bottom = cell.box
    return cell._replace(box=(left + x, top + y, right + x, bottom + y))

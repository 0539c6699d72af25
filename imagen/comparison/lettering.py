"""Draws blocks of text: each piece in its face, and a box with its code for what no face has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from PIL import Image, ImageDraw

from imagen.comparison.typesetting import (
    base_is_rtl,
    box_width,
    code_point,
    line_height,
    split_pieces,
)

if TYPE_CHECKING:
    from imagen.comparison.faces import Font, FontSet
    from imagen.comparison.typesetting import Piece, TextBlock

    Colour = tuple[int, int, int]


def draw_block(
    sheet: Image.Image,
    at: tuple[int, int],
    block: TextBlock,
    faces: FontSet,
    *,
    fill: Colour,
    width: int,
) -> None:
    """Draw a block with its upper left corner `at`; right-to-left lines end at its right edge."""
    pen = _Pen(sheet, faces, block.size, fill)
    left, top = at
    rtl = False
    for number, line in enumerate(block.lines):
        rtl = base_is_rtl(line) if line.strip() else rtl
        row = split_pieces(line, faces, rtl=rtl)
        x = left + (max(0.0, width - sum(map(pen.width, row))) if rtl else 0.0)
        baseline = top + number * line_height(block.size) + round(block.size * 1.04)
        for piece in row:
            pen.draw(piece, x, baseline)
            x += pen.width(piece)


class _Pen:
    """Draws pieces in one size and colour."""

    def __init__(self, sheet: Image.Image, faces: FontSet, size: int, fill: Colour) -> None:
        self._sheet, self._faces, self._size, self._fill = sheet, faces, size, fill
        self._draw = ImageDraw.Draw(sheet)

    def width(self, piece: Piece) -> float:
        """How far the next piece stands from this one."""
        if piece.face is None:
            return sum(box_width(character, self._size) for character in piece.text)
        text, direction = self._ordered(piece)
        length = piece.face.at(self._size).getlength(text, direction=direction)
        return length * self._scale(piece.face)

    def draw(self, piece: Piece, x: float, baseline: int) -> None:
        """Draw one piece from `x` on."""
        if piece.face is None:
            self._boxes(piece.text, x, baseline)
        elif piece.face.strike:
            self._bitmaps(piece, piece.face, x, baseline)
        else:
            text, direction = self._ordered(piece)
            font = piece.face.at(self._size)
            place = (round(x), baseline)
            self._draw.text(place, text, self._fill, font, anchor="ls", direction=direction)

    def _ordered(self, piece: Piece) -> tuple[str, Literal["rtl", "ltr"] | None]:
        """What shaping needs to be told; without it, right-to-left text is turned by hand."""
        if self._faces.shaping and piece.face is not self._faces.own:
            return piece.text, "rtl" if piece.rtl else "ltr"
        return piece.text[::-1] if piece.rtl else piece.text, None

    def _scale(self, face: Font) -> float:
        return self._size / face.strike if face.strike else 1.0

    def _bitmaps(self, piece: Piece, face: Font, x: float, baseline: int) -> None:
        """Bitmaps come in one size: drawn in that, and reduced onto the sheet."""
        text, direction = self._ordered(piece)
        font = face.at(self._size)
        ascent, descent = font.getmetrics()
        length = max(1, round(font.getlength(text, direction=direction)))
        tile = Image.new("RGBA", (length, ascent + descent))
        pen = ImageDraw.Draw(tile)
        pen.text(
            (0, ascent), text, font=font, anchor="ls", direction=direction, embedded_color=True
        )
        scale = self._scale(face)
        small = tile.resize((max(1, round(length * scale)), max(1, round(tile.height * scale))))
        place = round(x), baseline - round(ascent * scale)
        self._sheet.paste(small, place, small)

    def _boxes(self, text: str, x: float, baseline: int) -> None:
        font = self._faces.own.at(round(self._size * 0.6))
        for character in text:
            width = box_width(character, self._size)
            right, top = x + width - self._size * 0.12, baseline - self._size * 0.78
            box = (x, top, right, baseline + self._size * 0.08)
            self._draw.rectangle([round(edge) for edge in box], outline=self._fill)
            middle = ((x + right) / 2, baseline - self._size * 0.35)
            self._draw.text(middle, code_point(character), self._fill, font, anchor="mm")
            x += width

"""Text on a contact sheet: break it into lines that fit, and draw it in any script."""

from __future__ import annotations

import re
import unicodedata
from itertools import groupby, islice
from typing import TYPE_CHECKING, Literal, NamedTuple

from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imagen.comparison.sheet.fonts import Font, FontSet

    Colour = tuple[int, int, int]

_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Joiners, direction marks and selectors: they shape their neighbours and show nothing."""
_JOINER = "\u200d"
_WIDE = (
    "\u1100-\u11ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff00-\uffef"
    "\U0001f000-\U0003ffff"
)
_WORDS = re.compile(
    rf"[{_WIDE}](?:\u200d.|[\ufe00-\ufe0f\U0001f3fb-\U0001f3ff])*|[^\s{_WIDE}]+|\s+"
)
"""A word, spaces, or one character of a script that breaks lines anywhere."""
_LEFT_OUT = " [… {:,} characters left out; {} …] "
_MIRRORED = str.maketrans("()[]{}<>«»‹›", ")(][}{><»«›‹")
"""Brackets as they look in right-to-left text."""
_NUMBER_SEPARATORS = ".,:/+-"


class TextBlock(NamedTuple):
    """Lines of text in one size."""

    lines: tuple[str, ...]
    size: int

    @property
    def height(self) -> int:
        return len(self.lines) * line_height(self.size)


EMPTY = TextBlock((), 12)


def line_height(size: int) -> int:
    """The distance from one baseline to the next."""
    return round(size * 1.36)


def show_control_characters(text: str) -> str:
    """Replace control characters with visible escapes; line breaks stay, tabs become spaces."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\t", "    "))
    if text.isascii() and text.replace("\n", "").isprintable():
        return text

    def escape(character: str) -> str:
        if character == "\n" or _INVISIBLE.match(character):
            return character
        if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            return character
        code = ord(character)
        return (
            f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:x}"
        )

    return "".join(map(escape, text))


def fit_text(
    text: str, fonts: FontSet, *, width: int, height: int, sizes: Sequence[int], elsewhere: str
) -> TextBlock:
    """Break `text` into lines, in the largest of `sizes` in which all of it fits.

    If it fits in none, the smallest shows its beginning and end, how many characters are left out
    between them, and `elsewhere`: where the whole text is.
    """
    text = show_control_characters(text).strip("\n")
    if not text:
        return EMPTY
    for size in sizes:
        measure = TextMeasure(fonts, size)
        most = height // line_height(size)
        lines = measure.first_lines(text, width, most + 1)
        if len(lines) <= most:
            return TextBlock(tuple(lines), size)
    return TextBlock(tuple(_shorten(text, measure, width, max(1, most), elsewhere)), sizes[-1])


def _shorten(text: str, measure: TextMeasure, width: int, most: int, elsewhere: str) -> list[str]:
    """The longest beginning and end that fit, found by bisection over their length."""

    def lines_with(kept: int) -> list[str]:
        end = kept // 3
        note = _LEFT_OUT.format(len(text) - kept, elsewhere)
        shown = text[: kept - end] + note + text[len(text) - end :]
        return measure.first_lines(shown, width, most + 1)

    low, high = 0, min(len(text), sum(map(len, measure.first_lines(text, width, most))))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(lines_with(middle)) <= most else (low, middle - 1)
    return lines_with(low)[:most]


class TextMeasure:
    """The widths of characters in one size, and lines that fit a width."""

    def __init__(self, fonts: FontSet, size: int) -> None:
        self._fonts, self._size = fonts, size
        self._widths: dict[str, float] = {}

    def width(self, text: str) -> float:
        """The sum of the characters' widths; joined letters may take less."""
        total = 0.0
        for character in text:
            width = self._widths.get(character)
            if width is None:
                font = self._fonts.find(character)
                if _INVISIBLE.match(character):
                    width = 0.0
                elif font is None:
                    width = _box_width(character, self._size)
                else:
                    scale = self._size / font.bitmap_size if font.bitmap_size else 1.0
                    width = font.at(self._size).getlength(character) * scale
                self._widths[character] = width
            total += width
        return total

    def first_lines(self, text: str, width: float, most: int) -> list[str]:
        """The first lines of `text`, at most `most` of them."""
        return list(islice(self._lines(text, width), most))

    def _lines(self, text: str, width: float) -> Iterator[str]:
        start = 0
        while start <= len(text):  # one paragraph at a time: the later ones may not be needed
            end = text.find("\n", start)
            end = len(text) if end < 0 else end
            line, used = "", 0.0
            for word in self._words(text[start:end], width):
                size = self.width(word)
                if line and used + size > width and not word.isspace():
                    yield line.rstrip()
                    line, used = "", 0.0
                line, used = line + word, used + size
            yield line.rstrip()
            start = end + 1

    def _words(self, text: str, width: float) -> Iterator[str]:
        """The words of `text`; a word wider than a line in parts that are not."""
        for match in _WORDS.finditer(text):
            word = match[0]
            if word.isspace() or self.width(word) <= width:
                yield word
                continue
            part, used = "", 0.0
            for cluster in clusters(word):
                size = self.width(cluster)
                if part and used + size > width:
                    yield part
                    part, used = "", 0.0
                part, used = part + cluster, used + size
            yield part


def clusters(text: str) -> Iterator[str]:
    """Each character with its marks and what is joined to it."""
    cluster = ""
    for character in text:
        belongs = not character.isascii() and (
            _INVISIBLE.match(character)
            or "\U0001f3fb" <= character <= "\U0001f3ff"
            or cluster.endswith(_JOINER)
            or unicodedata.category(character)[0] == "M"
        )
        if cluster and not belongs:
            yield cluster
            cluster = ""
        cluster += character
    if cluster:
        yield cluster


class TextPiece(NamedTuple):
    """Neighbouring characters in one font and one direction."""

    text: str
    font: Font | None
    """None if no font has the characters."""
    level: int
    """The embedding level of Unicode's bidirectional algorithm; odd is right to left."""

    @property
    def rtl(self) -> bool:
        return self.level % 2 == 1


def is_rtl(text: str) -> bool:
    """Whether the first letter with a direction runs from right to left."""
    kinds = (unicodedata.bidirectional(character) for character in text)
    return next((kind != "L" for kind in kinds if kind in ("L", "R", "AL")), False)


def split_pieces(line: str, fonts: FontSet, *, rtl: bool) -> list[TextPiece]:
    """The pieces of a line from left to right, in a paragraph of this direction."""
    pieces: list[TextPiece] = []
    at, levels = 0, _bidi_levels(line, rtl=rtl)
    for cluster in clusters(line):
        level = levels[at]
        at += len(cluster)
        shown = _INVISIBLE.sub("", cluster)
        whole = fonts.find(shown) if shown else fonts.own
        if whole is None:  # the single characters, each with its font
            parts = [(character, fonts.find(character)) for character in shown]
        else:
            is_shaped = fonts.shaping and whole is not fonts.own
            parts = [(cluster if is_shaped else shown, whole)]
        for text, font in parts:
            last = pieces[-1] if pieces else None
            if last is not None and last.level == level and last.font is not None:
                # A space stays among the letters around it; those of emoji are too wide for that.
                joins = text == " " and last.font.has(text) and not last.font.bitmap_size
                if joins or last.font is font:
                    pieces[-1] = last._replace(text=last.text + text)
                    continue
            pieces.append(TextPiece(text, font, level))
    for level in range(max(levels, default=0), 0, -1):  # reverse the runs of at least this level
        runs = groupby(pieces, key=lambda piece: piece.level >= level)
        pieces = [
            piece
            for is_reversed, run in runs
            for piece in (reversed(list(run)) if is_reversed else run)
        ]
    return pieces


def _bidi_levels(line: str, *, rtl: bool) -> list[int]:
    """A level for each character: a simple form of Unicode's algorithm, without embeddings."""
    if line.isascii() and not rtl:
        return [0] * len(line)
    base, ltr = int(rtl), 2 * int(rtl)
    levels: list[int] = []
    last_rtl = rtl
    neutrals = 0
    for n, character in enumerate(f"{line}{'א' if rtl else 'a'}"):  # the end has the base direction
        kind = unicodedata.bidirectional(character)
        if kind not in ("L", "R", "AL", "EN", "AN"):
            neutrals += 1
            continue
        is_number = kind in ("EN", "AN")
        this_rtl = last_rtl if is_number else kind != "L"
        between = line[n - neutrals : n]
        if is_number and last_rtl and between in _NUMBER_SEPARATORS and levels[-1:] == [2]:
            levels += [2] * neutrals  # the point within a number
        else:
            same = base if this_rtl != last_rtl else 1 if this_rtl else ltr
            levels += [same] * neutrals
        levels.append(2 if is_number and this_rtl else 1 if this_rtl else ltr)
        last_rtl, neutrals = this_rtl, 0
    return levels[: len(line)]


def draw_block(
    sheet: Image.Image,
    at: tuple[int, int],
    block: TextBlock,
    fonts: FontSet,
    *,
    fill: Colour,
    width: int,
) -> None:
    """Draw a block with its upper left corner `at`; right-to-left lines end at its right edge."""
    pen = _Pen(sheet, fonts, block.size, fill)
    left, top = at
    rtl = False
    for number, line in enumerate(block.lines):
        rtl = is_rtl(line) if line.strip() else rtl
        pieces = split_pieces(line, fonts, rtl=rtl)
        x = left + (max(0.0, width - sum(map(pen.width, pieces))) if rtl else 0.0)
        baseline = top + number * line_height(block.size) + round(block.size * 1.04)
        for piece in pieces:
            pen.draw(piece, x, baseline)
            x += pen.width(piece)


def drawn_text(piece: TextPiece, fonts: FontSet) -> tuple[str, Literal["rtl", "ltr"] | None]:
    """The text and its direction for raqm; without raqm it is reversed here."""
    if fonts.shaping and piece.font is not fonts.own:
        return piece.text, "rtl" if piece.rtl else "ltr"
    return piece.text[::-1].translate(_MIRRORED) if piece.rtl else piece.text, None


class _Pen:
    """Draws pieces in one size and colour."""

    def __init__(self, sheet: Image.Image, fonts: FontSet, size: int, fill: Colour) -> None:
        self._sheet, self._fonts, self._size, self._fill = sheet, fonts, size, fill
        self._draw = ImageDraw.Draw(sheet)

    def width(self, piece: TextPiece) -> float:
        """The distance to the next piece."""
        if piece.font is None:
            return sum(_box_width(character, self._size) for character in piece.text)
        text, direction = drawn_text(piece, self._fonts)
        length = piece.font.at(self._size).getlength(text, direction=direction)
        return length * (self._size / piece.font.bitmap_size if piece.font.bitmap_size else 1.0)

    def draw(self, piece: TextPiece, x: float, baseline: int) -> None:
        """Draw one piece from `x` on."""
        if piece.font is None:  # a box with the code point for each character
            small = self._fonts.own.at(round(self._size * 0.6))
            for character in piece.text:
                width = _box_width(character, self._size)
                right, top = x + width - self._size * 0.12, baseline - self._size * 0.78
                box = (x, top, right, baseline + self._size * 0.08)
                self._draw.rectangle([round(edge) for edge in box], outline=self._fill)
                middle = ((x + right) / 2, baseline - self._size * 0.35)
                self._draw.text(middle, _code_point(character), self._fill, small, anchor="mm")
                x += width
            return
        text, direction = drawn_text(piece, self._fonts)
        if not piece.font.bitmap_size:
            font, place = piece.font.at(self._size), (round(x), baseline)
            self._draw.text(place, text, self._fill, font, anchor="ls", direction=direction)
            return
        # Draw in the only size of the font, and scale the result.
        bitmaps = piece.font.at(self._size)
        ascent, descent = bitmaps.getmetrics()
        length = max(1, round(bitmaps.getlength(text, direction=direction)))
        tile = Image.new("RGBA", (length, ascent + descent))
        ImageDraw.Draw(tile).text(
            (0, ascent), text, font=bitmaps, anchor="ls", direction=direction, embedded_color=True
        )
        scale = self._size / bitmaps.size
        scaled = tile.resize((max(1, round(length * scale)), max(1, round(tile.height * scale))))
        place = round(x), baseline - round(ascent * scale)
        self._sheet.paste(scaled, place, scaled)


def _box_width(character: str, size: int) -> float:
    return size * (0.36 * len(_code_point(character)) + 0.5)


def _code_point(character: str) -> str:
    """`4E2D` for 中."""
    return f"{ord(character):04X}"

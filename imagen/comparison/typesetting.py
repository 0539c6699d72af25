"""Text of any script and length, broken into lines that fit."""

from __future__ import annotations

import re
import unicodedata
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imagen.comparison.faces import Font, FontSet

_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Joiners, marks of direction and selectors: they shape their neighbours, and show nothing."""
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


class Piece(NamedTuple):
    """Neighbouring characters that one face sets in one direction."""

    text: str
    face: Font | None
    """None where no face has the character."""
    rtl: bool


class TextBlock(NamedTuple):
    """Lines of one size of type."""

    lines: tuple[str, ...]
    size: int

    @property
    def height(self) -> int:
        return len(self.lines) * line_height(self.size)


EMPTY = TextBlock((), 12)


def line_height(size: int) -> int:
    """From one line to the next."""
    return round(size * 1.36)


def show_control_characters(text: str) -> str:
    """Each control character as an escape that can be seen; line breaks stay, tabs are spaces."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\t", "    "))
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(_escaped(c) if _steers(c) else c for c in text)


def _steers(character: str) -> bool:
    if character == "\n" or _INVISIBLE.match(character):
        return False
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:x}"


def fit(
    text: str, faces: FontSet, *, width: int, height: int, sizes: Sequence[int], elsewhere: str
) -> TextBlock:
    """`text` in the largest of `sizes` in which all of it fits into `width` by `height` pixels.

    Where none does, the smallest shows its beginning and its end, says how many characters are left
    out between them, and `elsewhere`: where all of it stands.
    """
    text = show_control_characters(text).strip("\n")
    if not text:
        return EMPTY
    for size in sizes:
        measure = Measure(faces, size)
        most = height // line_height(size)
        lines = measure.first_lines(text, width, most + 1)
        if len(lines) <= most:
            return TextBlock(tuple(lines), size)
    return TextBlock(tuple(_shortened(text, measure, width, max(1, most), elsewhere)), sizes[-1])


def _shortened(text: str, measure: Measure, width: int, most: int, elsewhere: str) -> list[str]:
    """The longest beginning and end that fit, by bisection over what is kept of them."""

    def with_kept(kept: int) -> list[str]:
        end = kept // 3
        note = _LEFT_OUT.format(len(text) - kept, elsewhere)
        shown = text[: kept - end] + note + text[len(text) - end :]
        return measure.first_lines(shown, width, most + 1)

    low, high = 0, min(len(text), sum(map(len, measure.first_lines(text, width, most))))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(with_kept(middle)) <= most else (low, middle - 1)
    return with_kept(low)[:most]


class Measure:
    """How wide characters are in one size of type."""

    def __init__(self, faces: FontSet, size: int) -> None:
        self._faces, self._size = faces, size
        self._widths: dict[str, float] = {}

    def first_lines(self, text: str, width: float, most: int) -> list[str]:
        """The first lines of `text`, at most `most` of them."""
        return list(islice(self._lines(text, width), most))

    def of(self, text: str) -> float:
        """The sum of the characters' own widths; joined letters may take less."""
        return sum(self._widths.get(c) or self._measured(c) for c in text)

    def _measured(self, character: str) -> float:
        self._widths[character] = width = self._width(character)
        return width

    def _width(self, character: str) -> float:
        if _INVISIBLE.match(character):
            return 0.0
        face = self._faces.covering(character)
        if face is None:
            return box_width(character, self._size)
        scale = self._size / face.strike if face.strike else 1.0
        return face.at(self._size).getlength(character) * scale

    def _lines(self, text: str, width: float) -> Iterator[str]:
        for start, end in _paragraphs(text):
            yield from self._paragraph(text[start:end], width)

    def _paragraph(self, text: str, width: float) -> Iterator[str]:
        line, used = "", 0.0
        for word in self._words(text, width):
            size = self.of(word)
            if line and used + size > width and not word.isspace():
                yield line.rstrip()
                line, used = "", 0.0
            line, used = line + word, used + size
        yield line.rstrip()

    def _words(self, text: str, width: float) -> Iterator[str]:
        """The words of `text`; what is wider than a line in parts that are not."""
        for match in _WORDS.finditer(text):
            word = match[0]
            if word.isspace() or self.of(word) <= width:
                yield word
            else:
                yield from self._parts(word, width)

    def _parts(self, word: str, width: float) -> Iterator[str]:
        part, used = "", 0.0
        for cluster in clusters(word):
            size = self.of(cluster)
            if part and used + size > width:
                yield part
                part, used = "", 0.0
            part, used = part + cluster, used + size
        yield part


def _paragraphs(text: str) -> Iterator[tuple[int, int]]:
    """Where each begins and ends; one at a time, since nobody may want the later ones."""
    start = 0
    while (end := text.find("\n", start)) >= 0:
        yield start, end
        start = end + 1
    yield start, len(text)


def box_width(character: str, size: int) -> float:
    """The width of the box with a code point in it that stands for what no face has."""
    return size * (0.36 * len(code_point(character)) + 0.5)


def code_point(character: str) -> str:
    """`4E2D` for 中."""
    return f"{ord(character):04X}"


def clusters(text: str) -> Iterator[str]:
    """Each character with the marks upon it and what is joined to it."""
    cluster = ""
    for character in text:
        if cluster and not _belongs(character, cluster[-1]):
            yield cluster
            cluster = ""
        cluster += character
    if cluster:
        yield cluster


def _belongs(character: str, before: str) -> bool:
    if character.isascii():
        return False
    marks = _INVISIBLE.match(character) or "\U0001f3fb" <= character <= "\U0001f3ff"
    return bool(marks) or before == _JOINER or unicodedata.category(character)[0] == "M"


def base_is_rtl(text: str) -> bool:
    """Whether the first letter of a definite direction runs from right to left."""
    kinds = (unicodedata.bidirectional(character) for character in text)
    return next((kind != "L" for kind in kinds if kind in ("L", "R", "AL")), False)


def split_pieces(line: str, faces: FontSet, *, rtl: bool) -> list[Piece]:
    """The pieces of a line from left to right, in a paragraph that runs as `rtl` says.

    A simple form of Unicode's algorithm: two levels, with numbers in the direction about them.
    """
    stretches = [
        (list(_of_one_face(part, faces, rtl=runs_left)), runs_left)
        for part, runs_left in _stretches(line, rtl=rtl)
    ]
    ordered = reversed(stretches) if rtl else iter(stretches)
    return [
        piece for found, runs_left in ordered for piece in (reversed(found) if runs_left else found)
    ]


def _stretches(line: str, *, rtl: bool) -> Iterator[tuple[str, bool]]:
    """Parts of one direction; spaces and signs between two belong to the paragraph's."""
    kinds = {"L": False, "R": True, "AL": True}
    strong = [kinds.get(unicodedata.bidirectional(character)) for character in line]
    start, before = 0, rtl
    for i, direction in enumerate(_settled(strong, rtl)):
        if i and direction != before:
            yield line[start:i], before
            start = i
        before = direction
    if line:
        yield line[start:], before


def _settled(strong: Sequence[bool | None], rtl: bool) -> list[bool]:
    """A direction for each: those without one take that of both neighbours, or the paragraph's."""
    settled: list[bool] = []
    last = rtl
    waiting = 0
    for direction in (*strong, rtl):
        if direction is None:
            waiting += 1
            continue
        settled += [direction if direction == last else rtl] * waiting
        settled.append(direction)
        last, waiting = direction, 0
    return settled[:-1]


def _of_one_face(text: str, faces: FontSet, *, rtl: bool) -> Iterator[Piece]:
    held, face = "", None
    for part, needed in _with_faces(text, faces):
        stays = held and face is not None and (face is needed or _goes_along(part, face))
        if held and not stays:
            yield Piece(held, face, rtl)
            held = ""
        if not stays:
            face = needed
        held += part
    if held:
        yield Piece(held, face, rtl)


def _goes_along(part: str, face: Font) -> bool:
    """Whether a space may stay among the letters about it; those of emoji are too wide for that."""
    return part == " " and face.has(part) and not face.strike


def _with_faces(text: str, faces: FontSet) -> Iterator[tuple[str, Font | None]]:
    """Clusters that one face covers; the single characters of those that none does."""
    for cluster in clusters(text):
        shown = _INVISIBLE.sub("", cluster)
        face = faces.covering(shown) if shown else faces.own
        if face is not None:
            yield (cluster if faces.shaping and face is not faces.own else shown), face
        else:
            yield from ((character, faces.covering(character)) for character in shown)

"""Which characters a font has a glyph for, read from the font file's own table (`cmap`)."""

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    Range = tuple[int, int]

_WHOLE_UNICODE = ((3, 10), (0, 6), (0, 4))
_FIRST_PLANE = ((3, 1), (0, 3), (0, 2), (0, 1), (0, 0))
_LARGEST_TABLE = 8 * 2**20


class Coverage(NamedTuple):
    """The characters that have a glyph, as ranges in order."""

    starts: tuple[int, ...]
    ends: tuple[int, ...]

    def has(self, character: str) -> bool:
        """Whether there is a glyph for this one character."""
        code = ord(character)
        place = bisect_right(self.starts, code) - 1
        return place >= 0 and code <= self.ends[place]


NONE = Coverage((), ())


def read(file: BinaryIO) -> Coverage:
    """The coverage of a TrueType or OpenType file, of the first font of a collection.

    A file that is no font, or a broken one, covers nothing. Raises OSError.
    """
    try:
        ranges = sorted(_ranges(_table(file)))
    except (struct.error, IndexError):
        return NONE
    return Coverage(tuple(start for start, _ in ranges), tuple(end for _, end in ranges))


def _table(file: BinaryIO) -> bytes:
    """The `cmap` table."""
    file.seek(0)
    if file.read(4) == b"ttcf":
        file.seek(12)
        (start,) = struct.unpack(">I", file.read(4))
        file.seek(start + 4)
    (count,) = struct.unpack(">H", file.read(2))
    file.seek(6, 1)
    for name, _, offset, length in struct.iter_unpack(">4sIII", file.read(16 * count)):
        if name == b"cmap" and length <= _LARGEST_TABLE:
            file.seek(offset)
            return file.read(length)
    return b""


def _ranges(table: bytes) -> Iterator[Range]:
    (count,) = struct.unpack_from(">H", table, 2)
    records = struct.iter_unpack(">HHI", table[4 : 4 + 8 * count])
    at = {(platform, encoding): offset for platform, encoding, offset in records}
    for key in (*_WHOLE_UNICODE, *_FIRST_PLANE):
        if key not in at:
            continue
        subtable = table[at[key] :]
        (kind,) = struct.unpack_from(">H", subtable)
        if kind in _FORMATS:
            return _FORMATS[kind](subtable)
    return iter(())


def _segments(subtable: bytes) -> Iterator[Range]:
    """Format 4: segments of the first 65536 characters, some with an array of glyphs."""
    (doubled,) = struct.unpack_from(">H", subtable, 6)
    count = doubled // 2
    ends = struct.unpack_from(f">{count}H", subtable, 14)
    starts = struct.unpack_from(f">{count}H", subtable, 16 + doubled)
    offsets_at = 16 + 3 * doubled
    offsets = struct.unpack_from(f">{count}H", subtable, offsets_at)
    for i, (start, end, offset) in enumerate(zip(starts, ends, offsets, strict=True)):
        if start == 0xFFFF or end < start:
            continue
        if offset == 0:
            yield start, end
            continue
        array = offsets_at + 2 * i + offset
        glyphs = struct.unpack_from(f">{end - start + 1}H", subtable, array)
        yield from ((start + n, start + n) for n, glyph in enumerate(glyphs) if glyph)


def _trimmed(subtable: bytes) -> Iterator[Range]:
    """Format 6: one array of glyphs."""
    first, count = struct.unpack_from(">HH", subtable, 6)
    glyphs = struct.unpack_from(f">{count}H", subtable, 10)
    yield from ((first + n, first + n) for n, glyph in enumerate(glyphs) if glyph)


def _groups(subtable: bytes) -> Iterator[Range]:
    """Format 12: ranges of all of Unicode."""
    (count,) = struct.unpack_from(">I", subtable, 12)
    for start, end, _ in struct.iter_unpack(">III", subtable[16 : 16 + 12 * count]):
        yield start, end


# Format 13 is missing on purpose: it gives one sign to whole scripts, which says nothing.
_FORMATS = {4: _segments, 6: _trimmed, 12: _groups}

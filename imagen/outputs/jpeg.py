"""Texts in JPEG files: spliced in and read, segment by segment, without a look at the pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from imagen.errors import OutputError
from imagen.outputs import exif

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SIGNATURE = b"\xff\xd8\xff"
_APP0, _APP1, _APP9 = 0xE0, 0xE1, 0xE9
_START_OF_SCAN, _END = 0xDA, 0xD9
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_EXIF = b"Exif\0\0"
_OURS = b"imagen\0"
_LARGEST = 0xFFFF - 2
_LARGEST_PART = _LARGEST - len(_OURS) - 2
_MOST_PARTS = 255


class _Segment(NamedTuple):
    marker: int
    start: int
    content: bytes

    @property
    def end(self) -> int:
        return self.start + 4 + len(self.content)

    @property
    def is_exif(self) -> bool:
        return self.marker == _APP1 and self.content.startswith(_EXIF)

    @property
    def is_ours(self) -> bool:
        return self.marker == _APP9 and self.content.startswith(_OURS)


def size(data: bytes) -> tuple[int, int]:
    """Width and height; raises OutputError for what is no JPEG."""
    for segment in _segments(data):
        if segment.marker in _FRAMES and len(segment.content) >= 5:
            high, wide = segment.content[1:3], segment.content[3:5]
            return int.from_bytes(wide, "big"), int.from_bytes(high, "big")
    raise OutputError("the JPEG has no frame")


def with_texts(data: bytes, texts: Mapping[str, str]) -> tuple[bytes, str]:
    """The same file with these texts in place of its own, and a sentence about what did not fit.

    `parameters` is the user comment of the EXIF block, `imagen` stands in segments of its own.
    """
    segments = list(_segments(data))
    old = next((s for s in segments if s.is_exif), None)
    block, problem = _exif_segment(old, texts["parameters"])
    entry = _our_segments(texts["imagen"].encode("utf-8", "backslashreplace"))
    first = next((n for n, s in enumerate(segments) if s.marker != _APP0), len(segments))
    kept = [data[s.start : s.end] if s is not old else block for s in segments if not s.is_ours]
    if old is None:
        kept.insert(first, block)
    kept.insert(first, entry)
    return b"".join((data[:2], *kept, data[segments[-1].end :])), problem


def texts(data: bytes) -> dict[str, str]:
    """All the texts; raises OutputError for a file that is cut short or damaged."""
    segments = list(_segments(data))
    if data.find(bytes((0xFF, _END)), segments[-1].end) < 0:
        raise OutputError(f"the JPEG is cut short at byte {len(data)}")
    found: dict[str, str] = {}
    for block in (s.content for s in segments if s.is_exif):
        found |= exif.texts(block[len(_EXIF) :])
    ours = sorted((s.content for s in segments if s.is_ours), key=lambda c: c[len(_OURS) :][:1])
    if ours:
        entry = b"".join(content[len(_OURS) + 2 :] for content in ours)
        found["imagen"] = entry.decode("utf-8", "replace")
    return found


def _segments(data: bytes) -> Iterator[_Segment]:
    """Every segment up to the first scan; the lengths that the file claims are checked."""
    at, marker = 2, 0
    while marker != _START_OF_SCAN:
        while data[at : at + 2] == b"\xff\xff":  # a marker may be padded
            at += 1
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if at + 4 > len(data):
            raise OutputError(f"the JPEG is cut short at byte {len(data)}")
        if data[at] != 0xFF or length < 2:
            raise OutputError(f"the JPEG is damaged at byte {at}")
        if at + 2 + length > len(data):
            raise OutputError(f"the JPEG is cut short at byte {len(data)}")
        marker = data[at + 1]
        yield _Segment(marker, at, data[at + 4 : at + 2 + length])
        at += 2 + length


def _exif_segment(old: _Segment | None, text: str) -> tuple[bytes, str]:
    """The EXIF segment with the comment; where that can't be, the old one and a sentence."""
    before = _segment(_APP1, old.content) if old else b""
    try:
        block = exif.with_comment(old.content[len(_EXIF) :] if old else b"", text)
    except OutputError as error:
        return before, f"`parameters` was left out of the picture: {error.message}."
    if len(_EXIF) + len(block) > _LARGEST:
        return before, "`parameters` was left out of the picture: a JPEG holds at most 64 kB of it."
    return _segment(_APP1, _EXIF + block), ""


def _our_segments(entry: bytes) -> bytes:
    """The entry over as many segments as it takes, each with its number and their count."""
    parts = [entry[at : at + _LARGEST_PART] for at in range(0, len(entry), _LARGEST_PART)]
    if len(parts) > _MOST_PARTS:
        raise OutputError("a JPEG can't hold that much text")
    count = len(parts)
    return b"".join(
        _segment(_APP9, _OURS + bytes((number, count)) + part)
        for number, part in enumerate(parts, start=1)
    )


def _segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content

"""Texts in JPEG files: spliced in and read, segment by segment, without a look at the pixels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from imagen.errors import OutputError
from imagen.outputs.metadata import exif
from imagen.outputs.metadata.text_bundle import bundle_texts, split_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SIGNATURE = b"\xff\xd8\xff"
_APP0, _APP1, _APP2, _APP9, _APP14 = 0xE0, 0xE1, 0xE2, 0xE9, 0xEE
_START_OF_SCAN, _END = 0xDA, 0xD9
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PICTURE = frozenset((*range(0xC0, 0xD0), *range(_START_OF_SCAN, 0xE0)))
"""Frames, tables and scans: what it takes to decode the picture."""
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""What ends a scan; a byte 255 in it is followed by 0, and marks of restarting belong to it."""
_EXIF = b"Exif\0\0"
_XMP = (b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0")
_JFIF, _PROFILE, _ADOBE = b"JFIF\0", b"ICC_PROFILE\0", b"Adobe"
_JFIF_BYTES = _ADOBE_BYTES = 12
"""Of what is told of the pixels; what may follow is a small copy of the picture."""
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

    `parameters` is the user comment of the EXIF block; the others are in segments of imagen's own.
    """
    segments = list(_segments(data))
    old = next((s for s in segments if s.is_exif), None)
    block, problem = _exif_segment(old, texts.get("parameters"))
    others = bundle_texts({name: text for name, text in texts.items() if name != "parameters"})
    entry = _our_segments(others.encode("utf-8", "backslashreplace"))
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
        found |= split_bundle(entry.decode("utf-8", "replace"))
    return found


def exif_block(data: bytes) -> bytes:
    """What the file's first EXIF segment holds; b"" where there is none."""
    blocks = (segment.content for segment in _segments(data) if segment.is_exif)
    return next(blocks, b"")[len(_EXIF) :]


def strip_metadata(data: bytes) -> bytes:
    """The picture alone, without a word; raises OutputError for a file that is cut short."""
    size(data)
    pieces = list(_pieces(data))
    held = (exif.keep_orientation(s.content[len(_EXIF) :]) for s, _ in pieces if s.is_exif)
    way = next((block for block in held if block), b"")
    kept = [_bare_segment(segment) + scan for segment, scan in pieces]
    first = next((n for n, (s, _) in enumerate(pieces) if s.marker != _APP0), 0)
    kept.insert(first, _segment(_APP1, _EXIF + way) if way else b"")
    return b"".join((data[:2], *kept, bytes((0xFF, _END))))


def strip_gps(data: bytes) -> bytes:
    """The same file, but nothing in it tells where on earth it was taken."""
    pieces = list(_pieces(data))
    last, scan = pieces[-1]
    kept = (_placeless(segment) + scan for segment, scan in pieces)
    rest = data[last.end + len(scan) :]
    if _EXIF in rest:  # of another picture, behind this one
        rest = bytes((0xFF, _END))
    return b"".join((data[:2], *kept, rest))


def _bare_segment(segment: _Segment) -> bytes:
    """What of it the picture needs."""
    marker, content = segment.marker, segment.content
    if marker == _APP0 and content.startswith(_JFIF) and len(content) >= _JFIF_BYTES:
        return _segment(marker, content[:_JFIF_BYTES] + b"\0\0")
    if marker == _APP14 and content.startswith(_ADOBE):
        return _segment(marker, content[:_ADOBE_BYTES])
    is_profile = marker == _APP2 and content.startswith(_PROFILE)
    return _segment(marker, content) if marker in _PICTURE or is_profile else b""


def _placeless(segment: _Segment) -> bytes:
    marker, content = segment.marker, segment.content
    if segment.is_exif:
        block = exif.strip_gps(content[len(_EXIF) :])
        return _segment(marker, _EXIF + block) if block else b""
    is_xmp = marker == _APP1 and content.startswith(_XMP)
    return b"" if is_xmp and b"GPS" in content.replace(b"\0", b"") else _segment(marker, content)


def _pieces(data: bytes) -> Iterator[tuple[_Segment, bytes]]:
    """Every segment up to the picture's end, and the compressed pixels that follow it."""
    at = 2
    while data[at : at + 2] != bytes((0xFF, _END)):
        segment = _segment_at(data, at)
        at = _scan_end(data, segment.end) if segment.marker == _START_OF_SCAN else segment.end
        yield segment, data[segment.end : at]


def _scan_end(data: bytes, at: int) -> int:
    found = _NEXT_MARKER.search(data, at)
    if found is None:
        raise OutputError(f"the JPEG is cut short at byte {len(data)}")
    return found.start()


def _segments(data: bytes) -> Iterator[_Segment]:
    """Every segment up to the first scan; the lengths that the file claims are checked."""
    at, marker = 2, 0
    while marker != _START_OF_SCAN:
        segment = _segment_at(data, at)
        marker, at = segment.marker, segment.end
        yield segment


def _segment_at(data: bytes, at: int) -> _Segment:
    while data[at : at + 2] == b"\xff\xff":  # a marker may be padded
        at += 1
    length = int.from_bytes(data[at + 2 : at + 4], "big")
    if at + 4 > len(data):
        raise OutputError(f"the JPEG is cut short at byte {len(data)}")
    if data[at] != 0xFF or length < 2:
        raise OutputError(f"the JPEG is damaged at byte {at}")
    if at + 2 + length > len(data):
        raise OutputError(f"the JPEG is cut short at byte {len(data)}")
    return _Segment(data[at + 1], at, data[at + 4 : at + 2 + length])


def _exif_segment(old: _Segment | None, text: str | None) -> tuple[bytes, str]:
    """The EXIF segment with the comment; where that can't be, the old one and a sentence."""
    before = _segment(_APP1, old.content) if old else b""
    if text is None:
        return before, ""
    try:
        block = exif.write_comment(old.content[len(_EXIF) :] if old else b"", text)
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

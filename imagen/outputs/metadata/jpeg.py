"""Metadata in JPEG files, segment by segment."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from imagen.errors import OutputError
from imagen.outputs.metadata import exif
from imagen.outputs.metadata.text_bundle import bundle_texts, split_bundle

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

SIGNATURE = b"\xff\xd8\xff"
_APP0, _APP1, _APP2, _APP9, _APP14 = 0xE0, 0xE1, 0xE2, 0xE9, 0xEE
_START_OF_SCAN, _END = 0xDA, 0xD9
_END_MARKER = bytes((0xFF, _END))
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PIXEL_MARKERS = frozenset((*range(0xC0, 0xD0), *range(_START_OF_SCAN, 0xE0)))
"""Frames, tables and scans: what is needed to decode the image."""
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""The end of a scan; within it 255 is followed by 0 or is a restart marker."""
_EXIF = b"Exif\0\0"
_XMP = (b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0")
_JFIF, _PROFILE, _ADOBE = b"JFIF\0", b"ICC_PROFILE\0", b"Adobe"
_JFIF_BYTES = _ADOBE_BYTES = 12
"""The part that concerns the pixels; a thumbnail may follow it."""
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
    """Width and height. Raises OutputError if it is not a JPEG."""
    for segment in _segments(data):
        if segment.marker in _FRAMES and len(segment.content) >= 5:
            height, width = segment.content[1:3], segment.content[3:5]
            return int.from_bytes(width, "big"), int.from_bytes(height, "big")
    raise OutputError("the JPEG has no frame")


def write_texts(data: bytes, texts: Mapping[str, str]) -> tuple[bytes, str]:
    """The same file with these texts instead of its own; the sentence says what did not fit.

    `parameters` is the user comment of the EXIF block; the others are in segments of imagen's own.
    """
    segments = list(_segments(data))
    old = next((s for s in segments if s.is_exif), None)
    before = old.content[len(_EXIF) :] if old else b""
    block, problem = exif.try_write_comment(
        before, texts.get("parameters"), largest=_LARGEST - len(_EXIF)
    )
    encoded = _encode_segment(_APP1, _EXIF + block) if block else b""
    others = bundle_texts({name: text for name, text in texts.items() if name != "parameters"})
    ours = others.encode("utf-8", "backslashreplace")
    parts = [ours[at : at + _LARGEST_PART] for at in range(0, len(ours), _LARGEST_PART)]
    if len(parts) > _MOST_PARTS:
        raise OutputError("a JPEG cannot hold that much text")
    new = b"".join(
        _encode_segment(_APP9, _OURS + bytes((number, len(parts))) + part)
        for number, part in enumerate(parts, start=1)
    )
    first = next((n for n, s in enumerate(segments) if s.marker != _APP0), len(segments))
    kept = [data[s.start : s.end] if s is not old else encoded for s in segments if not s.is_ours]
    if old is None:
        kept.insert(first, encoded)
    kept.insert(first, new)
    return b"".join((data[:2], *kept, data[segments[-1].end :])), problem


def read_texts(data: bytes, wanted: Collection[str] = (), largest: int = 0) -> dict[str, str]:  # noqa: ARG001
    """All texts. Raises OutputError for a truncated or damaged file."""
    segments = list(_segments(data))
    if data.find(_END_MARKER, segments[-1].end) < 0:
        raise OutputError(f"the JPEG is cut short at byte {len(data)}")
    texts: dict[str, str] = {}
    for segment in segments:
        if segment.is_exif:
            texts |= exif.read_texts(segment.content[len(_EXIF) :])
    ours = sorted((s.content for s in segments if s.is_ours), key=lambda c: c[len(_OURS) :][:1])
    if ours:
        bundle = b"".join(content[len(_OURS) + 2 :] for content in ours)
        texts |= split_bundle(bundle.decode("utf-8", "replace"))
    return texts


def exif_block(data: bytes) -> bytes:
    """The content of the first EXIF segment; b"" if there is none."""
    blocks = (segment.content for segment in _segments(data) if segment.is_exif)
    return next(blocks, b"")[len(_EXIF) :]


def strip_metadata(data: bytes) -> bytes:
    """The image without any text. Raises OutputError for a truncated file."""
    size(data)
    pieces = list(_pieces(data))
    blocks = (exif.keep_orientation(s.content[len(_EXIF) :]) for s, _ in pieces if s.is_exif)
    orientation = next((block for block in blocks if block), b"")
    kept = []
    for segment, scan in pieces:
        marker, content = segment.marker, segment.content
        is_profile = marker == _APP2 and content.startswith(_PROFILE)
        if marker == _APP0 and content.startswith(_JFIF) and len(content) >= _JFIF_BYTES:
            content = content[:_JFIF_BYTES] + b"\0\0"
        elif marker == _APP14 and content.startswith(_ADOBE):
            content = content[:_ADOBE_BYTES]
        elif marker not in _PIXEL_MARKERS and not is_profile:
            kept.append(scan)
            continue
        kept.append(_encode_segment(marker, content) + scan)
    first = next((n for n, (s, _) in enumerate(pieces) if s.marker != _APP0), 0)
    kept.insert(first, _encode_segment(_APP1, _EXIF + orientation) if orientation else b"")
    return b"".join((data[:2], *kept, _END_MARKER))


def strip_gps(data: bytes) -> bytes:
    """The same file without the place where it was taken."""
    pieces = list(_pieces(data))
    kept = []
    for segment, scan in pieces:
        marker, content = segment.marker, segment.content
        is_xmp = marker == _APP1 and content.startswith(_XMP)
        if segment.is_exif:
            block = exif.strip_gps(content[len(_EXIF) :])
            kept.append(_encode_segment(marker, _EXIF + block) if block else b"")
        elif not (is_xmp and b"GPS" in content.replace(b"\0", b"")):
            kept.append(_encode_segment(marker, content))
        kept.append(scan)
    last, scan = pieces[-1]
    rest = data[last.end + len(scan) :]
    if _EXIF in rest:  # of another image behind this one
        rest = _END_MARKER
    return b"".join((data[:2], *kept, rest))


def _pieces(data: bytes) -> Iterator[tuple[_Segment, bytes]]:
    """Every segment up to the end of the image, with the compressed pixels that follow it."""
    at = 2
    while data[at : at + 2] != _END_MARKER:
        segment = _segment_at(data, at)
        at = segment.end
        if segment.marker == _START_OF_SCAN:
            marker = _NEXT_MARKER.search(data, at)
            if marker is None:
                raise OutputError(f"the JPEG is cut short at byte {len(data)}")
            at = marker.start()
        yield segment, data[segment.end : at]


def _segments(data: bytes) -> Iterator[_Segment]:
    """Every segment up to the first scan; the lengths in the file are checked."""
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


def _encode_segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content

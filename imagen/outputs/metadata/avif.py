"""Metadata in AVIF files: in imagen's own box behind the image, and in the Exif item.

The boxes are those of ISO/IEC 14496-12, the items those of ISO/IEC 23008-12.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from imagen.errors import OutputError
from imagen.outputs.metadata import exif
from imagen.outputs.metadata.text_bundle import bundle_texts, split_bundle

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_OURS = bytes.fromhex("8d0c1be2a9c14f0e9b5a2f6e6d616765")
"""The type of imagen's `uuid` box; readers skip boxes that they do not know."""
_PIXEL_BOXES = frozenset((b"ftyp", b"meta", b"mdat"))
_METADATA = (b"Exif", b"mime", b"uri ")
_SKIP = b"skip"
"""The type of an item or a box that readers ignore."""
_DAMAGED = "the AVIF is damaged: a box leads out of it"


class _Box(NamedTuple):
    type: bytes
    start: int
    content: int
    """The start of its content."""
    end: int


class _Item(NamedTuple):
    type: bytes
    type_at: int
    """The position of its type."""
    start: int
    end: int


def size(data: bytes) -> tuple[int, int]:
    """Width and height. Raises OutputError if it is not an AVIF."""
    properties = _find_box(data, _find_box(data, _meta(data), b"iprp"), b"ipco")
    sizes = [
        (_number(data, box.content + 4, 4), _number(data, box.content + 8, 4))
        for box in _boxes(data, properties.content, properties.end)
        if box.type == b"ispe"
    ]
    if not sizes:
        raise OutputError("the AVIF has no size")
    return max(sizes)  # those of thumbnails and of the tiles of a grid are smaller


def write_texts(data: bytes, texts: Mapping[str, str]) -> tuple[bytes, str]:
    """The same file with these texts instead of its own; the Exif item stays as it is."""
    boxes = list(_boxes(data, 0, len(data)))
    kept = []
    for box in boxes:
        whole = data[box.start : box.end]
        if not any(whole[:4]):  # the last box may have no size
            whole = len(whole).to_bytes(4, "big") + whole[4:]
        if not _is_ours(data, box):
            kept.append(whole)
    content = _OURS + bundle_texts(texts).encode("utf-8", "backslashreplace")
    return b"".join((*kept, (len(content) + 8).to_bytes(4, "big"), b"uuid", content)), ""


def read_texts(data: bytes, wanted: Collection[str] = (), largest: int = 0) -> dict[str, str]:  # noqa: ARG001
    """All texts. Raises OutputError for a truncated or damaged file."""
    texts: dict[str, str] = {}
    if block := exif_block(data):
        with suppress(OutputError):  # a damaged block does not affect the image
            texts = exif.read_texts(block)
    for box in _boxes(data, 0, len(data)):
        if _is_ours(data, box):
            texts |= split_bundle(
                data[box.content + len(_OURS) : box.end].decode("utf-8", "replace")
            )
    return texts


def exif_block(data: bytes) -> bytes:
    """The content of the Exif item; b"" if there is none."""
    items = (item for item in _items(data) if item.type == b"Exif")
    return next((data[_tiff_start(data, item) : item.end] for item in items), b"")


def strip_metadata(data: bytes) -> bytes:
    """The image without any text. Raises OutputError for a truncated file.

    What cannot be removed without moving the pixels is overwritten with zeros. The orientation is
    a property of its own in this format.
    """
    boxes = list(_boxes(data, 0, len(data)))
    if any(box.type not in _PIXEL_BOXES | {b"uuid", b"free", _SKIP} for box in boxes):
        raise OutputError("the AVIF is an animation, or holds more than an image")
    body = bytearray(data)
    for item in _items(data):
        _blank(body, item)
    for box in boxes:
        if box.type not in _PIXEL_BOXES:
            body[box.start + 4 : box.start + 8] = _SKIP
            body[box.content : box.end] = bytes(box.end - box.content)
    return bytes(body[: max(box.end for box in boxes if box.type in _PIXEL_BOXES)])


def strip_gps(data: bytes) -> bytes:
    """The same file without the place where it was taken."""
    body = bytearray(data)
    for item in _items(data):
        if item.type == b"mime" and b"GPS" in data[item.start : item.end]:
            _blank(body, item)
        if item.type == b"Exif":
            start = _tiff_start(data, item)
            block = exif.strip_gps(data[start : item.end])
            if block:
                body[start : item.end] = block
            else:
                _blank(body, item)
    return bytes(body)


def _blank(body: bytearray, item: _Item) -> None:
    body[item.type_at : item.type_at + 4] = _SKIP
    body[item.start : item.end] = bytes(item.end - item.start)


def _tiff_start(data: bytes, item: _Item) -> int:
    """An Exif item starts with the distance to its header."""
    return item.start + 4 + _number(data, item.start, 4)


def _is_ours(data: bytes, box: _Box) -> bool:
    return box.type == b"uuid" and data.startswith(_OURS, box.content)


def _boxes(data: bytes, at: int, end: int) -> Iterator[_Box]:
    """Every box of this part of the file; the sizes in the file are checked."""
    while at < end:
        length, content = _number(data, at, 4), at + 8
        if length == 1:
            length, content = _number(data, at + 8, 8), at + 16
        if length == 0:
            length = end - at
        if at + length > end or content > at + length:
            raise OutputError(_DAMAGED)
        yield _Box(data[at + 4 : at + 8], at, content, at + length)
        at += length


def _meta(data: bytes) -> _Box:
    """The box with the items, after its version and flags."""
    for box in _boxes(data, 0, len(data)):
        if box.type == b"meta":
            return box._replace(content=box.content + 4)
    raise OutputError("the AVIF does not describe its image")


def _find_box(data: bytes, outer: _Box, kind: bytes) -> _Box:
    for box in _boxes(data, outer.content, outer.end):
        if box.type == kind:
            return box
    return _Box(kind, outer.end, outer.end, outer.end)


def _items(data: bytes) -> Iterator[_Item]:
    """Each item of metadata, and the position of its bytes."""
    meta = _meta(data)
    types: dict[int, int] = {}  # the position of the type of each item, by its number
    infos = _find_box(data, meta, b"iinf")
    if infos.content != infos.end:
        wide = 4 if data[infos.content] else 2
        for entry in _boxes(data, infos.content + 4 + wide, infos.end):
            id_bytes = 4 if _number(data, entry.content, 1) > 2 else 2
            types[_number(data, entry.content + 4, id_bytes)] = entry.content + 4 + id_bytes + 2
    inner = _find_box(data, meta, b"idat").content
    for id, is_inner, extents in _locations(data, _find_box(data, meta, b"iloc")):
        type_at = types.get(id, 0)
        kind = data[type_at : type_at + 4]
        if kind not in _METADATA:
            continue
        if len(extents) != 1:
            raise OutputError("the AVIF has metadata in several pieces")
        start, length = extents[0]
        start += inner if is_inner else 0
        if start + length > len(data):
            raise OutputError("the AVIF is damaged: an item leads out of it")
        yield _Item(kind, type_at, start, start + length)


def _locations(data: bytes, box: _Box) -> Iterator[tuple[int, bool, list[tuple[int, int]]]]:
    """For each item its number, whether it is in the `idat` box, and its pieces."""
    if box.content == box.end:
        return
    version, sizes = data[box.content], _number(data, box.content + 4, 2)
    offset_bytes, length_bytes, base_bytes = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_bytes = sizes & 15 if version else 0
    wide = 4 if version == 2 else 2
    at = box.content + 6

    def take(count: int) -> int:
        nonlocal at
        at += count
        if at > box.end:
            raise OutputError(_DAMAGED)
        return _number(data, at - count, count)

    for _ in range(take(wide)):
        id = take(wide)
        is_inner = bool(take(2) & 15) if version else False
        take(2)
        base = take(base_bytes)
        extents: list[tuple[int, int]] = []
        count = take(2)
        if count > 1 and not offset_bytes + length_bytes:
            raise OutputError(_DAMAGED)
        for _ in range(count):
            take(index_bytes)
            start = base + take(offset_bytes)
            extents.append((start, take(length_bytes)))
        yield id, is_inner, extents


def _number(data: bytes, at: int, count: int) -> int:
    """A big-endian number. Raises OutputError if the file ends before it."""
    if at + count > len(data):
        raise OutputError(f"the AVIF is cut short at byte {len(data)}")
    return int.from_bytes(data[at : at + count], "big")

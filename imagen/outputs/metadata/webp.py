"""Metadata in WebP files, chunk by chunk."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from imagen.errors import OutputError
from imagen.outputs.metadata import exif
from imagen.outputs.metadata.text_bundle import bundle_texts, split_bundle

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

_EXTENDED, _LOSSY, _LOSSLESS, _EXIF, _OURS = b"VP8X", b"VP8 ", b"VP8L", b"EXIF", b"IMGN"
_PIXEL_TYPES = frozenset((_EXTENDED, _LOSSY, _LOSSLESS, b"ICCP", b"ANIM", b"ANMF", b"ALPH"))
"""The chunks that must come before the metadata."""
_XMP, _FRAME = b"XMP ", b"ANMF"
_FRAME_HEAD = 16
_HAS_XMP, _HAS_EXIF, _HAS_ALPHA = 0x04, 0x08, 0x10
_LOSSY_START = b"\x9d\x01\x2a"
_LOSSLESS_START = 0x2F
_LARGEST_FILE = 2**32 - 10
_DAMAGED = "the WebP is damaged: its image has no header"


class _WebpChunk(NamedTuple):
    type: bytes
    content: bytes


def size(data: bytes) -> tuple[int, int]:
    """Width and height. Raises OutputError if it is not a WebP."""
    first = next(_chunks(data), _WebpChunk(b"", b""))
    if first.type != _EXTENDED:
        width, height, _ = _read_header(first)
        return width, height
    wide, high = first.content[4:7], first.content[7:10]
    return int.from_bytes(wide, "little") + 1, int.from_bytes(high, "little") + 1


def write_texts(data: bytes, texts: Mapping[str, str]) -> tuple[bytes, str]:
    """The same file with these texts instead of its own; the sentence says what did not fit.

    `parameters` is the user comment of the EXIF chunk; the others are in a chunk of imagen's own.
    A simple file becomes an extended one.
    """
    chunks = _extend([chunk for chunk in _chunks(data) if chunk.type != _OURS])
    old = next((chunk for chunk in chunks if chunk.type == _EXIF), None)
    before = _without_prefix(old.content) if old else b""
    block, problem = exif.try_write_comment(before, texts.get("parameters"))
    others = [chunk for chunk in chunks if chunk is not old]
    at = 1 + max(n for n, chunk in enumerate(others) if chunk.type in _PIXEL_TYPES)
    own = bundle_texts({name: text for name, text in texts.items() if name != "parameters"})
    ours = _WebpChunk(_OURS, own.encode("utf-8", "backslashreplace"))
    if not block:
        return _encode_file([_clear_flags(others[0], _HAS_EXIF), *others[1:], ours]), problem
    whole = [*others[:at], _WebpChunk(_EXIF, block), *others[at:], ours]
    return _encode_file(whole) + data[_end(data) :], problem


def read_texts(data: bytes, wanted: Collection[str] = (), largest: int = 0) -> dict[str, str]:  # noqa: ARG001
    """All texts. Raises OutputError for a truncated or damaged file."""
    texts: dict[str, str] = {}
    for chunk in _chunks(data):
        if chunk.type == _EXIF:
            texts |= exif.read_texts(_without_prefix(chunk.content))
        if chunk.type == _OURS:
            texts |= split_bundle(chunk.content.decode("utf-8", "replace"))
    return texts


def exif_block(data: bytes) -> bytes:
    """The content of the EXIF chunk; b"" if there is none."""
    blocks = (_without_prefix(c.content) for c in _chunks(data) if c.type == _EXIF)
    return next(blocks, b"")


def strip_metadata(data: bytes) -> bytes:
    """The image without any text. Raises OutputError for a truncated file."""
    size(data)
    chunks = list(_chunks(data))
    blocks = (exif.keep_orientation(_without_prefix(c.content)) for c in chunks if c.type == _EXIF)
    orientation = next((block for block in blocks if block), b"")
    kept: list[_WebpChunk] = []
    for chunk in chunks:
        if chunk.type == _FRAME:  # a frame of an animation may hold more than its pixels
            head, body = chunk.content[:_FRAME_HEAD], chunk.content[_FRAME_HEAD:]
            inner = (c for c in _chunks_in(body, 0, len(body)) if c.type in _PIXEL_TYPES)
            kept.append(_WebpChunk(_FRAME, head + _encode_chunks(inner)))
        elif chunk.type in _PIXEL_TYPES:
            kept.append(_clear_flags(chunk, _HAS_EXIF | _HAS_XMP))
    if orientation:
        kept = [*_extend(kept), _WebpChunk(_EXIF, orientation)]
    return _encode_file(kept)


def strip_gps(data: bytes) -> bytes:
    """The same file without the place where it was taken."""
    chunks = []
    for chunk in _chunks(data):
        if chunk.type == _EXIF:
            block = exif.strip_gps(_without_prefix(chunk.content))
            chunks += [_WebpChunk(_EXIF, block)] if block else []
        elif chunk.type != _XMP or b"GPS" not in chunk.content:
            chunks.append(chunk)
    present = {chunk.type for chunk in chunks if chunk.content}
    missing = (_HAS_EXIF if _EXIF not in present else 0) | (_HAS_XMP if _XMP not in present else 0)
    return _encode_file([_clear_flags(c, missing) for c in chunks]) + data[_end(data) :]


def _clear_flags(chunk: _WebpChunk, flags: int) -> _WebpChunk:
    """The extended header without these flags; any other chunk as it is."""
    if chunk.type != _EXTENDED or not chunk.content:
        return chunk
    return _WebpChunk(_EXTENDED, bytes((chunk.content[0] & ~flags,)) + chunk.content[1:])


def _chunks(data: bytes) -> Iterator[_WebpChunk]:
    return _chunks_in(data, 12, _end(data))


def _chunks_in(data: bytes, at: int, end: int) -> Iterator[_WebpChunk]:
    """Every chunk; the lengths in the file are checked."""
    while at + 8 <= end:
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + length > end:
            raise OutputError("the WebP is damaged: a chunk leads out of it")
        yield _WebpChunk(data[at : at + 4], data[at + 8 : at + 8 + length])
        at += 8 + length + length % 2


def _end(data: bytes) -> int:
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise OutputError(f"the WebP is cut short at byte {len(data)}")
    return end


def _extend(chunks: Sequence[_WebpChunk]) -> list[_WebpChunk]:
    """The chunks behind an extended header that announces an EXIF chunk."""
    first = chunks[0] if chunks else _WebpChunk(b"", b"")
    if first.type == _EXTENDED and len(first.content) >= 10:
        flags = bytes((first.content[0] | _HAS_EXIF,))
        return [_WebpChunk(_EXTENDED, flags + first.content[1:]), *chunks[1:]]
    width, height, has_alpha = _read_header(first)
    if not (width and height):
        raise OutputError(_DAMAGED)
    flags = bytes((_HAS_EXIF | (_HAS_ALPHA if has_alpha else 0), 0, 0, 0))
    sides = ((side - 1).to_bytes(3, "little") for side in (width, height))
    return [_WebpChunk(_EXTENDED, flags + b"".join(sides)), *chunks]


def _read_header(image: _WebpChunk) -> tuple[int, int, bool]:
    """Width, height, and whether there is an alpha channel, from the head of the bit stream."""
    content = image.content
    if image.type == _LOSSY and len(content) >= 10 and content[3:6] == _LOSSY_START:
        sides = (int.from_bytes(content[at : at + 2], "little") for at in (6, 8))
        width, height = (side & 0x3FFF for side in sides)  # the two bits above are a scaling hint
        return width, height, False
    if image.type == _LOSSLESS and len(content) >= 5 and content[0] == _LOSSLESS_START:
        bits = int.from_bytes(content[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
    raise OutputError(_DAMAGED)


def _without_prefix(block: bytes) -> bytes:
    """Without the prefix that only JPEG requires, and that some programs write here too."""
    return block.removeprefix(b"Exif\0\0")


def _encode_file(chunks: Sequence[_WebpChunk]) -> bytes:
    encoded = _encode_chunks(chunks)
    if len(encoded) > _LARGEST_FILE:
        raise OutputError("a WebP cannot hold that much text")
    return b"RIFF" + (len(encoded) + 4).to_bytes(4, "little") + b"WEBP" + encoded


def _encode_chunks(chunks: Iterable[_WebpChunk]) -> bytes:
    return b"".join(
        kind + len(content).to_bytes(4, "little") + content + b"\0" * (len(content) % 2)
        for kind, content in chunks
    )

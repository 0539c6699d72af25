"""Texts in WebP files: spliced in and read, chunk by chunk, without a look at the pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from imagen.errors import OutputError
from imagen.outputs.metadata import exif
from imagen.outputs.metadata.text_bundle import bundle_texts, split_bundle

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_EXTENDED, _LOSSY, _LOSSLESS, _EXIF, _OURS = b"VP8X", b"VP8 ", b"VP8L", b"EXIF", b"IMGN"
_PICTURE = frozenset((_EXTENDED, _LOSSY, _LOSSLESS, b"ICCP", b"ANIM", b"ANMF", b"ALPH"))
"""What must stand before the metadata."""
_XMP, _FRAME = b"XMP ", b"ANMF"
_FRAME_HEAD = 16
_HAS_XMP, _HAS_EXIF, _HAS_ALPHA = 0x04, 0x08, 0x10
_LOSSY_START = b"\x9d\x01\x2a"
_LOSSLESS_START = 0x2F
_LARGEST_FILE = 2**32 - 10
_DAMAGED = "the WebP is damaged: its picture has no header"


class _Chunk(NamedTuple):
    type: bytes
    content: bytes


class _Canvas(NamedTuple):
    width: int
    height: int
    alpha: bool


def size(data: bytes) -> tuple[int, int]:
    """Width and height; raises OutputError for what is no WebP."""
    first = next(_chunks(data), _Chunk(b"", b""))
    if first.type != _EXTENDED:
        return _canvas(first)[:2]
    wide, high = first.content[4:7], first.content[7:10]
    return int.from_bytes(wide, "little") + 1, int.from_bytes(high, "little") + 1


def with_texts(data: bytes, texts: Mapping[str, str]) -> tuple[bytes, str]:
    """The same file with these texts in place of its own, and a sentence about what did not fit.

    `parameters` is the user comment of the EXIF chunk; the others are in a chunk of imagen's own. A
    simple file becomes an extended one.
    """
    chunks = _extended([chunk for chunk in _chunks(data) if chunk.type != _OURS])
    old = next((chunk for chunk in chunks if chunk.type == _EXIF), None)
    block, problem = _exif_block(old, texts.get("parameters"))
    others = [chunk for chunk in chunks if chunk is not old]
    at = 1 + max(n for n, chunk in enumerate(others) if chunk.type in _PICTURE)
    own = bundle_texts({name: text for name, text in texts.items() if name != "parameters"})
    entry = _Chunk(_OURS, own.encode("utf-8", "backslashreplace"))
    if not block:
        return _file([_with_flags_off(others[0], _HAS_EXIF), *others[1:], entry]), problem
    whole = [*others[:at], _Chunk(_EXIF, block), *others[at:], entry]
    return _file(whole) + data[_end(data) :], problem


def texts(data: bytes) -> dict[str, str]:
    """All the texts; raises OutputError for a file that is cut short or damaged."""
    found: dict[str, str] = {}
    for chunk in _chunks(data):
        if chunk.type == _EXIF:
            found |= exif.texts(_bare(chunk.content))
        if chunk.type == _OURS:
            found |= split_bundle(chunk.content.decode("utf-8", "replace"))
    return found


def exif_block(data: bytes) -> bytes:
    """What the file's EXIF chunk holds; b"" where there is none."""
    return next((_bare(chunk.content) for chunk in _chunks(data) if chunk.type == _EXIF), b"")


def strip_metadata(data: bytes) -> bytes:
    """The picture alone, without a word; raises OutputError for a file that is cut short."""
    size(data)
    chunks = list(_chunks(data))
    held = (exif.keep_orientation(_bare(c.content)) for c in chunks if c.type == _EXIF)
    way = next((block for block in held if block), b"")
    kept = [_bare_chunk(chunk) for chunk in chunks if chunk.type in _PICTURE]
    return _file([*_extended(kept), _Chunk(_EXIF, way)] if way else kept)


def strip_gps(data: bytes) -> bytes:
    """The same file, but nothing in it tells where on earth it was taken."""
    chunks = [_placeless(chunk) for chunk in _chunks(data) if not _is_placed_xmp(chunk)]
    there = {chunk.type for chunk in chunks if chunk.content}
    lacking = (_HAS_EXIF if _EXIF not in there else 0) | (_HAS_XMP if _XMP not in there else 0)
    kept = (_with_flags_off(c, lacking) for c in chunks if c.content or c.type != _EXIF)
    return _file(list(kept)) + data[_end(data) :]


def _bare_chunk(chunk: _Chunk) -> _Chunk:
    """Without what a frame of an animation may hold besides its pixels."""
    if chunk.type != _FRAME:
        return _with_flags_off(chunk, _HAS_EXIF | _HAS_XMP)
    head, body = chunk.content[:_FRAME_HEAD], chunk.content[_FRAME_HEAD:]
    inner = (c for c in _chunks_in(body, 0, len(body)) if c.type in _PICTURE)
    return _Chunk(_FRAME, head + _packed(inner))


def _with_flags_off(chunk: _Chunk, flags: int) -> _Chunk:
    """The header without these; any other chunk as it is."""
    if chunk.type != _EXTENDED or not chunk.content:
        return chunk
    return _Chunk(_EXTENDED, bytes((chunk.content[0] & ~flags,)) + chunk.content[1:])


def _placeless(chunk: _Chunk) -> _Chunk:
    is_exif = chunk.type == _EXIF
    return _Chunk(_EXIF, exif.strip_gps(_bare(chunk.content))) if is_exif else chunk


def _is_placed_xmp(chunk: _Chunk) -> bool:
    return chunk.type == _XMP and b"GPS" in chunk.content


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """Every chunk; the lengths that the file claims are checked."""
    return _chunks_in(data, 12, _end(data))


def _chunks_in(data: bytes, at: int, end: int) -> Iterator[_Chunk]:
    while at + 8 <= end:
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + length > end:
            raise OutputError("the WebP is damaged: a chunk leads out of it")
        yield _Chunk(data[at : at + 4], data[at + 8 : at + 8 + length])
        at += 8 + length + length % 2


def _end(data: bytes) -> int:
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise OutputError(f"the WebP is cut short at byte {len(data)}")
    return end


def _extended(chunks: Sequence[_Chunk]) -> list[_Chunk]:
    """The chunks behind an extended header that announces an EXIF chunk."""
    first = chunks[0] if chunks else _Chunk(b"", b"")
    if first.type == _EXTENDED and len(first.content) >= 10:
        flags = bytes((first.content[0] | _HAS_EXIF,))
        return [_Chunk(_EXTENDED, flags + first.content[1:]), *chunks[1:]]
    return [_header(_canvas(first)), *chunks]


def _header(canvas: _Canvas) -> _Chunk:
    if not (canvas.width and canvas.height):
        raise OutputError(_DAMAGED)
    flags = _HAS_EXIF | (_HAS_ALPHA if canvas.alpha else 0)
    sides = ((side - 1).to_bytes(3, "little") for side in canvas[:2])
    return _Chunk(_EXTENDED, bytes((flags, 0, 0, 0)) + b"".join(sides))


def _canvas(picture: _Chunk) -> _Canvas:
    """Its size and whether it has an alpha channel, as the head of the bit stream says."""
    content = picture.content
    if picture.type == _LOSSY and len(content) >= 10 and content[3:6] == _LOSSY_START:
        wide, high = content[6:8], content[8:10]
        side = 0x3FFF  # the two bits above are a hint for scaling
        return _Canvas(
            int.from_bytes(wide, "little") & side, int.from_bytes(high, "little") & side, False
        )
    if picture.type == _LOSSLESS and len(content) >= 5 and content[0] == _LOSSLESS_START:
        bits = int.from_bytes(content[1:5], "little")
        return _Canvas((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1))
    raise OutputError(_DAMAGED)


def _exif_block(old: _Chunk | None, text: str | None) -> tuple[bytes, str]:
    """The EXIF block with the comment; where that can't be, the old one and a sentence."""
    before = _bare(old.content) if old else b""
    if text is None:
        return before, ""
    try:
        return exif.write_comment(before, text), ""
    except OutputError as error:
        return before, f"`parameters` was left out of the picture: {error.message}."


def _bare(block: bytes) -> bytes:
    """Without the prefix that only JPEG asks for, and that some writers put here too."""
    return block.removeprefix(b"Exif\0\0")


def _file(chunks: Sequence[_Chunk]) -> bytes:
    packed = _packed(chunks)
    if len(packed) > _LARGEST_FILE:
        raise OutputError("a WebP can't hold that much text")
    return b"RIFF" + (len(packed) + 4).to_bytes(4, "little") + b"WEBP" + packed


def _packed(chunks: Iterable[_Chunk]) -> bytes:
    return b"".join(
        kind + len(content).to_bytes(4, "little") + content + b"\0" * (len(content) % 2)
        for kind, content in chunks
    )

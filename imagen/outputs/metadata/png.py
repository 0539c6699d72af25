"""Texts in PNG files: spliced in and read, chunk by chunk, without a look at the pixels."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, NamedTuple

from imagen.errors import OutputError
from imagen.outputs.metadata import exif

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXT_TYPES = (b"tEXt", b"zTXt", b"iTXt")
_EXIF = b"eXIf"
_PICTURE = frozenset(
    (
        *(b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"acTL", b"fcTL", b"fdAT"),
        *(b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"cLLI", b"sBIT", b"bKGD", b"pHYs"),
    )
)
"""What it takes to see the picture as it is meant to be."""
_XMP = "XML:com.adobe.xmp"
_WRAPPED = "Raw profile type "
"""How older tools put EXIF, XMP and IPTC into a text."""
_LONGEST_KEYWORD = 79
LARGEST_TEXT = 16 * 2**20
_SIZE_AT = 16
"""Where the width stands: after the signature, and the length and type of the first chunk."""


class _Chunk(NamedTuple):
    type: bytes
    start: int
    end: int


def size(data: bytes) -> tuple[int, int]:
    """Width and height; raises OutputError for what is no PNG."""
    next(_chunks(data))
    at = _SIZE_AT
    return int.from_bytes(data[at : at + 4], "big"), int.from_bytes(data[at + 4 : at + 8], "big")


def with_texts(data: bytes, texts: Mapping[str, str]) -> bytes:
    """The same file with these texts right after its header, in place of any of the same names."""
    view = memoryview(data)
    header, *others = _chunks(data)
    kept = (c for c in others if c.type not in _TEXT_TYPES or _keyword(data, c) not in texts)
    new = (_text_chunk(keyword, text) for keyword, text in texts.items())
    rest = view[others[-1].end :]
    return b"".join((view[: header.end], *new, *(view[c.start : c.end] for c in kept), rest))


def texts(data: bytes, wanted: Collection[str], *, largest: int = LARGEST_TEXT) -> dict[str, str]:
    """The texts of these names. Raises OutputError for a file cut short or damaged in them.

    So also for a text that is larger than `largest` bytes once it is unpacked.
    """
    found: dict[str, str] = {}
    hidden: dict[str, str] = {}
    for chunk in _chunks(data):
        if chunk.type == _EXIF:
            hidden |= _texts_of_exif(_content(data, chunk))
        if chunk.type not in _TEXT_TYPES:
            continue
        keyword = _keyword(data, chunk)
        if keyword in wanted and keyword not in found:
            found[keyword] = _text(data, chunk, largest)
    return hidden | found


def exif_block(data: bytes) -> bytes:
    """What the file's EXIF chunk holds; b"" where there is none."""
    blocks = (_content(data, chunk) for chunk in _chunks(data) if chunk.type == _EXIF)
    return next(blocks, b"").removeprefix(b"Exif\0\0")


def _texts_of_exif(block: bytes) -> dict[str, str]:
    """The texts of an EXIF chunk; its user comment may be anything."""
    try:
        texts = exif.texts(block.removeprefix(b"Exif\0\0"))
    except OutputError:
        return {}
    return {"comment" if name == "parameters" else name: text for name, text in texts.items()}


def strip_metadata(data: bytes) -> bytes:
    """The picture alone, without a word; raises OutputError for a file that is cut short."""
    header, *others = _chunks(data)
    held = (exif.keep_orientation(_content(data, c)) for c in others if c.type == _EXIF)
    way = next((block for block in held if block), b"")
    kept = (data[c.start : c.end] for c in others if c.type in _PICTURE)
    return b"".join((data[: header.end], _chunk(_EXIF, way) if way else b"", *kept))


def strip_gps(data: bytes) -> bytes:
    """The same file, but nothing in it tells where on earth it was taken."""
    chunks = list(_chunks(data))
    kept = (_placeless(data, chunk) for chunk in chunks)
    return b"".join((SIGNATURE, *kept, data[chunks[-1].end :]))


def _placeless(data: bytes, chunk: _Chunk) -> bytes:
    if chunk.type == _EXIF:
        block = exif.strip_gps(_content(data, chunk))
        return _chunk(_EXIF, block) if block else b""
    keyword = _keyword(data, chunk) if chunk.type in _TEXT_TYPES else ""
    if keyword.startswith(_WRAPPED) or (keyword == _XMP and "GPS" in _text(data, chunk)):
        return b""
    return data[chunk.start : chunk.end]


def _content(data: bytes, chunk: _Chunk) -> bytes:
    return data[chunk.start + 8 : chunk.end - 4]


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content).to_bytes(4, "big")
    return len(content).to_bytes(4, "big") + kind + content + check


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """Every chunk up to the end's; the lengths that the file claims are checked."""
    at = len(SIGNATURE)
    kind = b""
    while kind != b"IEND":
        length = int.from_bytes(data[at : at + 4], "big")
        end = at + length + 12
        if at + 12 > len(data) or end > len(data):
            raise OutputError(f"the PNG is cut short at byte {len(data)}")
        kind = data[at + 4 : at + 8]
        if (at == len(SIGNATURE)) != (kind == b"IHDR" and length == 13):
            raise OutputError("the PNG does not start with its header")
        yield _Chunk(kind, at, end)
        at = end


def _keyword(data: bytes, chunk: _Chunk) -> str:
    start = chunk.start + 8
    end = data.find(b"\0", start, min(start + _LONGEST_KEYWORD + 1, chunk.end - 4))
    return data[start:end].decode("latin-1") if end >= 0 else ""


def _text_chunk(keyword: str, text: str) -> bytes:
    """A `tEXt` chunk, or an `iTXt` one where Latin-1 can't hold the text, or would be misread."""
    try:
        kind, body = b"tEXt", b"\0" + text.encode("latin-1")
    except UnicodeEncodeError:
        kind, body = b"iTXt", b""
    if kind == b"iTXt" or _latin(body[1:]) != text:
        kind, body = b"iTXt", b"\0\0\0\0\0" + text.encode("utf-8", "backslashreplace")
    return _chunk(kind, keyword.encode("latin-1") + body)


def _text(data: bytes, chunk: _Chunk, largest: int = LARGEST_TEXT) -> str:
    content = data[chunk.start + 4 : chunk.end - 4]
    if zlib.crc32(content) != int.from_bytes(data[chunk.end - 4 : chunk.end], "big"):
        raise OutputError("the PNG is damaged: the checksum of a text in it is wrong")
    body = content[content.index(b"\0") + 1 :]
    if chunk.type == b"tEXt":
        return _latin(body)
    if chunk.type == b"zTXt":
        return _latin(_inflated(body[1:], largest))
    return _international(body, largest)


def _latin(raw: bytes) -> str:
    """By the standard this is Latin-1; many programs write UTF-8, which Latin-1 seldom is."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _international(body: bytes, largest: int) -> str:
    """The text of an `iTXt` chunk, behind its flags, language and translated keyword."""
    parts = body[2:].split(b"\0", 2)
    if len(parts) < 3:
        raise OutputError("the PNG is damaged: a text in it has no beginning")
    raw = _inflated(parts[2], largest) if body[0] else parts[2]
    return raw.decode("utf-8", "replace")


def _inflated(packed: bytes, largest: int) -> bytes:
    """Unpacked, but never to more than a text may have: a few bytes can claim gigabytes."""
    unpacking = zlib.decompressobj()
    try:
        raw = unpacking.decompress(packed, largest)
    except zlib.error as error:
        raise OutputError("the PNG is damaged: a text in it can't be unpacked") from error
    if not unpacking.eof:
        limit = f"{largest >> 20} MB"
        raise OutputError(f"the PNG is damaged: a text in it is larger than {limit}, or cut short")
    return raw

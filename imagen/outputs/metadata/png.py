"""Metadata in PNG files, chunk by chunk."""

from __future__ import annotations

import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from imagen.errors import OutputError
from imagen.outputs.metadata import exif

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXT_TYPES = (b"tEXt", b"zTXt", b"iTXt")
_EXIF = b"eXIf"
_PIXEL_TYPES = frozenset(
    (
        *(b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"acTL", b"fcTL", b"fdAT"),
        *(b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"cLLI", b"sBIT", b"bKGD", b"pHYs"),
    )
)
"""The chunks that are needed to show the image correctly."""
_XMP = "XML:com.adobe.xmp"
_RAW_PROFILE = "Raw profile type "
"""The keyword under which older programs store EXIF, XMP and IPTC as text."""
_LONGEST_KEYWORD = 79
LARGEST_TEXT = 16 * 2**20
_SIZE_AT = 16
"""The position of the width: after the signature, and the length and type of the first chunk."""


class _PngChunk(NamedTuple):
    type: bytes
    start: int
    end: int


def size(data: bytes) -> tuple[int, int]:
    """Width and height. Raises OutputError if it is not a PNG."""
    next(_chunks(data))
    at = _SIZE_AT
    return int.from_bytes(data[at : at + 4], "big"), int.from_bytes(data[at + 4 : at + 8], "big")


def write_texts(data: bytes, texts: Mapping[str, str]) -> tuple[bytes, str]:
    """The same file with these texts right after its header, replacing any of the same names."""
    view = memoryview(data)
    header, *others = _chunks(data)
    kept = (c for c in others if c.type not in _TEXT_TYPES or _keyword(data, c) not in texts)
    new = []
    for keyword, text in texts.items():
        # A `tEXt` chunk, unless Latin-1 cannot hold the text or would be misread as UTF-8.
        kind, body = b"iTXt", b"\0\0\0\0\0" + text.encode("utf-8", "backslashreplace")
        with suppress(UnicodeEncodeError):
            latin = text.encode("latin-1")
            if _decode_latin(latin) == text:
                kind, body = b"tEXt", b"\0" + latin
        new.append(_encode_chunk(kind, keyword.encode("latin-1") + body))
    rest = view[others[-1].end :]
    return b"".join((view[: header.end], *new, *(view[c.start : c.end] for c in kept), rest)), ""


def read_texts(data: bytes, wanted: Collection[str], largest: int = LARGEST_TEXT) -> dict[str, str]:
    """The wanted texts. Raises OutputError for a file that is truncated or damaged in them.

    Also for a text that is larger than `largest` bytes when it is decompressed.
    """
    texts: dict[str, str] = {}
    exif_texts: dict[str, str] = {}
    for chunk in _chunks(data):
        if chunk.type == _EXIF:
            with suppress(OutputError):
                exif_texts |= exif.read_texts(_content(data, chunk).removeprefix(b"Exif\0\0"))
        if chunk.type in _TEXT_TYPES:
            keyword = _keyword(data, chunk)
            if keyword in wanted and keyword not in texts:
                texts[keyword] = _decode_text(data, chunk, largest)
    if "parameters" in exif_texts:  # in a PNG the user comment may be from any program
        exif_texts["comment"] = exif_texts.pop("parameters")
    return exif_texts | texts


def exif_block(data: bytes) -> bytes:
    """The content of the EXIF chunk; b"" if there is none."""
    blocks = (_content(data, chunk) for chunk in _chunks(data) if chunk.type == _EXIF)
    return next(blocks, b"").removeprefix(b"Exif\0\0")


def strip_metadata(data: bytes) -> bytes:
    """The image without any text. Raises OutputError for a truncated file."""
    header, *others = _chunks(data)
    blocks = (exif.keep_orientation(_content(data, c)) for c in others if c.type == _EXIF)
    orientation = next((block for block in blocks if block), b"")
    kept = (data[c.start : c.end] for c in others if c.type in _PIXEL_TYPES)
    new = _encode_chunk(_EXIF, orientation) if orientation else b""
    return b"".join((data[: header.end], new, *kept))


def strip_gps(data: bytes) -> bytes:
    """The same file without the place where it was taken."""
    chunks = list(_chunks(data))
    kept = []
    for chunk in chunks:
        keyword = _keyword(data, chunk) if chunk.type in _TEXT_TYPES else ""
        if chunk.type == _EXIF:
            block = exif.strip_gps(_content(data, chunk))
            kept.append(_encode_chunk(_EXIF, block) if block else b"")
        elif not keyword.startswith(_RAW_PROFILE) and not (
            keyword == _XMP and "GPS" in _decode_text(data, chunk, LARGEST_TEXT)
        ):
            kept.append(data[chunk.start : chunk.end])
    return b"".join((SIGNATURE, *kept, data[chunks[-1].end :]))


def _chunks(data: bytes) -> Iterator[_PngChunk]:
    """Every chunk up to IEND; the lengths in the file are checked."""
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
        yield _PngChunk(kind, at, end)
        at = end


def _content(data: bytes, chunk: _PngChunk) -> bytes:
    return data[chunk.start + 8 : chunk.end - 4]


def _encode_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content).to_bytes(4, "big")
    return len(content).to_bytes(4, "big") + kind + content + checksum


def _keyword(data: bytes, chunk: _PngChunk) -> str:
    start = chunk.start + 8
    end = data.find(b"\0", start, min(start + _LONGEST_KEYWORD + 1, chunk.end - 4))
    return data[start:end].decode("latin-1") if end >= 0 else ""


def _decode_text(data: bytes, chunk: _PngChunk, largest: int) -> str:
    content = data[chunk.start + 4 : chunk.end - 4]
    if zlib.crc32(content) != int.from_bytes(data[chunk.end - 4 : chunk.end], "big"):
        raise OutputError("the PNG is damaged: the checksum of a text in it is wrong")
    body = content[content.index(b"\0") + 1 :]
    if chunk.type == b"tEXt":
        return _decode_latin(body)
    if chunk.type == b"zTXt":
        return _decode_latin(_inflate(body[1:], largest))
    parts = body[2:].split(b"\0", 2)  # language, translated keyword, text
    if len(parts) < 3:
        raise OutputError("the PNG is damaged: a text in it has no beginning")
    raw = _inflate(parts[2], largest) if body[0] else parts[2]
    return raw.decode("utf-8", "replace")


def _decode_latin(raw: bytes) -> str:
    """By the standard this is Latin-1; many programs write UTF-8, which Latin-1 seldom is."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _inflate(packed: bytes, largest: int) -> bytes:
    """Decompress up to the limit: a few bytes can claim to be gigabytes."""
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(packed, largest)
    except zlib.error as error:
        raise OutputError("the PNG is damaged: a text in it cannot be decompressed") from error
    if not inflater.eof:
        limit = f"{largest >> 20} MB"
        raise OutputError(f"the PNG is damaged: a text in it is larger than {limit}, or cut short")
    return raw

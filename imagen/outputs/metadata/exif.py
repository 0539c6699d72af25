"""EXIF blocks: the user comment, ComfyUI's graphs, the orientation, and no GPS data."""

from __future__ import annotations

from struct import calcsize, pack, unpack_from
from struct import error as StructError
from typing import TYPE_CHECKING, NamedTuple

from imagen.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Mapping

_EMPTY = b"MM\x00*\x00\x00\x00\x00"
_BYTE_ORDERS = {b"II*\x00": "<", b"MM\x00*": ">"}
_EXIF_POINTER = 0x8769
_EXIF_VERSION = 0x9000
_USER_COMMENT = 0x9286
_CAPTURE_TAGS = (0x9003, 0x9011)
"""The time, and its time zone."""
_ORIENTATION = 0x0112
_UPRIGHT = 1
_GPS_POINTER = 0x8825
_COMFY_TAGS = range(0x0100, 0x0111)
"""ComfyUI writes `prompt:{…}` as the camera's model, and further texts into the tags below it; one
of its nodes writes `Prompt: {…}`."""
_MODEL = 0x0110
_COMFY_WRITES = {"prompt": _MODEL, "workflow": 0x010F}
_ASCII, _SHORT, _LONG, _UNDEFINED = 2, 3, 4, 7
_ITEM_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_ENTRY = "HHI4s"
_ENTRY_BYTES = 12
_MOST_ENTRIES = 0xFFFF


class _Directory(NamedTuple):
    entries: dict[int, bytes]
    """The raw entries by tag: tag, type, count, and value or offset."""
    following: int
    """The offset of the next directory; 0 if there is none."""


class _Block(NamedTuple):
    """A block with its main directory and the EXIF directory that it points to."""

    order: str
    first: int
    main: _Directory
    exif: _Directory
    exif_at: int


def _parse(tiff: bytes) -> _Block:
    """Raises OutputError for a damaged block."""
    order = _BYTE_ORDERS.get(tiff[:4])
    if order is None or len(tiff) < len(_EMPTY):
        raise OutputError("the EXIF block is damaged: it has no header")
    (first,) = unpack_from(f"{order}I", tiff, 4)
    main = _read_directory(tiff, order, first)
    pointer = main.entries.get(_EXIF_POINTER)
    exif_at = int(unpack_from(f"{order}I", pointer, 8)[0]) if pointer else 0
    return _Block(order, first, main, _read_directory(tiff, order, exif_at), exif_at)


def try_write_comment(
    tiff: bytes, text: str | None, *, largest: int | None = None
) -> tuple[bytes, str]:
    """The block with this comment; if that is impossible, the old block and a sentence."""
    if text is None:
        return tiff, ""
    try:
        block = write_comment(tiff, text)
    except OutputError as error:
        return tiff, f"`parameters` was not written into the image: {error.message}."
    if largest is not None and len(block) > largest:
        return (
            tiff,
            "`parameters` was not written into the image: a JPEG holds at most 64 kB of it.",
        )
    return block, ""


def write_comment(tiff: bytes, text: str) -> bytes:
    """This block (b"" for a new one) with `text` as its user comment.

    Everything stays where it was, so that offsets remain valid; the changed directories are
    appended. Raises OutputError for a damaged block.
    """
    body = tiff or _EMPTY
    block = _parse(body)
    order, main, exif = block.order, block.main.entries, block.exif.entries
    comment = b"UNICODE\0" + text.encode("utf-16-be", "replace")
    body, at = _append(body, comment)
    exif[_USER_COMMENT] = _encode_entry(order, _USER_COMMENT, _UNDEFINED, len(comment), at)
    exif.setdefault(_EXIF_VERSION, pack(f"{order}{_ENTRY}", _EXIF_VERSION, _UNDEFINED, 4, b"0232"))
    body, at = _append(body, _encode_directory(block.exif, order))
    main[_EXIF_POINTER] = _encode_entry(order, _EXIF_POINTER, _LONG, 1, at)
    return _with_main(body, order, block.main)


def write_graphs(tiff: bytes, graphs: Mapping[str, str]) -> bytes:
    """This block (b"" for a new one) with `prompt` and `workflow` where ComfyUI writes them.

    Raises OutputError for a damaged block.
    """
    body = tiff or _EMPTY
    block = _parse(body)
    for name, text in graphs.items():
        value = f"{name}:{text}".encode("utf-8", "backslashreplace") + b"\0"
        body, at = _append(body, value)
        tag = _COMFY_WRITES[name]
        block.main.entries[tag] = _encode_entry(block.order, tag, _ASCII, len(value), at)
    return _with_main(body, block.order, block.main)


def _with_main(body: bytes, order: str, main: _Directory) -> bytes:
    body, at = _append(body, _encode_directory(main, order))
    return body[:4] + pack(f"{order}I", at) + body[8:]


def read_texts(tiff: bytes) -> dict[str, str]:
    """The user comment as `parameters`, and what ComfyUI wrote, by its own names."""
    block = _parse(tiff)
    texts: dict[str, str] = {}
    for tag, entry in block.main.entries.items():
        if tag not in _COMFY_TAGS or unpack_from(f"{block.order}H", entry, 2)[0] != _ASCII:
            continue
        raw = _read_value(tiff, block.order, entry).rstrip(b"\0").decode("utf-8", "replace")
        name, colon, text = raw.partition(":")
        if tag == _MODEL and raw.startswith("{"):  # of old versions of SwarmUI
            texts["parameters"] = raw
        elif colon and text.lstrip().startswith("{"):
            texts[name.strip().lower()] = text.lstrip()
    comment = block.exif.entries.get(_USER_COMMENT, block.main.entries.get(_USER_COMMENT))
    if comment:
        texts["parameters"] = _decode_comment(_read_value(tiff, block.order, comment))
    return texts


def capture_time(tiff: bytes) -> tuple[str, str]:
    """When the image was taken, `2025:11:21 08:30:05`, and its time zone; "" for unknown.

    Raises OutputError for a damaged block.
    """
    block = _parse(tiff)
    entries = block.exif.entries
    values = (
        _read_value(tiff, block.order, entries[tag]) if tag in entries else b""
        for tag in _CAPTURE_TAGS
    )
    time, zone = (value.strip(b"\0 ").decode("latin-1") for value in values)
    return time, zone


def keep_orientation(tiff: bytes) -> bytes:
    """A block with only the orientation; b"" if the image is upright, or the block damaged."""
    try:
        block = _parse(tiff)
    except OutputError:
        return b""
    entry = block.main.entries.get(_ORIENTATION)
    orientation = unpack_from(f"{block.order}H", entry, 8)[0] if entry else _UPRIGHT
    if orientation not in range(_UPRIGHT + 1, 9):
        return b""
    new = pack(">HHIHH", _ORIENTATION, _SHORT, 1, orientation, 0)
    directory = _encode_directory(_Directory({_ORIENTATION: new}, 0), ">")
    return _EMPTY[:4] + pack(">I", len(_EMPTY)) + directory


def strip_gps(tiff: bytes) -> bytes:
    """The block with zeros in place of all GPS data; b"" for a damaged block."""
    try:
        block = _parse(tiff)
        body = tiff
        for at in (block.first, block.exif_at, block.main.following):
            body = _erase_gps(body, block.order, at)
    except OutputError:
        return b""
    return body


def _erase_gps(tiff: bytes, order: str, at: int) -> bytes:
    """Erase the GPS directory that the directory at `at` points to; nothing else moves."""
    directory = _read_directory(tiff, order, at)
    pointer = directory.entries.pop(_GPS_POINTER, None)
    if pointer is None:
        return tiff
    body = bytearray(tiff)
    (gps_at,) = unpack_from(f"{order}I", pointer, 8)
    entries = _read_directory(tiff, order, gps_at).entries.values()
    extents = [(gps_at, 2 + len(entries) * _ENTRY_BYTES + 4)]
    for entry in entries:
        _, kind, count, value = unpack_from(f"{order}HHII", entry)
        length = _ITEM_BYTES.get(kind, 1) * count
        if length > calcsize("4s"):  # the entry holds the offset of its value
            extents.append((value, length))
    for start, length in extents:
        body[start : start + length] = bytes(len(body[start : start + length]))
    encoded = _encode_directory(directory, order)
    body[at : at + len(encoded) + _ENTRY_BYTES] = encoded + bytes(_ENTRY_BYTES)
    return bytes(body)


def _read_directory(tiff: bytes, order: str, at: int) -> _Directory:
    if at == 0:
        return _Directory({}, 0)
    try:
        (count,) = unpack_from(f"{order}H", tiff, at)
        starts = range(at + 2, at + 2 + count * _ENTRY_BYTES, _ENTRY_BYTES)
        entries = [tiff[start : start + _ENTRY_BYTES] for start in starts]
        (following,) = unpack_from(f"{order}I", tiff, starts.stop)
    except StructError as error:
        raise OutputError("the EXIF block is damaged: a directory leads out of it") from error
    return _Directory({unpack_from(f"{order}H", e)[0]: e for e in entries}, following)


def _encode_directory(directory: _Directory, order: str) -> bytes:
    entries = [directory.entries[tag] for tag in sorted(directory.entries)]
    if len(entries) > _MOST_ENTRIES:
        raise OutputError("the EXIF block is full")
    count = pack(f"{order}H", len(entries))
    return count + b"".join(entries) + pack(f"{order}I", directory.following)


def _encode_entry(order: str, tag: int, kind: int, count: int, value: int) -> bytes:
    return pack(f"{order}HHII", tag, kind, count, value)


def _append(body: bytes, more: bytes) -> tuple[bytes, int]:
    """Both, and the offset of the second: an even one, as the format requires."""
    body += b"\0" * (len(body) % 2)
    return body + more, len(body)


def _read_value(tiff: bytes, order: str, entry: bytes) -> bytes:
    """The bytes of an entry with items of one byte; a wrong length gives fewer."""
    _, _, count, raw = unpack_from(f"{order}{_ENTRY}", entry)
    if count <= calcsize("4s"):
        return bytes(raw[:count])
    (at,) = unpack_from(f"{order}I", raw)
    return tiff[at : at + count]


def _decode_comment(raw: bytes) -> str:
    """The text behind its eight bytes of encoding; some programs omit these."""
    if not raw.startswith(b"UNICODE\0"):
        text = raw.removeprefix(b"ASCII\0\0\0").removeprefix(b"\0" * 8)
        return text.rstrip(b"\0 ").decode("utf-8", "replace")
    raw = raw[8:]
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", "replace")
    # The standard leaves the byte order open: the half with more zeros is the upper one.
    big = raw[0::2].count(0) >= raw[1::2].count(0)
    return raw.decode("utf-16-be" if big else "utf-16-le", "replace").rstrip("\0")

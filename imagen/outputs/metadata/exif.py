"""The user comment of an EXIF block, added and read; how to hold the picture; and no place."""

from __future__ import annotations

from struct import calcsize, pack, unpack_from
from struct import error as StructError
from typing import TYPE_CHECKING, NamedTuple

from imagen.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_EMPTY = b"MM\x00*\x00\x00\x00\x00"
_BYTE_ORDERS = {b"II*\x00": "<", b"MM\x00*": ">"}
_EXIF_POINTER = 0x8769
_EXIF_VERSION = 0x9000
_USER_COMMENT = 0x9286
_TAKEN = (0x9003, 0x9011)
"""The time, and its time zone."""
_ORIENTATION = 0x0112
_UPRIGHT = 1
_PLACE_POINTER = 0x8825
"""Where on earth the picture was taken: a directory of its own."""
_COMFY_TAGS = range(0x0100, 0x0111)
"""ComfyUI writes `prompt:{…}` as the camera's model, and further names into the tags below it; one
of its nodes `Prompt: {…}`."""
_MODEL = 0x0110
_COMFY_WRITES = {"prompt": _MODEL, "workflow": 0x010F}
_ASCII, _SHORT, _LONG, _UNDEFINED = 2, 3, 4, 7
_ITEM_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_ENTRY = "HHI4s"
_ENTRY_BYTES = 12
_MOST_ENTRIES = 0xFFFF


class _Directory(NamedTuple):
    entries: dict[int, bytes]
    """By tag, each as it stands in the file: tag, type, count, and value or offset."""
    following: int
    """Where the next directory is; 0 for none."""


def write_comment(tiff: bytes, text: str) -> bytes:
    """This EXIF block (b"" for a fresh one) with `text` as its user comment.

    All that was there stays where it was, so that offsets into it hold; the changed directories
    are appended. Raises OutputError for a block that can't be read.
    """
    body = tiff or _EMPTY
    order, first = _header(body)
    main = _directory(body, order, first)
    exif = _directory(body, order, _pointed(main, order))
    comment = b"UNICODE\0" + text.encode("utf-16-be", "replace")
    body, at = _appended(body, comment)
    exif.entries[_USER_COMMENT] = _entry(order, _USER_COMMENT, _UNDEFINED, len(comment), at)
    exif.entries.setdefault(
        _EXIF_VERSION, pack(f"{order}{_ENTRY}", _EXIF_VERSION, _UNDEFINED, 4, b"0232")
    )
    body, at = _appended(body, _packed(exif, order))
    main.entries[_EXIF_POINTER] = _entry(order, _EXIF_POINTER, _LONG, 1, at)
    body, at = _appended(body, _packed(main, order))
    return body[:4] + pack(f"{order}I", at) + body[8:]


def write_graphs(tiff: bytes, graphs: Mapping[str, str]) -> bytes:
    """This EXIF block (b"" for a fresh one) with ComfyUI's `prompt` and `workflow`, as it does it.

    Raises OutputError for a block that can't be read.
    """
    body = tiff or _EMPTY
    order, first = _header(body)
    main = _directory(body, order, first)
    for name, text in graphs.items():
        value = f"{name}:{text}".encode("utf-8", "backslashreplace") + b"\0"
        body, at = _appended(body, value)
        tag = _COMFY_WRITES[name]
        main.entries[tag] = _entry(order, tag, _ASCII, len(value), at)
    body, at = _appended(body, _packed(main, order))
    return body[:4] + pack(f"{order}I", at) + body[8:]


def texts(tiff: bytes) -> dict[str, str]:
    """The user comment as `parameters`, and what ComfyUI put there, by its own names."""
    order, first = _header(tiff)
    main = _directory(tiff, order, first)
    found = dict(_comfy_texts(tiff, order, main))
    inner = _directory(tiff, order, _pointed(main, order)).entries
    comment = inner.get(_USER_COMMENT, main.entries.get(_USER_COMMENT))
    if comment:
        found["parameters"] = _comment_text(_value(tiff, order, comment))
    return found


def capture_time(tiff: bytes) -> tuple[str, str]:
    """When the image was taken, `2025:11:21 08:30:05`, and its time zone; "" for what is not said.

    Raises OutputError for a block that can't be read.
    """
    order, first = _header(tiff)
    inner = _directory(tiff, order, _pointed(_directory(tiff, order, first), order)).entries
    texts = (_value(tiff, order, inner[tag]) if tag in inner else b"" for tag in _TAKEN)
    time, zone = (text.strip(b"\0 ").decode("latin-1") for text in texts)
    return time, zone


def keep_orientation(tiff: bytes) -> bytes:
    """A block that says how the picture is to be held, and no more; b"" where it is upright.

    So also for a block that can't be read: viewers can't either.
    """
    try:
        order, first = _header(tiff)
        entry = _directory(tiff, order, first).entries.get(_ORIENTATION)
    except OutputError:
        return b""
    way = unpack_from(f"{order}H", entry, 8)[0] if entry else _UPRIGHT
    if way not in range(_UPRIGHT + 1, 9):
        return b""
    held = pack(">HHIHH", _ORIENTATION, _SHORT, 1, way, 0)
    return _EMPTY[:4] + pack(">I", len(_EMPTY)) + _packed(_Directory({_ORIENTATION: held}, 0), ">")


def strip_gps(tiff: bytes) -> bytes:
    """The block with zeros for all that told where on earth it was; b"" if it can't be read."""
    try:
        order, first = _header(tiff)
        main = _directory(tiff, order, first)
        body = tiff
        for at in (first, _pointed(main, order), main.following):
            body = _with_place_erased(body, order, at)
    except OutputError:
        return b""
    return body


def _with_place_erased(tiff: bytes, order: str, at: int) -> bytes:
    """The same, if the directory at `at` points to a place; nothing else moves."""
    directory = _directory(tiff, order, at)
    pointer = directory.entries.pop(_PLACE_POINTER, None)
    if pointer is None:
        return tiff
    body = bytearray(tiff)
    (place,) = unpack_from(f"{order}I", pointer, 8)
    for start, length in _extents(tiff, order, place):
        body[start : start + length] = bytes(len(body[start : start + length]))
    packed = _packed(directory, order)
    body[at : at + len(packed) + _ENTRY_BYTES] = packed + bytes(_ENTRY_BYTES)
    return bytes(body)


def _extents(tiff: bytes, order: str, at: int) -> Iterator[tuple[int, int]]:
    """Where a directory lies, and each of its values that lies elsewhere: start and length."""
    entries = _directory(tiff, order, at).entries.values()
    yield at, 2 + len(entries) * _ENTRY_BYTES + 4
    for entry in entries:
        _, kind, count, value = unpack_from(f"{order}HHII", entry)
        length = _ITEM_BYTES.get(kind, 1) * count
        if length > calcsize("4s"):
            yield value, length


def _header(tiff: bytes) -> tuple[str, int]:
    """Byte order, and where the first directory is."""
    order = _BYTE_ORDERS.get(tiff[:4])
    if order is None or len(tiff) < len(_EMPTY):
        raise OutputError("the EXIF block is damaged: it has no header")
    return order, unpack_from(f"{order}I", tiff, 4)[0]


def _directory(tiff: bytes, order: str, at: int) -> _Directory:
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


def _pointed(main: _Directory, order: str) -> int:
    entry = main.entries.get(_EXIF_POINTER)
    return int(unpack_from(f"{order}I", entry, 8)[0]) if entry else 0


def _packed(directory: _Directory, order: str) -> bytes:
    entries = [directory.entries[tag] for tag in sorted(directory.entries)]
    if len(entries) > _MOST_ENTRIES:
        raise OutputError("the EXIF block is full")
    count = pack(f"{order}H", len(entries))
    return count + b"".join(entries) + pack(f"{order}I", directory.following)


def _entry(order: str, tag: int, kind: int, count: int, value: int) -> bytes:
    return pack(f"{order}HHII", tag, kind, count, value)


def _appended(body: bytes, more: bytes) -> tuple[bytes, int]:
    """Both, and where the second one starts: an even offset, as the format asks."""
    body += b"\0" * (len(body) % 2)
    return body + more, len(body)


def _value(tiff: bytes, order: str, entry: bytes) -> bytes:
    """The bytes of an entry whose items are a byte each; a length that lies gives fewer."""
    _, _, count, raw = unpack_from(f"{order}{_ENTRY}", entry)
    if count <= calcsize("4s"):
        return bytes(raw[:count])
    (at,) = unpack_from(f"{order}I", raw)
    return tiff[at : at + count]


def _comfy_texts(tiff: bytes, order: str, main: _Directory) -> Iterator[tuple[str, str]]:
    for tag, entry in main.entries.items():
        if tag not in _COMFY_TAGS or unpack_from(f"{order}H", entry, 2)[0] != _ASCII:
            continue
        raw = _value(tiff, order, entry).rstrip(b"\0").decode("utf-8", "replace")
        name, colon, text = raw.partition(":")
        if tag == _MODEL and raw.startswith("{"):  # SwarmUI's, of old
            yield "parameters", raw
        elif colon and text.lstrip().startswith("{"):
            yield name.strip().lower(), text.lstrip()


def _comment_text(raw: bytes) -> str:
    """The text behind its eight bytes of encoding; some writers leave these out."""
    if raw.startswith(b"UNICODE\0"):
        return _utf16(raw[8:])
    text = raw.removeprefix(b"ASCII\0\0\0").removeprefix(b"\0" * 8)
    return text.rstrip(b"\0 ").decode("utf-8", "replace")


def _utf16(raw: bytes) -> str:
    """The standard leaves the byte order open: the half with more zeros is the upper one."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", "replace")
    big = raw[0::2].count(0) >= raw[1::2].count(0)
    return raw.decode("utf-16-be" if big else "utf-16-le", "replace").rstrip("\0")

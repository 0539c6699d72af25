"""Whether a download is the file that it should be: a format says what it is, and where it ends."""

from __future__ import annotations

from zlib import crc32

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_JPEG_PIXELS, _JPEG_END = b"\xff\xda", b"\xff\xd9"
_RIFF_HEADER = 8  # bytes before those that its size counts
_GIF_END = b";"
_BY_BEGINNING = {
    _PNG: "image/png",
    _JPEG: "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"II*\0": "image/tiff",
    b"MM\0*": "image/tiff",
}
_IMAGES = ("png", "jpg", "jpeg", "webp", "gif", "avif", "bmp", "tif", "tiff")
"""Endings of names whose files are images that `media_type` knows."""
_PAGES = ("text/html", "application/xhtml+xml", "application/json")
_PAGE_ENDINGS = ("html", "htm", "xhtml", "json")
_MARKS = (b"<!doctype html", b"<html")


def media_type(data: bytes) -> str | None:
    """What kind of image the bytes are, by how they begin; None for anything else."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return "image/avif"
    if data[:2] == b"BM" and data[6:10] == bytes(4):
        return "image/bmp"
    return next((kind for begin, kind in _BY_BEGINNING.items() if data.startswith(begin)), None)


def is_complete(data: bytes) -> bool:
    """Whether an image goes to its end undamaged, as far as its format says; other files are whole
    where they hold anything."""
    kind = media_type(data)
    if kind == "image/png":
        return _png_is_whole(data)
    if kind == "image/jpeg":
        # Neither mark can stand within the pixels; an end before them is a thumbnail's.
        return data.rfind(_JPEG_END) > data.rfind(_JPEG_PIXELS)
    if kind == "image/webp":
        return len(data) >= int.from_bytes(data[4:8], "little") + _RIFF_HEADER
    if kind == "image/gif":
        return data.rstrip(b"\0").endswith(_GIF_END)
    if kind == "image/avif":
        return _boxes_are_whole(data)
    return len(data) > 0


def download_fault(data: bytes, name: str, told: str = "") -> str:
    """What is wrong with bytes that should be the file of this name; "" where nothing is.

    `told` is the type that the server gave. A gateway may send a page in place of any file.
    """
    ending = name.rpartition(".")[2].lower()
    is_page = told in _PAGES or data[:64].lstrip().lower().startswith(_MARKS)
    if media_type(data) is None and ending in _IMAGES and data:
        if told.startswith("image/"):
            return f"is not an image, although it is called {told}"
        return f"is not an image but {told or 'something else'}"
    if media_type(data) is None and is_page and ending not in _PAGE_ENDINGS:
        return f"is not the file but {told or 'a web page'}"
    return "" if is_complete(data) else "came cut short or damaged"


def _png_is_whole(data: bytes) -> bool:
    """Whether each chunk that pixels need has its checksum; what follows the last does no harm."""
    view, at = memoryview(data), len(_PNG)
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(view[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if kind[:1].isupper() and crc32(view[at + 4 : end]) != int.from_bytes(
            view[end : end + 4], "big"
        ):
            return False
        if kind == b"IEND":
            return True
        at = end + 4
    return False


def _boxes_are_whole(data: bytes) -> bool:
    """Whether the boxes of such a file end where it does; one of size 0 goes to the end."""
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size < 8:
            return size == 0
        at += size
    return at == len(data)


def png_text(data: bytes, keyword: str) -> str:
    """The text of a PNG under this keyword, where it has one that is not compressed."""
    start = keyword.encode("latin-1") + b"\0"
    at = len(_PNG)
    while data.startswith(_PNG) and at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"tEXt" and data.startswith(start, at + 8):
            return data[at + 8 + len(start) : end].decode("latin-1")
        at = end + 4
    return ""


def png_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG."""
    if not data.startswith(_PNG) or data[12:16] != b"IHDR":
        return None
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")

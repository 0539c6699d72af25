"""Whether a file is all there, by its own account: a picture's format says where it ends."""

from __future__ import annotations

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_JPEG = b"\xff\xd8\xff"
_JPEG_PIXELS, _JPEG_END = b"\xff\xda", b"\xff\xd9"
_RIFF_HEADER = 8  # bytes before those that its size counts


def media_type(data: bytes) -> str | None:
    """What kind of picture the bytes are, by how they begin; None for what is no picture."""
    if data.startswith(_PNG):
        return "image/png"
    if data.startswith(_JPEG):
        return "image/jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return "image/gif" if data[:6] in (b"GIF87a", b"GIF89a") else None


def is_whole(data: bytes) -> bool:
    """Whether a picture goes to its end; of other files nothing can be told, but that they are."""
    kind = media_type(data)
    if kind == "image/png":
        return _png_is_whole(data)
    if kind == "image/jpeg":
        # Neither mark can stand within the pixels; an end before them is a thumbnail's.
        return data.rfind(_JPEG_END) > data.rfind(_JPEG_PIXELS)
    if kind == "image/webp":
        return len(data) >= int.from_bytes(data[4:8], "little") + _RIFF_HEADER
    return len(data) > 0


def _png_is_whole(data: bytes) -> bool:
    """Whether its last chunk is there: at the end, or before something that was put after it."""
    if data.endswith(_PNG_END):
        return True
    at = len(_PNG)
    while at + 12 <= len(data):
        if data[at + 4 : at + 8] == b"IEND":
            return True
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return False


def png_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG."""
    if not data.startswith(_PNG) or data[12:16] != b"IHDR":
        return None
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")

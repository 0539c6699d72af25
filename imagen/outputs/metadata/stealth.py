"""A text in the lowest bits of the alpha channel, as NovelAI and an extension of A1111 hide it.

It survives the removal of metadata. The bits go down each column, from the left: a signature, the
length of the text in bits, and the text in UTF-8, compressed or not.
"""

from __future__ import annotations

import zlib
from io import BytesIO

_SIGNATURES = {b"stealth_pnginfo": False, b"stealth_pngcomp": True}
_SIGNATURE_BYTES = 15
_HEAD_BYTES = _SIGNATURE_BYTES + 4
_LARGEST_PIXELS = 8_000_000
_LARGEST_TEXT = 2 * 2**20
_BITS = bytes(ord("0") + (value & 1) for value in range(256))
"""For each value of a channel the digit of its lowest bit."""


def read_hidden_text(data: bytes) -> str:
    """The text; "" if there is none, or the image cannot be decoded."""
    from PIL import Image

    from imagen.core.image_file import DECODE_ERRORS, open_image

    try:
        with open_image(BytesIO(data)) as image:
            is_large = image.width * image.height > _LARGEST_PIXELS
            if "A" not in image.getbands() or is_large:
                return ""
            alpha = image.getchannel("A")
    except DECODE_ERRORS:
        return ""
    if alpha.getextrema() == (255, 255) or alpha.width * alpha.height < _HEAD_BYTES * 8:
        return ""
    channel = alpha.transpose(Image.Transpose.TRANSPOSE).tobytes()
    head = _read_bytes(channel, 0, _HEAD_BYTES)
    is_compressed = _SIGNATURES.get(head[:_SIGNATURE_BYTES])
    length = int.from_bytes(head[_SIGNATURE_BYTES:], "big") // 8
    if is_compressed is None or not length or length > _LARGEST_TEXT:
        return ""
    text = _read_bytes(channel, _HEAD_BYTES, length)
    if is_compressed:
        try:
            text = zlib.decompressobj(wbits=31).decompress(text, _LARGEST_TEXT)
        except zlib.error:
            return ""
    return text.decode("utf-8", "replace")


def _read_bytes(channel: bytes, start: int, count: int) -> bytes:
    """This many bytes from `start` on; fewer if the channel ends."""
    digits = channel[start * 8 : (start + count) * 8].translate(_BITS)
    whole = len(digits) // 8
    return int(digits[: whole * 8] or b"0", 2).to_bytes(whole, "big")

"""Generated images are checked and resized."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import pytest
from PIL import Image

from imagen.backends import images
from imagen.errors import Failed


def _png(side: int) -> bytes:
    """The header of an image of this size, without its pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", b""), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")
        for name, data in chunks
    )


def test_an_image_that_cannot_be_decoded_is_damaged() -> None:
    with pytest.raises(Failed, match="generated image is damaged"):
        images.check_image(_png(64))


def test_an_image_of_the_right_size_stays_unchanged() -> None:
    data = BytesIO()
    Image.new("RGB", (8, 6)).save(data, "PNG", compress_level=0)
    assert images.resize_image(data.getvalue(), (8, 6)) == data.getvalue()
    assert images.check_image(images.resize_image(data.getvalue(), (12, 9))) == (12, 9)

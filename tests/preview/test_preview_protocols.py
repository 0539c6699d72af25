"""The protocols of terminals, decoded again."""

from __future__ import annotations

import re
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageChops
from support.sixel_decoder import decode_sixels
from support.terminals import Terminal

from imagen.errors import RequestError
from imagen.preview import PreviewPlan, show_images
from imagen.preview.protocols import (
    draw_image,
    encode_iterm2,
    encode_kitty,
    encode_sixel,
    fit_to_terminal,
)
from imagen.preview.terminal import TerminalSize

_SCREEN = TerminalSize(columns=80, rows=24, width=640, height=400)


def _image(width: int = 97, height: int = 61) -> Image.Image:
    """A different gradient in every channel."""
    bands = [Image.linear_gradient("L"), Image.radial_gradient("L")]
    bands.append(bands[0].transpose(Image.Transpose.ROTATE_90))
    return Image.merge("RGB", bands).resize((width, height))


def _distance(one: Image.Image, other: Image.Image) -> int:
    """The largest difference in any channel of any pixel."""
    return max(ImageChops.difference(one, other).tobytes())


def _png(data: bytes) -> Image.Image:
    return Image.open(BytesIO(b64decode(data)))


def test_sixels_reproduce_the_image() -> None:
    image = Image.new("RGB", (13, 8), "red")
    image.paste((0, 0, 255), (4, 3, 9, 8))
    assert decode_sixels(encode_sixel(image)).tobytes() == image.tobytes()


def test_sixels_of_many_colours_approximate_the_image() -> None:
    image = _image()
    again = decode_sixels(encode_sixel(image))
    assert again.size == image.size
    assert _distance(again, image) <= 32


def test_sixels_of_a_plain_image_are_compressed() -> None:
    assert encode_sixel(Image.new("RGB", (100, 6), "white")).endswith(
        b'q"1;1;100;6#0;2;100;100;100#0!100~\x1b\\'
    )


def test_kitty_gets_a_png_in_chunks() -> None:
    image = Image.effect_noise((150, 150), 200).convert("RGB")
    pieces = re.findall(rb"\x1b_G([^;]*);([^\x1b]*)\x1b\\", encode_kitty(image))
    keys, data = zip(*pieces, strict=True)
    assert keys[0] == b"a=T,f=100,q=2,m=1"
    assert {*keys[1:-1]} == {b"m=1"}
    assert keys[-1] == b"m=0"
    assert {len(piece) for piece in data[:-1]} == {4096}
    assert _png(b"".join(data)).tobytes() == image.tobytes()


def test_kitty_gets_a_small_image_in_one_chunk() -> None:
    sent = encode_kitty(Image.new("RGB", (2, 2)))
    assert sent.startswith(b"\x1b_Ga=T,f=100,q=2,m=0;")
    assert sent.count(b"\x1b_G") == 1


def test_iterm2_gets_a_file() -> None:
    image = _image()
    found = re.fullmatch(
        rb"\x1b\]1337;File=inline=1;size=(\d+):([\w+/=]+)\x07", encode_iterm2(image)
    )
    assert found is not None
    assert int(found[1]) == len(b64decode(found[2]))
    assert _png(found[2]).tobytes() == image.tobytes()


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        pytest.param((1024, 1024), (240, 240), id="shrunk to six tenths of the rows"),
        pytest.param((6400, 100), (640, 10), id="shrunk to the columns"),
        pytest.param((100, 50), (100, 50), id="never enlarged"),
        pytest.param((1, 100000), (1, 240), id="never nothing"),
    ],
)
def test_images_are_scaled_to_the_terminal(size: tuple[int, int], shown: tuple[int, int]) -> None:
    assert fit_to_terminal(Image.new("L", size), _SCREEN).size == shown


def test_transparent_images_are_previewed_on_white() -> None:
    clear = fit_to_terminal(Image.new("RGBA", (1, 1), (9, 9, 9, 0)), _SCREEN)
    assert clear.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("ending", ["jpg", "webp", "avif", "gif", "bmp"])
def test_every_image_format_is_sent_as_png(ending: str) -> None:
    _image().save(f"fox.{ending}")
    (data,) = re.findall(rb":([\w+/=]+)\x07", draw_image(Path(f"fox.{ending}"), "iterm2", _SCREEN))
    assert (_png(data).format, _png(data).size) == ("PNG", (97, 61))


def test_previewing_a_file_that_is_not_an_image_is_an_error() -> None:
    Path("fox.png").write_text("no image")
    with pytest.raises(RequestError, match=r"fox\.png is not an image"):
        draw_image(Path("fox.png"), "kitty", _SCREEN)


def test_show_images_reports_unreadable_images_and_shows_the_others() -> None:
    _image().save("fox.png")
    with Terminal() as terminal:
        with open(terminal.slave, "wb", closefd=False) as stream:
            images = {Path("gone.png"): "x", Path("fox.png"): "x"}
            told = show_images(PreviewPlan(way="kitty"), images, stream=stream)
        heard = terminal.hang_up()
    assert told == ["preview: there is no file gone.png."]
    assert heard.count(b"a=T") == 1
    assert heard.endswith(b"\x1b\\\r\n")

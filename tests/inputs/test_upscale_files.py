"""Upscaling by interpolation."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image
from support.input_samples import write_image

from imagen.core.request import INTERPOLATIONS
from imagen.errors import RequestError
from imagen.inputs.upscale import upscale_file


def _enlarged(name: str, factor: float, method: str = "lanczos") -> Image.Image:
    upscaled, _, _ = upscale_file(name, factor, method)
    return Image.open(BytesIO(upscaled.data))


@pytest.mark.parametrize("method", INTERPOLATIONS)
def test_every_interpolation_gives_the_exact_size(method: str) -> None:
    image, _, _ = upscale_file(write_image("fox.jpg", (33, 21)), 2.5, method)
    assert (image.width, image.height) == (82, 52)
    assert (image.kind, image.name, image.media_type) == ("PNG", "fox.png", "image/png")
    assert _enlarged("fox.jpg", 2.5, method).size == (82, 52)


def test_nearest_repeats_pixels() -> None:
    image = Image.new("L", (2, 1))
    image.putpixel((1, 0), 255)
    image.save("a.png")
    assert list(_enlarged("a.png", 2, "nearest").convert("L").tobytes()) == [0, 0, 255, 255] * 2


def test_bilinear_interpolates_between_pixels() -> None:
    image = Image.new("L", (2, 1))
    image.putpixel((1, 0), 200)
    image.save("a.png")
    assert list(_enlarged("a.png", 2, "bilinear").convert("L").tobytes())[:4] == [0, 50, 150, 200]


def test_upscaling_by_one_changes_no_pixel() -> None:
    path = write_image("a.png", (3, 2), (1, 2, 3))
    assert _enlarged(path, 1).tobytes() == bytes((1, 2, 3)) * 6


def test_upscaling_keeps_transparency() -> None:
    path = write_image("a.png", (4, 4), (9, 9, 9, 100), "RGBA")
    assert _enlarged(path, 2).getchannel("A").getextrema() == (100, 100)


def test_upscaling_applies_the_exif_orientation() -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    assert _enlarged(write_image("a.jpg", (40, 20), exif=exif), 2).size == (40, 80)


def test_an_unknown_interpolation_suggests_the_nearest_name() -> None:
    with pytest.raises(RequestError) as caught:
        _enlarged(write_image("a.png"), 2, "lancos")
    assert str(caught.value) == (
        "Unknown interpolation 'lancos'. Did you mean 'lanczos'?\n"
        "Known: lanczos, bicubic, bilinear, nearest, area."
    )


def test_upscaling_beyond_the_largest_side_is_refused() -> None:
    with pytest.raises(RequestError) as caught:
        _enlarged(write_image("a.png", (5000, 10)), 4)
    assert caught.value.message == (
        "image: a.png is 5000 × 10 pixels; 4 times that is 20000 × 40, "
        "but no side may be more than 16384."
    )


def test_upscaling_a_file_describes_the_input_and_warns_of_frames() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save("a.gif", save_all=True, append_images=frames[1:])
    image, known, warnings = upscale_file("a.gif", 2, "area")
    assert (image.width, known.name, known.width) == (8, "a.gif", 4)
    assert warnings == ("image: a.gif has 2 frames; the first one is used.",)

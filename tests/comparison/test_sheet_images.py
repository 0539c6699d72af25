"""Images of a contact sheet: scaled down, in RGB whatever their mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image

from imagen.comparison.sheet.images import displayed_size, fit_size, load_reduced
from imagen.comparison.sheet.layout import count_columns

if TYPE_CHECKING:
    from pathlib import Path

_BACKGROUND = (1, 2, 3)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        pytest.param((1024, 1024), (512, 512), id="square"),
        pytest.param((1024, 512), (512, 256), id="wide"),
        pytest.param((10000, 16), (512, 1), id="very wide"),
        pytest.param((16, 10000), (1, 512), id="very tall"),
        pytest.param((64, 32), (64, 32), id="small stays small"),
    ],
)
def test_fit_size_keeps_the_aspect_ratio(size: tuple[int, int], shown: tuple[int, int]) -> None:
    assert fit_size(size, (512, 512)) == shown


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "CMYK", "YCbCr", "RGBA", "LA"])
@pytest.mark.parametrize("size", [(100, 60), (50, 30), (33, 20)], ids=["full", "half", "odd"])
def test_reduced_images_of_every_mode_are_rgb(
    mode: str, size: tuple[int, int], tmp_path: Path
) -> None:
    path = tmp_path / "a.tiff"
    Image.new("RGB", (100, 60), "white").convert(mode).save(path)
    small = load_reduced(path, size, background=_BACKGROUND)
    assert (small.mode, small.size) == ("RGB", size)
    assert min(small.tobytes()) >= 254


def test_reduced_16_bit_greys_become_8_bits(tmp_path: Path) -> None:
    Image.new("I;16", (10, 10), 32768).save(tmp_path / "a.png")
    small = load_reduced(tmp_path / "a.png", (10, 10), background=_BACKGROUND)
    assert small.getpixel((0, 0)) in ((127, 127, 127), (128, 128, 128))


def test_reduced_transparent_images_show_the_background(tmp_path: Path) -> None:
    Image.new("RGBA", (10, 10), (255, 0, 0, 0)).save(tmp_path / "a.png")
    assert (
        load_reduced(tmp_path / "a.png", (5, 5), background=_BACKGROUND).getpixel((2, 2))
        == _BACKGROUND
    )


def test_reduced_photographs_are_upright(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    image = Image.new("RGB", (80, 40), "white")
    image.paste((0, 0, 0), (0, 0, 40, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path, exif=exif)
    assert displayed_size(path) == (40, 80)
    upright = load_reduced(path, (20, 40), background=_BACKGROUND).convert("L")
    assert upright.size == (20, 40)
    assert (upright.getpixel((10, 5)), upright.getpixel((10, 35))) == (0, 255)


def test_reduced_images_do_not_keep_their_file_open(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (64, 64)).save(path)
    small = load_reduced(path, (64, 64), background=_BACKGROUND)
    path.unlink()
    assert small.getpixel((0, 0)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("asked", "cells", "columns"),
    [
        pytest.param(3, 9, 3, id="a column for each model"),
        pytest.param(3, 3, 3, id="one row"),
        pytest.param(5, 2, 2, id="no more than there are cells"),
        pytest.param(1, 2, 1, id="two above each other"),
        pytest.param(1, 9, 3, id="one model wraps"),
        pytest.param(2, 100, 10, id="a tower gets several columns"),
        pytest.param(100, 100, 100, id="as wide as asked"),
        pytest.param(9000, 9000, 500, id="never wider than a sheet may be"),
        pytest.param(0, 0, 1, id="nothing"),
    ],
)
def test_count_columns_avoids_towers(asked: int, cells: int, columns: int) -> None:
    assert count_columns(asked, cells) == columns

"""Masks: which area is repainted, for every kind of file."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image
from support.input_samples import (
    CACHE_FOLDER,
    load_image,
    make_capabilities,
    write_half_white_mask,
    write_image,
)

from imagen.core.request import Request
from imagen.errors import RequestError
from imagen.inputs.init_image import feather, read_mask
from imagen.inputs.prepare import InputPreparation
from imagen.inputs.sizes import ImageSize

_SIZE = ImageSize(64, 48)
_LEFT, _RIGHT = (10, 20), (50, 20)


def _halves(mode: str, left: Any, right: Any, name: str = "m.png") -> str:
    mask = Image.new(mode, _SIZE, right)
    mask.paste(left, (0, 0, 32, 48))
    mask.save(name)
    return name


def _preparation() -> InputPreparation:
    return InputPreparation(Request(), make_capabilities(), CACHE_FOLDER, None)


def _read(path: str) -> tuple[Any, Any, list[str]]:
    """The shade on the left, the one on the right, and the warnings."""
    work = _preparation()
    mask = read_mask(work, path, _SIZE)
    assert (mask.mode, mask.size) == ("L", _SIZE)
    return mask.getpixel(_LEFT), mask.getpixel(_RIGHT), work.warnings


_BY_ALPHA = ["mask: m.png is partly transparent; its transparent areas are repainted."]


@pytest.mark.parametrize(
    ("mode", "left", "right", "warnings"),
    [
        ("L", 255, 0, []),
        ("1", 1, 0, []),
        ("RGB", (255, 255, 255), (0, 0, 0), []),
        ("I;16", 65535, 0, []),
        ("RGBA", (255, 255, 255, 255), (0, 0, 0, 255), []),
        ("RGBA", (255, 255, 255, 255), (0, 0, 0, 0), []),
        ("RGBA", (0, 0, 0, 0), (0, 0, 0, 255), _BY_ALPHA),
        ("RGBA", (90, 20, 30, 0), (90, 20, 30, 255), _BY_ALPHA),
        ("LA", (0, 0), (0, 255), _BY_ALPHA),
    ],
    ids=[
        "grey",
        "bits",
        "colours",
        "16 bits",
        "opaque",
        "white strokes on nothing",
        "holes in black",
        "holes in an image",
        "grey with holes",
    ],
)
def test_every_kind_of_mask_file_repaints_its_white_or_transparent_half(
    mode: str, left: Any, right: Any, warnings: list[str]
) -> None:
    assert _read(_halves(mode, left, right)) == (255, 0, warnings)


def test_a_grey_mask_repaints_partly() -> None:
    assert _read(_halves("L", 128, 0)) == (128, 0, [])


def test_a_coloured_mask_counts_by_brightness() -> None:
    assert _read(_halves("RGB", (255, 0, 0), (0, 0, 0)))[0] == 76


def test_an_all_black_mask_is_refused() -> None:
    with pytest.raises(RequestError) as caught:
        read_mask(_preparation(), write_image("m.png", _SIZE, 0, "L"), _SIZE)
    assert str(caught.value) == (
        "mask: m.png is all black, so nothing would be repainted.\n"
        "White areas are repainted, black areas are kept."
    )


def test_an_all_white_mask_gives_a_warning() -> None:
    assert _read(write_image("m.png", _SIZE, 255, "L")) == (
        255,
        255,
        ["mask: m.png is all white, so the whole image is repainted."],
    )


def test_a_mask_of_another_size_is_scaled_with_a_warning() -> None:
    left, right, warnings = _read(write_half_white_mask("m.png", (128, 96)))
    assert (left, right) == (255, 0)
    assert warnings == ["mask: m.png (128 × 96) was scaled to the image's 64 × 48."]


def test_a_mask_of_another_aspect_ratio_is_refused() -> None:
    with pytest.raises(RequestError) as caught:
        read_mask(_preparation(), write_half_white_mask("m.png", (64, 64)), _SIZE)
    assert caught.value.message == "mask: m.png is 64 × 64 pixels, but the image is 64 × 48."


def test_a_missing_mask_file_is_reported_as_the_mask() -> None:
    with pytest.raises(RequestError, match=r"mask: there is no file m\.png\."):
        read_mask(_preparation(), "m.png", _SIZE)


def _row(mask: Image.Image) -> list[int]:
    return list(mask.crop((0, 24, mask.width, 25)).tobytes())


def test_feathering_fades_outwards_and_keeps_white_areas() -> None:
    row = _row(feather(load_image(write_half_white_mask("m.png")), 8))
    assert row[:32] == [255] * 32
    assert row == sorted(row, reverse=True)
    assert 100 < row[35] < 240
    assert row[36] < row[33]
    assert max(row[46:]) == 0


def test_feathering_keeps_thin_lines_white() -> None:
    mask = Image.new("L", _SIZE)
    mask.paste(255, (20, 0, 21, 48))
    assert _row(feather(mask, 16))[20] == 255


def test_a_feather_of_zero_changes_nothing() -> None:
    mask = load_image(write_half_white_mask("m.png"))
    assert feather(mask, 0) is mask

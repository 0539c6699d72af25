"""Masks: which part is redrawn, whatever the file says it with."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image
from support.input_samples import drawn, half_white, opened

from imagen.errors import RequestError
from imagen.inputs.masks import feathered, read_mask
from imagen.inputs.sizes import ImageSize

_SIZE = ImageSize(64, 48)
_LEFT, _RIGHT = (10, 20), (50, 20)


def _halves(mode: str, left: Any, right: Any, name: str = "m.png") -> str:
    mask = Image.new(mode, _SIZE, right)
    mask.paste(left, (0, 0, 32, 48))
    mask.save(name)
    return name


def _read(path: str) -> tuple[Any, Any, list[str]]:
    """The shade on the left, that on the right, and what is to be told."""
    mask, _, warnings = read_mask(path, _SIZE)
    assert (mask.mode, mask.size) == ("L", _SIZE)
    return mask.getpixel(_LEFT), mask.getpixel(_RIGHT), warnings


_BY_ALPHA = ["mask: m.png is taken by its transparency, which is redrawn."]


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
        "holes in a picture",
        "grey with holes",
    ],
)
def test_the_left_half_is_redrawn(mode: str, left: Any, right: Any, warnings: list[str]) -> None:
    assert _read(_halves(mode, left, right)) == (255, 0, warnings)


def test_grey_redraws_in_part() -> None:
    assert _read(_halves("L", 128, 0)) == (128, 0, [])


def test_colours_count_by_their_brightness() -> None:
    assert _read(_halves("RGB", (255, 0, 0), (0, 0, 0)))[0] == 76


def test_all_black_is_refused() -> None:
    with pytest.raises(RequestError) as caught:
        read_mask(drawn("m.png", _SIZE, 0, "L"), _SIZE)
    assert str(caught.value) == (
        "mask: m.png is all black, so that nothing would be redrawn.\n"
        "White is redrawn, black is kept."
    )


def test_all_white_is_told() -> None:
    assert _read(drawn("m.png", _SIZE, 255, "L")) == (
        255,
        255,
        ["mask: m.png is all white, so that all is redrawn."],
    )


def test_another_size_of_the_same_shape_is_scaled_and_told() -> None:
    left, right, warnings = _read(half_white("m.png", (128, 96)))
    assert (left, right) == (255, 0)
    assert warnings == ["mask: m.png (128 × 96) was scaled to the image's 64 × 48."]


def test_another_shape_is_refused_with_both_sizes() -> None:
    with pytest.raises(RequestError) as caught:
        read_mask(half_white("m.png", (64, 64)), _SIZE)
    assert caught.value.message == "mask: m.png is 64 × 64 pixels, and the image 64 × 48."


def test_a_mask_that_is_no_picture_is_named_as_the_mask() -> None:
    with pytest.raises(RequestError, match=r"mask: there is no file m\.png\."):
        read_mask("m.png", _SIZE)


def _row(mask: Image.Image) -> list[int]:
    return list(mask.crop((0, 24, mask.width, 25)).tobytes())


def test_a_feather_fades_outwards_and_leaves_the_white_white() -> None:
    row = _row(feathered(opened(half_white("m.png")), 8))
    assert row[:32] == [255] * 32
    assert row == sorted(row, reverse=True)
    assert 100 < row[35] < 240
    assert row[36] < row[33]
    assert max(row[46:]) == 0


def test_thin_lines_stay_white_under_a_wide_feather() -> None:
    mask = Image.new("L", _SIZE)
    mask.paste(255, (20, 0, 21, 48))
    assert _row(feathered(mask, 16))[20] == 255


def test_no_feather_changes_nothing() -> None:
    mask = opened(half_white("m.png"))
    assert feathered(mask, 0) is mask

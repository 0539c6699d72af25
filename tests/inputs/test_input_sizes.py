"""Which size to generate: from the request, the input image and the backend."""

from __future__ import annotations

import pytest
from support.input_samples import make_side

from imagen.core.capabilities import Capabilities, Parameter
from imagen.inputs.sizes import ImageSize, SizeRules, find_size_rules

_LIMITS = ImageSize(4096, 4096)


def _frame(parameter: Parameter, largest: ImageSize = _LIMITS) -> SizeRules:
    return SizeRules(parameter, parameter, largest)


@pytest.mark.parametrize(
    ("parameter", "own", "drawn"),
    [
        (make_side(multiple_of=None), (600, 400), (600, 400)),
        (make_side(multiple_of=64), (1000, 700), (1024, 704)),
        (make_side(default=512), (4000, 3000), (1184, 888)),
        (make_side(default=None, max=1024), (4000, 2000), (1024, 512)),
        (make_side(multiple_of=64, max=1000, default=None), (990, 500), (960, 512)),
        (make_side(min=256), (100, 400), (256, 400)),
        (make_side(), (5, 5), (16, 16)),
    ],
    ids=["as it is", "rounded", "a giant", "the most", "the most rounded", "the least", "tiny"],
)
def test_an_image_keeps_its_size_as_far_as_the_backend_allows(
    parameter: Parameter, own: tuple[int, int], drawn: tuple[int, int]
) -> None:
    assert _frame(parameter).own(ImageSize(*own)) == drawn


def test_rounding_does_not_exceed_the_limits() -> None:
    frame = _frame(make_side(multiple_of=64, default=None), ImageSize(1000, 1000))
    assert frame.own(ImageSize(1000, 500)) == (960, 512)


@pytest.mark.parametrize(
    ("width", "height", "drawn"),
    [(512, None, (512, 384)), (None, 300, (400, 304)), (1000, 100, (1000, 104))],
    ids=["the width", "the height", "both"],
)
def test_one_requested_side_gives_the_other_by_aspect_ratio(
    width: int | None, height: int | None, drawn: tuple[int, int]
) -> None:
    assert _frame(make_side()).requested(width, height, ImageSize(800, 600)) == drawn


@pytest.mark.parametrize(
    ("own", "drawn"),
    [((4000, 3000), (592, 440)), ((100, 100), (512, 512))],
    ids=["from above", "from below"],
)
def test_a_shape_gets_the_default_number_of_pixels(
    own: tuple[int, int], drawn: tuple[int, int]
) -> None:
    assert _frame(make_side()).shaped(ImageSize(*own)) == drawn


def test_a_shape_keeps_its_size_without_a_default() -> None:
    assert _frame(make_side(default=None)).shaped(ImageSize(300, 200)) == (304, 200)


def test_a_backend_without_size_parameters_has_no_size_rules() -> None:
    assert find_size_rules(Capabilities(parameters={"width": make_side()}), _LIMITS) is None


def test_sizes_are_printed_as_width_by_height() -> None:
    assert f"{ImageSize(640, 480)}" == "640 × 480"

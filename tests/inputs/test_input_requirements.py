"""What parameters require of each other."""

from __future__ import annotations

from typing import Any

import pytest

from imagen.core.capabilities import Capabilities, Parameter
from imagen.core.request import Request, Upscale
from imagen.errors import RequestError
from imagen.inputs import check_request, upscales_before_img2img


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (
            {"mask": "m.png"},
            "A mask says what to redraw of the initial image, and there is none.",
        ),
        (
            {"outpaint": {"left": 8}},
            "Outpainting goes on beyond the initial image, and there is none.",
        ),
        ({"upscale": {}}, "Upscaling enlarges the initial image, and there is none."),
        ({"restore": {}}, "Restoring mends the faces of the initial image, and there is none."),
        ({"preprocess": "canny"}, "A control picture is made of the initial image, and there is"),
    ],
    ids=["mask", "outpaint", "upscale", "restore", "preprocess"],
)
def test_what_is_done_to_an_image_needs_one(asked: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RequestError) as caught:
        check_request(Request.of(asked))
    assert caught.value.message.startswith(sentence)
    assert caught.value.remedy == "Give the initial image too: image, --image."


@pytest.mark.parametrize(
    ("asked", "name", "told"),
    [
        (
            {"strength": 0.5},
            "strength",
            "strength: 0.5 was dropped (there is no initial image to leave)",
        ),
        (
            {"feather": 8, "image": "a.png"},
            "feather",
            "feather: 8 was dropped (there is no mask whose edge could fade)",
        ),
    ],
    ids=["strength", "feather"],
)
def test_what_has_nothing_to_do_is_dropped_with_a_reason(
    asked: dict[str, Any], name: str, told: str
) -> None:
    request, receipt = check_request(Request.of(asked))
    assert getattr(request, name) is None
    assert receipt[name].sentence(name) == told


@pytest.mark.parametrize(
    "asked",
    [
        {"prompt": "a fox"},
        {"image": "a.png", "strength": 0.5},
        {"references": ("a.png",), "strength": 0.5},
        {"image": "a.png", "mask": "m.png", "feather": 8},
        {"image": "a.png", "outpaint": {"left": 8}, "feather": 8},
    ],
    ids=["nothing", "strength", "of a reference", "a mask's feather", "a canvas's feather"],
)
def test_what_agrees_stays_as_it_is(asked: dict[str, Any]) -> None:
    request = Request.of(asked)
    assert check_request(request) == (request, {})


def test_a_second_seed_alone_has_a_share_of_three_tenths() -> None:
    request, _ = check_request(Request(variation_seed=7))
    assert (request.variation_strength, request.task) == (0.3, "variation")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"prompt": "a fox", "upscale": {}}, True),
        ({"strength": 0.2, "upscale": {"method": "area"}}, True),
        ({"upscale": {}}, False),
        ({"prompt": "a fox", "upscale": {"method": "esrgan.pth"}}, False),
        ({"prompt": "a fox"}, False),
    ],
    ids=["with a prompt", "with a strength", "only enlarged", "by a model", "not enlarged"],
)
def test_what_is_interpolated_and_then_redrawn(asked: dict[str, Any], expected: bool) -> None:
    request = Request.of({"image": "a.png", **asked})
    assert upscales_before_img2img(request, Capabilities()) is expected


def test_a_backend_that_enlarges_what_it_redraws_gets_no_interpolated_picture() -> None:
    request = Request(prompt="a fox", image="a.png", upscale=Upscale(factor=2))
    assert not upscales_before_img2img(request, Capabilities(parameters={"upscale": Parameter()}))

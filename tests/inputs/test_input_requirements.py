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
            "A mask marks areas of the initial image, but there is none.",
        ),
        (
            {"outpaint": {"left": 8}},
            "Outpainting extends the initial image, but there is none.",
        ),
        ({"upscale": {}}, "Upscaling enlarges the initial image, but there is none."),
        ({"restore": {}}, "Face restoration works on the initial image, but there is none."),
        (
            {"preprocess": "canny"},
            "A control image is computed from the initial image, but",
        ),
    ],
    ids=["mask", "outpaint", "upscale", "restore", "preprocess"],
)
def test_image_operations_without_an_initial_image_are_refused(
    asked: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RequestError) as caught:
        check_request(Request.of(asked))
    assert caught.value.message.startswith(sentence)
    assert caught.value.remedy == "Add the initial image with --image, or image in the request."


@pytest.mark.parametrize(
    ("asked", "name", "told"),
    [
        (
            {"strength": 0.5},
            "strength",
            "strength: 0.5 was dropped (there is no initial image)",
        ),
        (
            {"feather": 8, "image": "a.png"},
            "feather",
            "feather: 8 was dropped (there is no mask to feather)",
        ),
    ],
    ids=["strength", "feather"],
)
def test_parameters_without_effect_are_dropped_with_a_reason(
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
def test_a_consistent_request_is_unchanged(asked: dict[str, Any]) -> None:
    request = Request.of(asked)
    assert check_request(request) == (request, {})


def test_a_variation_seed_alone_gets_the_default_strength() -> None:
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
def test_upscales_before_img2img_by_method_and_task(asked: dict[str, Any], expected: bool) -> None:
    request = Request.of({"image": "a.png", **asked})
    assert upscales_before_img2img(request, Capabilities()) is expected


def test_a_backend_that_upscales_itself_gets_the_original_image() -> None:
    request = Request(prompt="a fox", image="a.png", upscale=Upscale(factor=2))
    assert not upscales_before_img2img(request, Capabilities(parameters={"upscale": Parameter()}))

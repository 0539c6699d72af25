"""Each task of the mock does to an image what its name says, as far as a mock can."""

from __future__ import annotations

from contextlib import closing
from io import BytesIO
from typing import Any

import pytest
from PIL import Image, ImageChops

from imagen.backends import open_backend
from imagen.core.request import Request
from imagen.core.result import Result, no_progress
from imagen.errors import RequestError

_BASE = {"prompt": "a fox", "width": 64, "height": 48, "seed": 1, "steps": 2}


def _result(**asked: Any) -> Result:
    with closing(open_backend("mock", {})) as engine:
        return engine.collect(engine.prepare(Request.of(asked)), no_progress)


def _painted(**asked: Any) -> Image.Image:
    (output,) = _result(**_BASE | asked).outputs
    return Image.open(BytesIO(output.data)).convert("RGB")


def _processed(**asked: Any) -> Image.Image:
    (output,) = _result(**asked).outputs
    return Image.open(BytesIO(output.data)).convert("RGB")


def _image(name: str = "image.png", size: tuple[int, int] = (64, 48)) -> str:
    """A slope of greys with a white square in it."""
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    image.paste((255, 255, 255), (16, 12, 32, 24))
    image.save(name)
    return name


def _open_rgb(name: str) -> Image.Image:
    with Image.open(name) as image:
        return image.convert("RGB")


def _differ(one: Image.Image, other: Image.Image) -> bool:
    return ImageChops.difference(one, other).getbbox() is not None


@pytest.mark.parametrize(
    ("strength", "like"),
    [(0.0, "image"), (1.0, "painting")],
    ids=["none of the painting", "all of it"],
)
def test_strength_0_keeps_the_image_and_1_the_painting(strength: float, like: str) -> None:
    expected = {"image": _open_rgb(_image()), "painting": _painted()}[like]
    assert not _differ(_painted(image=_image(), strength=strength), expected)


def test_strength_one_half_blends_image_and_painting() -> None:
    expected = Image.blend(_open_rgb(_image()), _painted(), 0.5)
    assert not _differ(_painted(image=_image(), strength=0.5), expected)


def test_only_the_masked_area_is_painted() -> None:
    mask = Image.new("L", (64, 48))
    mask.paste(255, (0, 0, 20, 48))
    mask.save("mask.png")
    made = _painted(image=_image(), mask="mask.png")
    kept, painted = (20, 0, 64, 48), (0, 0, 20, 48)
    assert not _differ(made.crop(kept), _open_rgb("image.png").crop(kept))
    assert not _differ(made.crop(painted), _painted().crop(painted))


def test_reference_images_are_mixed_in() -> None:
    other = Image.new("RGB", (64, 48), "blue")
    other.save("blue.png")
    expected = Image.blend(Image.blend(_painted(), _open_rgb(_image()), 0.5), other, 0.5)
    assert not _differ(_painted(references=(_image(), "blue.png")), expected)


def test_control_lines_are_drawn_on_top() -> None:
    lines = Image.new("L", (64, 48))
    lines.paste(255, (30, 0, 32, 48))
    lines.save("lines.png")
    made = _painted(controls=({"kind": "canny", "image": "lines.png"},))
    assert made.crop((30, 0, 32, 48)).getcolors() == [(96, (255, 255, 255))]
    assert not _differ(made.crop((0, 0, 30, 48)), _painted().crop((0, 0, 30, 48)))


def test_control_of_strength_0_changes_nothing() -> None:
    control = {"kind": "canny", "image": _image(), "strength": 0.0}
    assert not _differ(_painted(controls=(control,)), _painted())


@pytest.mark.parametrize(("share", "seed"), [(0.0, 1), (1.0, 2)], ids=["the first", "the second"])
def test_variation_strength_0_and_1_equal_the_two_seeds(share: float, seed: int) -> None:
    made = _painted(variation_seed=2, variation_strength=share)
    assert not _differ(made, _painted(seed=seed))


def test_variation_by_half_differs_from_both_seeds() -> None:
    made = _painted(variation_seed=2, variation_strength=0.5)
    assert (_differ(made, _painted()), _differ(made, _painted(seed=2))) == (True, True)


def test_lora_tints_the_image_unless_its_strength_is_0() -> None:
    assert _differ(_painted(loras=({"name": "sepia"},)), _painted())
    assert not _differ(_painted(loras=({"name": "sepia", "strength": 0.0},)), _painted())
    assert _differ(_painted(loras=({"name": "sepia"},)), _painted(loras=({"name": "moonlight"},)))


@pytest.mark.parametrize(
    ("upscale", "size"),
    [
        ({"factor": 2, "method": "mock-x2"}, (128, 96)),
        ({"factor": 4, "method": "mock-x4"}, (256, 192)),
        ({"factor": 1.5, "method": "mock-x4"}, (96, 72)),
        ({}, (128, 96)),
    ],
    ids=["by two", "by four", "by another factor", "by default"],
)
def test_upscale_returns_the_requested_size(upscale: dict[str, Any], size: tuple[int, int]) -> None:
    assert _processed(image=_image(), upscale=upscale).size == size


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (
            {"upscale": {"method": "mock-x3"}},
            "Unknown upscaler 'mock-x3'. Did you mean 'mock-x2'?\nThe mock has: mock-x2, mock-x4.",
        ),
        (
            {"restore": {"model": "restorer"}},
            "Unknown restorer 'restorer'. Did you mean 'mock-restorer'?\n"
            "The mock has: mock-restorer.",
        ),
        (
            {"preprocess": "dept"},
            "preprocess cannot be 'dept'. Did you mean 'depth'?\n"
            "Known: canny, depth, pose, scribble.",
        ),
    ],
    ids=["upscaler", "restorer", "preprocessor"],
)
def test_unknown_model_is_refused(asked: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RequestError) as caught:
        _result(image=_image(), **asked)
    assert str(caught.value) == sentence


def test_restore_smooths_unless_fidelity_is_1() -> None:
    assert _differ(_processed(image=_image(), restore={"fidelity": 0.0}), _open_rgb("image.png"))
    assert not _differ(
        _processed(image=_image(), restore={"fidelity": 1.0}), _open_rgb("image.png")
    )


def test_canny_finds_the_edges_of_a_square() -> None:
    made = _processed(image=_image(), preprocess="canny")
    assert made.getpixel((16, 18)) == (255, 255, 255)
    assert made.getpixel((24, 18)) == (0, 0, 0)
    assert made.getpixel((0, 0)) == (0, 0, 0)


@pytest.mark.parametrize("kind", ["canny", "depth", "pose", "scribble"])
def test_control_image_keeps_the_size_and_is_not_blank(kind: str) -> None:
    made = _processed(image=_image(size=(90, 60)), preprocess=kind)
    low, high = made.convert("L").getextrema()
    assert made.size == (90, 60)
    assert low != high


def test_models_lists_all_models_of_the_mock() -> None:
    with closing(open_backend("mock", {})) as engine:
        offered = [(model.kind, model.name) for model in engine.models()]
    assert offered == [
        ("checkpoint", "mock"),
        ("checkpoint", "mock-dusk"),
        ("lora", "sepia"),
        ("lora", "moonlight"),
        ("controlnet", "mock-canny"),
        ("controlnet", "mock-depth"),
        ("controlnet", "mock-pose"),
        ("controlnet", "mock-scribble"),
        ("upscaler", "mock-x2"),
        ("upscaler", "mock-x4"),
    ]

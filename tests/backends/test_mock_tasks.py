"""The mock's tasks: each does to a picture what its name says, as far as a mock can."""

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


def _made(**asked: Any) -> Image.Image:
    (output,) = _result(**_BASE | asked).outputs
    return Image.open(BytesIO(output.data)).convert("RGB")


def _remade(**asked: Any) -> Image.Image:
    (output,) = _result(**asked).outputs
    return Image.open(BytesIO(output.data)).convert("RGB")


def _image(name: str = "image.png", size: tuple[int, int] = (64, 48)) -> str:
    """A slope of greys with a white square in it."""
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    image.paste((255, 255, 255), (16, 12, 32, 24))
    image.save(name)
    return name


def _opened(name: str) -> Image.Image:
    with Image.open(name) as image:
        return image.convert("RGB")


def _differ(one: Image.Image, other: Image.Image) -> bool:
    return ImageChops.difference(one, other).getbbox() is not None


@pytest.mark.parametrize(
    ("strength", "like"),
    [(0.0, "image"), (1.0, "painting")],
    ids=["none of the painting", "all of it"],
)
def test_the_strength_says_how_much_is_painted_over(strength: float, like: str) -> None:
    expected = {"image": _opened(_image()), "painting": _made()}[like]
    assert not _differ(_made(image=_image(), strength=strength), expected)


def test_half_a_strength_is_half_of_each() -> None:
    expected = Image.blend(_opened(_image()), _made(), 0.5)
    assert not _differ(_made(image=_image(), strength=0.5), expected)


def test_only_where_the_mask_is_white_is_painted() -> None:
    mask = Image.new("L", (64, 48))
    mask.paste(255, (0, 0, 20, 48))
    mask.save("mask.png")
    made = _made(image=_image(), mask="mask.png")
    kept, painted = (20, 0, 64, 48), (0, 0, 20, 48)
    assert not _differ(made.crop(kept), _opened("image.png").crop(kept))
    assert not _differ(made.crop(painted), _made().crop(painted))


def test_references_are_mixed_in() -> None:
    other = Image.new("RGB", (64, 48), "blue")
    other.save("blue.png")
    expected = Image.blend(Image.blend(_made(), _opened(_image()), 0.5), other, 0.5)
    assert not _differ(_made(references=(_image(), "blue.png")), expected)


def test_a_controls_lines_are_drawn_over() -> None:
    lines = Image.new("L", (64, 48))
    lines.paste(255, (30, 0, 32, 48))
    lines.save("lines.png")
    made = _made(controls=({"kind": "canny", "image": "lines.png"},))
    assert made.crop((30, 0, 32, 48)).getcolors() == [(96, (255, 255, 255))]
    assert not _differ(made.crop((0, 0, 30, 48)), _made().crop((0, 0, 30, 48)))


def test_a_control_of_no_strength_does_nothing() -> None:
    control = {"kind": "canny", "image": _image(), "strength": 0.0}
    assert not _differ(_made(controls=(control,)), _made())


@pytest.mark.parametrize(("share", "seed"), [(0.0, 1), (1.0, 2)], ids=["the first", "the second"])
def test_a_variation_lies_between_two_seeds(share: float, seed: int) -> None:
    made = _made(variation_seed=2, variation_strength=share)
    assert not _differ(made, _made(seed=seed))


def test_a_variation_by_half_is_neither() -> None:
    made = _made(variation_seed=2, variation_strength=0.5)
    assert (_differ(made, _made()), _differ(made, _made(seed=2))) == (True, True)


def test_a_lora_tints_and_one_of_no_strength_does_not() -> None:
    assert _differ(_made(loras=({"name": "sepia"},)), _made())
    assert not _differ(_made(loras=({"name": "sepia", "strength": 0.0},)), _made())
    assert _differ(_made(loras=({"name": "sepia"},)), _made(loras=({"name": "moonlight"},)))


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
def test_an_upscaler_gives_the_size_asked_for(
    upscale: dict[str, Any], size: tuple[int, int]
) -> None:
    assert _remade(image=_image(), upscale=upscale).size == size


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (
            {"upscale": {"method": "mock-x3"}},
            "The mock has no upscaler 'mock-x3'. Did you mean 'mock-x2'?\n"
            "It has: mock-x2, mock-x4.",
        ),
        (
            {"restore": {"model": "mender"}},
            "The mock has no restorer 'mender'. Did you mean 'mock-mender'?\nIt has: mock-mender.",
        ),
        (
            {"preprocess": "dept"},
            "preprocess can't be 'dept'. Did you mean 'depth'?\n"
            "Known: canny, depth, pose, scribble.",
        ),
    ],
    ids=["upscaler", "restorer", "preprocessor"],
)
def test_what_it_does_not_have_is_refused(asked: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RequestError) as caught:
        _result(image=_image(), **asked)
    assert str(caught.value) == sentence


def test_restoring_smooths_and_full_fidelity_leaves_it_be() -> None:
    assert _differ(_remade(image=_image(), restore={"fidelity": 0.0}), _opened("image.png"))
    assert not _differ(_remade(image=_image(), restore={"fidelity": 1.0}), _opened("image.png"))


def test_canny_finds_the_edges_of_the_square() -> None:
    made = _remade(image=_image(), preprocess="canny")
    assert made.getpixel((16, 18)) == (255, 255, 255)
    assert made.getpixel((24, 18)) == (0, 0, 0)
    assert made.getpixel((0, 0)) == (0, 0, 0)


@pytest.mark.parametrize("kind", ["canny", "depth", "pose", "scribble"])
def test_a_control_picture_is_as_large_as_its_image_and_shows_something(kind: str) -> None:
    made = _remade(image=_image(size=(90, 60)), preprocess=kind)
    low, high = made.convert("L").getextrema()
    assert made.size == (90, 60)
    assert low != high


def test_what_it_has_on_offer() -> None:
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

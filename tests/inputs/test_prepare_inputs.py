"""What a backend gets for the images of a request."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.input_samples import (
    CACHE_FOLDER,
    load_image,
    make_capabilities,
    make_side,
    prepare_request,
    write_half_white_mask,
    write_image,
)

from imagen.core.capabilities import Capabilities, Parameter
from imagen.core.request import Request
from imagen.core.ticket import InputImage
from imagen.errors import RequestError
from imagen.inputs import prepare_inputs


def test_a_request_without_images_is_unchanged() -> None:
    request = Request(prompt="a fox")
    assert prepare_inputs(request, make_capabilities(), CACHE_FOLDER).request is request
    assert not CACHE_FOLDER.exists()


def test_a_plain_image_of_a_valid_size_is_passed_as_it_is() -> None:
    path = Path(write_image("my fox.jpg", (64, 48)))
    request = prepare_request(image=str(path)).request
    digest = sha256(path.read_bytes()).hexdigest()
    assert request.image == str(CACHE_FOLDER.absolute() / digest / "my fox.jpg")
    assert Path(request.image).read_bytes() == path.read_bytes()
    assert (request.width, request.height) == (64, 48)


def test_input_images_are_described_by_name_and_hash() -> None:
    Path("deep").mkdir()
    path = write_image("deep/fox.png", (60, 40))
    (known,) = prepare_request(image=path).inputs
    assert known == InputImage(
        parameter="image",
        name="fox.png",
        sha256=sha256(Path(path).read_bytes()).hexdigest(),
        width=60,
        height=40,
    )


def test_rounding_by_a_few_pixels_gives_no_warning() -> None:
    made = prepare_request(image=write_image("fox.png", (101, 50)), strength=0.5)
    assert (made.request.width, made.request.height, made.warnings) == (104, 48, ())
    assert load_image(made.request.image).size == (104, 48)


def test_cropping_to_a_large_multiple_gives_a_warning() -> None:
    coarse = make_capabilities(width=make_side(multiple_of=64), height=make_side(multiple_of=64))
    made = prepare_request(coarse, image=write_image("fox.png", (128, 96)), strength=0.5)
    assert made.warnings == ("image: fox.png (128 × 96) was scaled and cropped to 128 × 128.",)


def test_a_very_large_image_is_scaled_down_with_a_warning() -> None:
    made = prepare_request(image=write_image("fox.jpg", (4000, 3000)))
    assert load_image(made.request.image).size == (1184, 888)
    assert made.warnings == ("image: fox.jpg (4000 × 3000) was scaled to 1184 × 888.",)


def test_a_requested_size_scales_and_crops_around_the_centre() -> None:
    image = Image.new("RGB", (400, 200), "red")
    image.paste((0, 0, 255), (100, 0, 300, 200))
    image.save("fox.png")
    made = prepare_request(image="fox.png", width=96, height=96)
    cropped = load_image(made.request.image)
    assert (cropped.size, cropped.getpixel((3, 48))) == ((96, 96), (0, 0, 255))
    assert made.warnings == ("image: fox.png (400 × 200) was scaled and cropped to 96 × 96.",)


def test_a_requested_size_stays_and_the_image_has_the_rounded_size() -> None:
    made = prepare_request(image=write_image("fox.png", (300, 300)), width=100, height=100)
    assert (made.request.width, made.request.height) == (100, 100)
    assert load_image(made.request.image).size == (104, 104)


def test_a_backend_without_size_parameters_gets_the_original_size() -> None:
    made = prepare_request(
        Capabilities(tasks=("image-to-image",)), image=write_image("fox.png", (61, 43))
    )
    assert load_image(made.request.image).size == (61, 43)
    assert made.request.width is None


@pytest.mark.parametrize("limit", [(128, 4096), (4096, 96)], ids=["width", "height"])
def test_prepared_images_stay_within_the_limits(limit: tuple[int, int]) -> None:
    request = Request(image=write_image("fox.png", (256, 192)))
    made = prepare_inputs(request, make_capabilities(), CACHE_FOLDER, largest=limit)
    assert load_image(made.request.image).size == (128, 96)


def test_transparency_is_placed_on_white_with_a_warning() -> None:
    path = write_image("fox.png", (64, 48), (200, 0, 0, 0), "RGBA")
    made = prepare_request(image=path)
    assert load_image(made.request.image).getpixel((0, 0)) == (255, 255, 255)
    assert made.warnings == ("image: fox.png is partly transparent and was placed on white.",)


def test_an_image_can_be_its_own_mask_by_transparency() -> None:
    image = Image.new("RGBA", (64, 48), (9, 9, 9, 255))
    image.paste((9, 9, 9, 0), (0, 0, 32, 48))
    image.save("fox.png")
    made = prepare_request(image="fox.png", mask="fox.png")
    mask = load_image(made.request.mask)
    assert (mask.getpixel((5, 5)), mask.getpixel((60, 5))) == (255, 0)
    assert made.warnings == (
        "mask: fox.png is partly transparent; its transparent areas are repainted.",
    )


@pytest.mark.parametrize(
    ("task", "asked"),
    [
        ("upscale", {"upscale": {"method": "esrgan.pth"}}),
        ("restore", {"restore": {}}),
        ("preprocess", {"preprocess": "canny"}),
    ],
    ids=["upscale", "restore", "preprocess"],
)
def test_size_preserving_tasks_get_the_original_size(task: str, asked: dict[str, Any]) -> None:
    path = write_image("fox.png", (2001, 999), (9, 9, 9, 100), "RGBA")
    asked |= {"controls": [{"kind": "canny", "image": path}]}
    request = prepare_request(image=path, **asked).request
    assert (request.task, request.width) == (task, None)
    assert (load_image(request.image).size, load_image(request.image).mode) == ((2001, 999), "RGBA")


def test_a_very_large_image_is_scaled_before_preprocessing() -> None:
    made = prepare_request(image=write_image("fox.jpg", (4096, 4096)), preprocess="canny")
    assert load_image(made.request.image).size == (2048, 2048)
    assert made.warnings == ("image: fox.jpg (4096 × 4096) was scaled to 2048 × 2048.",)


def test_a_mask_is_scaled_and_cropped_like_its_image() -> None:
    made = prepare_request(
        image=write_image("fox.png", (400, 200)),
        mask=write_half_white_mask("m.png", (400, 200)),
        width=96,
        height=96,
    )
    mask = load_image(made.request.mask)
    assert (mask.mode, mask.size) == ("L", (96, 96))
    assert (mask.getpixel((10, 10)), mask.getpixel((90, 10))) == (255, 0)
    assert [known.parameter for known in made.inputs] == ["image", "mask"]


def test_feathering_is_applied_to_the_mask() -> None:
    made = prepare_request(
        image=write_image("fox.png"), mask=write_half_white_mask("m.png"), feather=6
    )
    assert made.request.feather is None
    assert made.receipt["feather"].outcome == "applied"
    assert 0 < load_image(made.request.mask).tobytes()[34] < 255


@pytest.mark.parametrize(
    ("asked", "strength"), [({}, 0.3), ({"strength": 0.7}, 0.7)], ids=["none asked", "asked"]
)
def test_upscaling_before_img2img_is_applied(asked: dict[str, Any], strength: float) -> None:
    path = write_image("fox.png", (64, 48))
    made = prepare_request(prompt="a fox", image=path, upscale={"factor": 3}, **asked)
    assert load_image(made.request.image).size == (192, 144)
    assert (made.request.task, made.request.strength) == ("image-to-image", strength)
    assert (made.request.width, made.request.height) == (192, 144)
    assert made.receipt["upscale"].outcome == "applied"
    assert made.warnings == ()


def test_upscaling_before_img2img_may_exceed_the_default_area() -> None:
    made = prepare_request(
        prompt="x", image=write_image("fox.png", (700, 700)), upscale={"factor": 2}
    )
    assert load_image(made.request.image).size == (1400, 1400)


def test_upscaling_before_img2img_beyond_the_backend_gives_a_warning() -> None:
    path = write_image("fox.png", (640, 480))
    made = prepare_request(
        make_capabilities(width=make_side(max=1024)), prompt="x", image=path, upscale={"factor": 2}
    )
    assert (made.request.width, made.request.height) == (1024, 768)
    assert made.warnings == ("image: fox.png (1280 × 960) was scaled to 1024 × 768.",)


def test_the_first_reference_determines_the_generated_size() -> None:
    made = prepare_request(
        make_capabilities(references=Parameter()),
        references=(write_image("a.png", (200, 96)), write_image("b.bmp", (40, 40))),
    )
    first, second = made.request.references
    assert (load_image(first).size, load_image(second).size) == ((200, 96), (40, 40))
    assert Path(second).name == "b.png"
    assert (made.request.width, made.request.height) == (200, 96)
    assert [known.parameter for known in made.inputs] == ["references.0", "references.1"]


def test_control_images_have_the_generated_size() -> None:
    made = prepare_request(
        width=128,
        height=64,
        controls=(
            {"kind": "canny", "image": write_image("a.png", (400, 200)), "strength": 0.5},
            {"kind": "depth", "image": write_image("b.png", (100, 100))},
        ),
    )
    first, second = made.request.controls
    assert (load_image(first.image).size, load_image(second.image).size) == ((128, 64), (128, 64))
    assert (first.kind, first.strength) == ("canny", 0.5)
    assert made.warnings == (
        "controls.1: b.png (100 × 100) was cropped to the aspect ratio of 128 × 64.",
    )


def test_a_control_image_alone_determines_the_aspect_ratio() -> None:
    made = prepare_request(
        controls=({"kind": "canny", "image": write_image("a.png", (3000, 1500))},)
    )
    assert (made.request.width, made.request.height) == (728, 360)
    assert load_image(made.request.controls[0].image).size == (728, 360)


def test_an_unknown_control_is_refused_before_its_image_is_read() -> None:
    with pytest.raises(RequestError) as caught:
        prepare_request(controls=({"kind": "cany", "image": "nowhere.png"},))
    assert str(caught.value) == (
        "This backend has no control 'cany'. Did you mean 'canny'?\nIt has: canny, depth."
    )


def test_dropped_control_images_are_not_read() -> None:
    asked = {"kind": "sketch", "image": "nowhere.png"}
    made = prepare_request(
        Capabilities(tasks=("image-to-image",)), image=write_image("a.png"), controls=(asked,)
    )
    assert made.request.controls[0].image == "nowhere.png"


def test_images_of_backend_parameters_are_prepared() -> None:
    style = Parameter(type="image")
    made = prepare_request(
        make_capabilities(style_image=style),
        extra={"style_image": write_image("s.tiff"), "other": "a"},
    )
    assert load_image(made.request.extra["style_image"]).format == "PNG"
    assert made.request.extra["other"] == "a"
    assert [known.parameter for known in made.inputs] == ["style_image"]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"image": "x.png"}, "image: there is no file x.png."),
        ({"references": ("x.png",)}, "references.0: there is no file x.png."),
        (
            {"controls": ({"kind": "canny", "image": "x.png"},)},
            "controls.0: there is no file x.png.",
        ),
    ],
    ids=["image", "reference", "control"],
)
def test_a_missing_input_file_is_reported_with_its_parameter(
    asked: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RequestError) as caught:
        prepare_request(**asked)
    assert caught.value.message == sentence

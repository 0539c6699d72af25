"""Outpainting as an image and a mask."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image
from support.input_samples import (
    load_image,
    make_capabilities,
    make_side,
    prepare_request,
    write_half_white_mask,
    write_image,
)

from imagen.core.capabilities import Capabilities, Parameter
from imagen.core.request import Outpaint
from imagen.errors import RequestError
from imagen.inputs.outpaint import plan_canvas
from imagen.inputs.sizes import ImageSize, SizeRules


@pytest.mark.parametrize(
    ("asked", "sides"),
    [
        ({"right": 50}, {"right": 60}),
        ({"left": 50}, {"left": 60}),
        ({"left": 10, "right": 11}, {"left": 10, "right": 50}),
        ({"top": 80, "left": 60}, {"top": 80, "left": 60}),
        ({"bottom": 1}, {"left": 30, "right": 30, "bottom": 80}),
    ],
    ids=["right", "left", "both", "nothing to round", "a side not gone beyond"],
)
def test_a_canvas_is_rounded_up_on_a_requested_side(
    asked: dict[str, int], sides: dict[str, int]
) -> None:
    frame = SizeRules(make_side(multiple_of=80), make_side(multiple_of=80), ImageSize(4096, 4096))
    place = plan_canvas(ImageSize(100, 80), Outpaint(**asked), frame)
    assert (place.sides, place.kept) == (Outpaint(**sides), (0, 0, 100, 80))


def test_an_axis_without_outpainting_loses_few_pixels() -> None:
    frame = SizeRules(make_side(multiple_of=80), make_side(multiple_of=80), ImageSize(4096, 4096))
    few = plan_canvas(ImageSize(95, 80), Outpaint(bottom=80), frame)
    many = plan_canvas(ImageSize(96, 80), Outpaint(bottom=80), frame)
    assert (few.sides, few.kept) == (Outpaint(bottom=80), (7, 0, 87, 80))
    assert (many.sides, many.kept) == (Outpaint(left=32, right=32, bottom=80), (0, 0, 96, 80))


def test_a_canvas_without_size_rules_is_not_rounded() -> None:
    place = plan_canvas(ImageSize(101, 67), Outpaint(left=3, top=5), None)
    assert (place.size, place.sides) == ((104, 72), Outpaint(left=3, top=5))


def test_outpainting_gives_a_larger_image_and_a_white_border_mask() -> None:
    made = prepare_request(
        image=write_image("fox.png", (96, 96), "red"), outpaint={"left": 64, "top": 32}
    )
    image, mask = load_image(made.request.image), load_image(made.request.mask)
    assert (image.size, mask.size, mask.mode) == ((160, 128), (160, 128), "L")
    assert (made.request.width, made.request.height) == (160, 128)
    assert image.crop((64, 32, 160, 128)).getcolors() == [(96 * 96, (255, 0, 0))]
    assert mask.crop((0, 0, 64, 128)).getextrema() == (255, 255)
    assert mask.crop((0, 0, 160, 32)).getextrema() == (255, 255)
    assert mask.crop((110, 80, 160, 128)).getextrema() == (0, 0)
    assert made.receipt["outpaint"].outcome == "applied"


def test_outpainting_continues_the_edges() -> None:
    image = Image.new("RGB", (96, 96), "red")
    image.paste((0, 0, 255), (88, 0, 96, 96))
    image.save("fox.png")
    made = prepare_request(image="fox.png", outpaint={"right": 64})
    red, _, blue = load_image(made.request.image).resize((160, 96)).getpixel((150, 48))  # type: ignore[misc]
    assert blue > 200 > red


def test_outpainting_the_same_image_twice_gives_the_same_files() -> None:
    asked: dict[str, Any] = {"image": write_image("fox.png"), "outpaint": {"right": 64}}
    assert prepare_request(**asked).request == prepare_request(**asked).request


@pytest.mark.parametrize(
    ("feather", "fades"), [({}, True), ({"feather": 0}, False)], ids=["by default", "not at all"]
)
def test_the_outpainting_mask_fades_into_the_image(feather: dict[str, Any], fades: bool) -> None:
    made = prepare_request(image=write_image("fox.png", (96, 96)), outpaint={"left": 64}, **feather)
    found = load_image(made.request.mask).getpixel((72, 48))
    assert isinstance(found, int)
    assert (found > 100) is fades
    assert load_image(made.request.mask).getpixel((63, 48)) == 255
    assert made.request.feather is None


def test_outpainting_includes_the_mask_of_the_image() -> None:
    made = prepare_request(
        image=write_image("fox.png", (96, 96)),
        mask=write_half_white_mask("m.png", (96, 96)),
        outpaint={"right": 64},
        feather=0,
    )
    mask = load_image(made.request.mask)
    assert [mask.getpixel((x, 50)) for x in (10, 80, 120)] == [255, 0, 255]


def test_rounded_outpainting_is_recorded_as_mapped() -> None:
    made = prepare_request(
        image=write_image("fox.png", (96, 96)), outpaint={"right": 50}, width=512
    )
    assert made.receipt["outpaint"].used == {"left": 0, "top": 0, "right": 56, "bottom": 0}
    assert made.receipt["width"].sentence("width") == (
        "width: 512 became 152 (the image and the added sides determine the size)"
    )
    assert made.request.width == 152


def test_a_large_image_is_scaled_to_leave_room_for_outpainting() -> None:
    made = prepare_request(image=write_image("fox.jpg", (4000, 3000)), outpaint={"right": 256})
    assert load_image(made.request.image).size == (1224, 720)
    assert made.warnings == ("image: fox.jpg (4000 × 3000) was scaled to 968 × 726.",)


def test_outpainting_beyond_the_largest_size_is_refused() -> None:
    with pytest.raises(RequestError) as caught:
        prepare_request(
            make_capabilities(width=make_side(max=1024)),
            image=write_image("fox.png", (64, 64)),
            outpaint={"left": 1100},
        )
    assert caught.value.message == (
        "outpaint: cannot add 1100 × 0 pixels to an image of 64 × 64: "
        "the result may be at most 1024 × 4096."
    )


def test_a_backend_with_outpaint_gets_the_image_as_it_is() -> None:
    made = prepare_request(
        make_capabilities(outpaint=Parameter()),
        image=write_image("fox.png", (64, 64)),
        outpaint={"left": 64},
    )
    assert load_image(made.request.image).size == (64, 64)
    assert (made.request.outpaint, made.request.mask) == (Outpaint(left=64), None)
    assert (made.request.width, made.request.height) == (128, 64)
    assert made.receipt == {}


@pytest.mark.parametrize(
    ("tasks", "task"),
    [(("outpaint", "inpaint"), "outpaint"), (("inpaint",), "inpaint")],
    ids=["outpainting by a workflow of its own", "outpainting by inpainting"],
)
def test_the_outpaint_task_stays_for_a_backend_that_has_it(
    tasks: tuple[str, ...], task: str
) -> None:
    known = Capabilities(tasks=tasks, parameters={"width": make_side(), "height": make_side()})
    made = prepare_request(known, image=write_image("fox.png", (64, 64)), outpaint={"left": 64})
    assert made.request.task == task

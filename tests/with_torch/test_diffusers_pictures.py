"""Each family draws what was asked: seeds, initial images, masks, LoRAs, control pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from PIL import Image
from support.tiny_models import (
    FAMILIES,
    SIZE,
    controlnet,
    difference,
    drawn,
    first,
    greatest_difference,
    lora,
    opened,
    photo,
    picture,
    right_half,
)

from imagen.errors import Failed

if TYPE_CHECKING:
    from pathlib import Path

_EACH = pytest.mark.parametrize("family", FAMILIES)
_FIRST = pytest.mark.parametrize("family", ["sd1", "sdxl", "sd3", "flux1"])
"""Those that have all that Stable Diffusion has."""


@_EACH
def test_the_same_seed_gives_the_same_picture_after_a_fresh_load(family: str) -> None:
    backend = opened(family)
    before = first(backend)
    backend.free()
    assert first(backend) == before


@_FIRST
def test_the_same_seed_gives_the_same_steered_picture(family: str, tmp_path: Path) -> None:
    """Some pipelines draw noise for the control picture that follows no generator."""
    backend = opened(family, controlnets={"canny": str(controlnet(family))})
    steered: dict[str, Any] = {"controls": [{"kind": "canny", "image": str(photo(tmp_path))}]}
    torch.manual_seed(1)
    before = first(backend, **steered)
    torch.manual_seed(2)
    assert first(backend, **steered) == before


def test_drawing_leaves_the_programs_own_chances_alone() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first(opened("sd1"))
    assert torch.equal(torch.random.get_rng_state(), before)


@_EACH
def test_each_picture_of_a_batch_is_that_of_its_own_seed(family: str) -> None:
    backend = opened(family)
    batch = drawn(backend, count=2)
    alone = drawn(backend, seed=8)
    assert [output.seed for output in batch.outputs] == [7, 8]
    assert greatest_difference(picture(batch, 1), picture(alone)) <= 2
    assert picture(batch, 0).tobytes() != picture(batch, 1).tobytes()


@_FIRST
def test_the_less_strength_the_more_counts_the_initial_image(family: str, tmp_path: Path) -> None:
    backend = opened(family)
    one, other = str(photo(tmp_path)), str(photo(tmp_path, "other.png", turned=180))
    little = [picture(drawn(backend, image=i, strength=0.2, steps=10)) for i in (one, other)]
    much = [picture(drawn(backend, image=i, strength=0.9, steps=10)) for i in (one, other)]
    assert little[0].size == SIZE
    assert difference(*little) > difference(*much) > 0


@_EACH
def test_only_what_the_mask_shows_is_drawn_anew(family: str, tmp_path: Path) -> None:
    image = photo(tmp_path)
    made = picture(drawn(opened(family), image=str(image), mask=str(right_half(tmp_path))))
    left, right = (0, 0, 32, 48), (32, 0, 64, 48)
    original = Image.open(image)
    assert made.crop(left).tobytes() == original.crop(left).tobytes()
    assert difference(made.crop(right), original.crop(right)) > 5


def test_a_soft_edge_of_the_mask_is_soft_in_the_picture(tmp_path: Path) -> None:
    image, mask = photo(tmp_path), tmp_path / "grey.png"
    Image.new("L", SIZE, 128).save(mask)
    soft = picture(drawn(opened(), image=str(image), mask=str(mask)))
    Image.new("L", SIZE, 255).save(mask)
    hard = picture(drawn(opened(), image=str(image), mask=str(mask)))
    half = Image.composite(hard, Image.open(image), Image.new("L", SIZE, 128))
    assert soft.tobytes() == half.tobytes()


def test_an_initial_image_of_another_size_is_fitted(tmp_path: Path) -> None:
    Image.new("RGBA", (100, 30), "red").save(tmp_path / "wide.png")
    made = drawn(opened(), image=str(tmp_path / "wide.png"), strength=0.5)
    assert picture(made).size == SIZE


@_FIRST
def test_a_variation_begins_between_two_noises(family: str) -> None:
    backend = opened(family)
    none = first(backend, variation_seed=3, variation_strength=0.0)
    some = first(backend, variation_seed=3, variation_strength=0.4)
    assert none == first(backend)
    assert some not in (none, first(backend, seed=3))


def test_a_whole_variation_is_the_other_noise() -> None:
    backend = opened("sd1")
    whole = first(backend, variation_seed=3, variation_strength=1.0, sampler="euler")
    assert whole == first(backend, seed=3, sampler="euler")


@pytest.mark.parametrize("family", ["sd1", "sdxl", "flux1", "flux2"])
def test_loras_change_the_picture_and_leave_no_trace(family: str) -> None:
    backend = opened(family, loras_dir=str(lora(family).parent))
    before = first(backend)
    strong = first(backend, loras=[{"name": f"lora-{family}", "strength": 1.0}])
    weak = first(backend, loras=[{"name": f"lora-{family}.safetensors", "strength": 0.3}])
    assert len({before, strong, weak}) == 3
    assert first(backend) == before


def test_a_lora_of_no_strength_changes_nothing() -> None:
    backend = opened("sd1")
    assert first(backend, loras=[{"name": str(lora("sd1")), "strength": 0}]) == first(backend)


def test_a_lora_may_be_put_on_twice() -> None:
    backend = opened("sd1")
    half = {"name": str(lora("sd1")), "strength": 0.5}
    once, twice = first(backend, loras=[half]), first(backend, loras=[half, half])
    assert once != twice


def test_a_lora_for_layers_that_the_model_lacks_is_said_to_fail() -> None:
    backend = opened("sdxl")
    before = first(backend)
    with pytest.raises(
        Failed, match=r"The LoRA lora-sd1.safetensors doesn't fit this model:"
    ) as it:
        first(backend, loras=[{"name": str(lora("sd1"))}])
    assert it.value.backend == "tiny"
    assert first(backend) == before


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param({}, id="from noise"),
        pytest.param({"image": "photo.png", "strength": 0.7}, id="from an image"),
        pytest.param({"image": "photo.png", "mask": "mask.png"}, id="under a mask"),
    ],
)
def test_a_control_picture_steers(asked: dict[str, Any], tmp_path: Path) -> None:
    photo(tmp_path)
    right_half(tmp_path)
    asked = {k: str(tmp_path / v) if isinstance(v, str) else v for k, v in asked.items()}
    backend = opened("sd1", controlnets={"canny": str(controlnet()), "depth": str(controlnet())})
    canny = {"kind": "canny", "image": str(photo(tmp_path, "canny.png"))}
    free = first(backend, **asked)
    steered = first(backend, **asked, controls=[canny])
    twice = first(backend, **asked, controls=[canny, {**canny, "kind": "depth"}])
    idle = first(backend, **asked, controls=[{**canny, "strength": 0}])
    assert len({free, steered, twice}) == 3
    assert idle == free


@pytest.mark.parametrize("family", ["sdxl", "sd3", "flux1"])
def test_a_control_picture_steers_other_families(family: str, tmp_path: Path) -> None:
    backend = opened(family, controlnets={"canny": str(controlnet(family))})
    canny = {"kind": "canny", "image": str(photo(tmp_path))}
    turned = {"kind": "canny", "image": str(photo(tmp_path, "turned.png", turned=180))}
    steered = [first(backend, controls=[control]) for control in (canny, turned)]
    assert len({first(backend), *steered}) == 3


def test_a_control_picture_steers_an_image_and_a_mask_of_flux(tmp_path: Path) -> None:
    backend = opened("flux1", controlnets={"canny": str(controlnet("flux1"))})
    image, mask = str(photo(tmp_path)), str(right_half(tmp_path))
    canny = {"kind": "canny", "image": image}
    redrawn: dict[str, Any] = {"image": image, "strength": 0.7}
    assert first(backend, **redrawn, controls=[canny]) != first(backend, **redrawn)
    assert first(backend, **redrawn, mask=mask, controls=[canny]) != first(
        backend, **redrawn, mask=mask
    )


@_FIRST
def test_guidance_and_negatives_count(family: str) -> None:
    backend = opened(family)
    plain, guided = first(backend), first(backend, cfg=4.0)
    against = first(backend, cfg=4.0, negative="rain")
    assert len({plain, guided, against}) == 3


@pytest.mark.parametrize("family", ["sdxl", "sd3", "flux1"])
def test_a_second_prompt_counts_and_is_else_the_first(family: str) -> None:
    backend = opened(family)
    assert first(backend, prompt_2="an owl") != first(backend)
    assert first(backend, prompt_2="a fox") == first(backend)


def test_flux2_draws_what_its_references_show(tmp_path: Path) -> None:
    backend = opened("flux2")
    Image.new("RGB", (80, 64), "red").save(tmp_path / "red.png")
    Image.new("RGB", (64, 64), "blue").save(tmp_path / "blue.png")
    red, blue = str(tmp_path / "red.png"), str(tmp_path / "blue.png")
    edited = [first(backend, references=names) for names in ([red], [blue], [red, blue])]
    assert len({first(backend), *edited}) == 4
    assert first(backend, references=[red]) == edited[0]


def test_the_cfg_of_the_flux2_base_counts() -> None:
    backend = opened("flux2")
    assert first(backend, cfg=1.0) != first(backend, cfg=6.0)


def test_distilled_guidance_counts() -> None:
    backend = opened("flux1")
    assert first(backend, guidance=1.0) != first(backend, guidance=9.0)


def test_a_long_prompt_is_said_to_be_cut() -> None:
    result = drawn(opened("sd1"), prompt="a fox in a garden " * 20)
    assert [sentence[:57] for sentence in result.warnings] == [
        "The prompt is longer than the text encoder reads: what co"
    ]

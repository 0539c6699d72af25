"""Each family honours the request: seeds, initial images, masks, LoRAs, control images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from PIL import Image
from support.tiny_models import (
    FAMILIES,
    SIZE,
    difference,
    first_pixels,
    generate,
    greatest_difference,
    open_image,
    open_tiny,
    tiny_controlnet,
    tiny_lora,
    write_half_mask,
    write_photo,
)

from imagen.errors import Failed

if TYPE_CHECKING:
    from pathlib import Path

_EACH = pytest.mark.parametrize("family", FAMILIES)
_FIRST = pytest.mark.parametrize("family", ["sd1", "sdxl", "sd3", "flux1"])
"""Those that have all that Stable Diffusion has."""


@_EACH
def test_same_seed_gives_the_same_image_after_reloading(family: str) -> None:
    backend = open_tiny(family)
    before = first_pixels(backend)
    backend.free()
    assert first_pixels(backend) == before


@_FIRST
def test_same_seed_gives_the_same_image_with_controls(family: str, tmp_path: Path) -> None:
    """Some pipelines draw noise for the control image from the global generator."""
    backend = open_tiny(family, controlnets={"canny": str(tiny_controlnet(family))})
    steered: dict[str, Any] = {"controls": [{"kind": "canny", "image": str(write_photo(tmp_path))}]}
    torch.manual_seed(1)
    before = first_pixels(backend, **steered)
    torch.manual_seed(2)
    assert first_pixels(backend, **steered) == before


def test_generation_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first_pixels(open_tiny("sd1"))
    assert torch.equal(torch.random.get_rng_state(), before)


@_EACH
def test_each_image_of_a_batch_equals_its_seed_alone(family: str) -> None:
    backend = open_tiny(family)
    batch = generate(backend, count=2)
    alone = generate(backend, seed=8)
    assert [output.seed for output in batch.outputs] == [7, 8]
    assert greatest_difference(open_image(batch, 1), open_image(alone)) <= 2
    assert open_image(batch, 0).tobytes() != open_image(batch, 1).tobytes()


@_FIRST
def test_lower_strength_keeps_more_of_the_initial_image(family: str, tmp_path: Path) -> None:
    backend = open_tiny(family)
    one, other = str(write_photo(tmp_path)), str(write_photo(tmp_path, "other.png", turned=180))
    little = [open_image(generate(backend, image=i, strength=0.2, steps=10)) for i in (one, other)]
    much = [open_image(generate(backend, image=i, strength=0.9, steps=10)) for i in (one, other)]
    assert little[0].size == SIZE
    assert difference(*little) > difference(*much) > 0


@_EACH
def test_only_the_masked_area_is_repainted(family: str, tmp_path: Path) -> None:
    image = write_photo(tmp_path)
    made = open_image(
        generate(open_tiny(family), image=str(image), mask=str(write_half_mask(tmp_path)))
    )
    left, right = (0, 0, 32, 48), (32, 0, 64, 48)
    original = Image.open(image)
    assert made.crop(left).tobytes() == original.crop(left).tobytes()
    assert difference(made.crop(right), original.crop(right)) > 5


def test_grey_mask_blends_the_images(tmp_path: Path) -> None:
    image, mask = write_photo(tmp_path), tmp_path / "grey.png"
    Image.new("L", SIZE, 128).save(mask)
    soft = open_image(generate(open_tiny(), image=str(image), mask=str(mask)))
    Image.new("L", SIZE, 255).save(mask)
    hard = open_image(generate(open_tiny(), image=str(image), mask=str(mask)))
    half = Image.composite(hard, Image.open(image), Image.new("L", SIZE, 128))
    assert soft.tobytes() == half.tobytes()


def test_initial_image_of_another_size_is_resized(tmp_path: Path) -> None:
    Image.new("RGBA", (100, 30), "red").save(tmp_path / "wide.png")
    made = generate(open_tiny(), image=str(tmp_path / "wide.png"), strength=0.5)
    assert open_image(made).size == SIZE


@_FIRST
def test_variation_mixes_two_noises(family: str) -> None:
    backend = open_tiny(family)
    none = first_pixels(backend, variation_seed=3, variation_strength=0.0)
    some = first_pixels(backend, variation_seed=3, variation_strength=0.4)
    assert none == first_pixels(backend)
    assert some not in (none, first_pixels(backend, seed=3))


def test_variation_strength_1_equals_the_second_seed() -> None:
    backend = open_tiny("sd1")
    whole = first_pixels(backend, variation_seed=3, variation_strength=1.0, sampler="euler")
    assert whole == first_pixels(backend, seed=3, sampler="euler")


@pytest.mark.parametrize("family", ["sd1", "sdxl", "flux1", "flux2"])
def test_loras_change_the_image_and_are_unloaded(family: str) -> None:
    backend = open_tiny(family, loras_dir=str(tiny_lora(family).parent))
    before = first_pixels(backend)
    strong = first_pixels(backend, loras=[{"name": f"lora-{family}", "strength": 1.0}])
    weak = first_pixels(backend, loras=[{"name": f"lora-{family}.safetensors", "strength": 0.3}])
    assert len({before, strong, weak}) == 3
    assert first_pixels(backend) == before


def test_lora_of_strength_0_changes_nothing() -> None:
    backend = open_tiny("sd1")
    assert first_pixels(
        backend, loras=[{"name": str(tiny_lora("sd1")), "strength": 0}]
    ) == first_pixels(backend)


def test_lora_can_be_used_twice() -> None:
    backend = open_tiny("sd1")
    half = {"name": str(tiny_lora("sd1")), "strength": 0.5}
    once, twice = first_pixels(backend, loras=[half]), first_pixels(backend, loras=[half, half])
    assert once != twice


def test_lora_for_another_model_fails() -> None:
    backend = open_tiny("sdxl")
    before = first_pixels(backend)
    with pytest.raises(
        Failed, match=r"The LoRA lora-sd1.safetensors does not fit this model:"
    ) as it:
        first_pixels(backend, loras=[{"name": str(tiny_lora("sd1"))}])
    assert it.value.backend == "tiny"
    assert first_pixels(backend) == before


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param({}, id="from noise"),
        pytest.param({"image": "photo.png", "strength": 0.7}, id="from an image"),
        pytest.param({"image": "photo.png", "mask": "mask.png"}, id="under a mask"),
    ],
)
def test_control_image_changes_the_image(asked: dict[str, Any], tmp_path: Path) -> None:
    write_photo(tmp_path)
    write_half_mask(tmp_path)
    asked = {k: str(tmp_path / v) if isinstance(v, str) else v for k, v in asked.items()}
    backend = open_tiny(
        "sd1", controlnets={"canny": str(tiny_controlnet()), "depth": str(tiny_controlnet())}
    )
    canny = {"kind": "canny", "image": str(write_photo(tmp_path, "canny.png"))}
    free = first_pixels(backend, **asked)
    steered = first_pixels(backend, **asked, controls=[canny])
    twice = first_pixels(backend, **asked, controls=[canny, {**canny, "kind": "depth"}])
    idle = first_pixels(backend, **asked, controls=[{**canny, "strength": 0}])
    assert len({free, steered, twice}) == 3
    assert idle == free


@pytest.mark.parametrize("family", ["sdxl", "sd3", "flux1"])
def test_control_image_changes_the_image_for_other_families(family: str, tmp_path: Path) -> None:
    backend = open_tiny(family, controlnets={"canny": str(tiny_controlnet(family))})
    canny = {"kind": "canny", "image": str(write_photo(tmp_path))}
    turned = {"kind": "canny", "image": str(write_photo(tmp_path, "turned.png", turned=180))}
    steered = [first_pixels(backend, controls=[control]) for control in (canny, turned)]
    assert len({first_pixels(backend), *steered}) == 3


def test_control_image_changes_image_to_image_and_inpaint_of_flux(tmp_path: Path) -> None:
    backend = open_tiny("flux1", controlnets={"canny": str(tiny_controlnet("flux1"))})
    image, mask = str(write_photo(tmp_path)), str(write_half_mask(tmp_path))
    canny = {"kind": "canny", "image": image}
    redrawn: dict[str, Any] = {"image": image, "strength": 0.7}
    assert first_pixels(backend, **redrawn, controls=[canny]) != first_pixels(backend, **redrawn)
    assert first_pixels(backend, **redrawn, mask=mask, controls=[canny]) != first_pixels(
        backend, **redrawn, mask=mask
    )


@_FIRST
def test_cfg_and_negative_prompt_change_the_image(family: str) -> None:
    backend = open_tiny(family)
    plain, guided = first_pixels(backend), first_pixels(backend, cfg=4.0)
    against = first_pixels(backend, cfg=4.0, negative="rain")
    assert len({plain, guided, against}) == 3


@pytest.mark.parametrize("family", ["sdxl", "sd3", "flux1"])
def test_second_prompt_changes_the_image_and_defaults_to_the_first(family: str) -> None:
    backend = open_tiny(family)
    assert first_pixels(backend, prompt_2="an owl") != first_pixels(backend)
    assert first_pixels(backend, prompt_2="a fox") == first_pixels(backend)


def test_flux2_reference_images_change_the_image(tmp_path: Path) -> None:
    backend = open_tiny("flux2")
    Image.new("RGB", (80, 64), "red").save(tmp_path / "red.png")
    Image.new("RGB", (64, 64), "blue").save(tmp_path / "blue.png")
    red, blue = str(tmp_path / "red.png"), str(tmp_path / "blue.png")
    edited = [first_pixels(backend, references=names) for names in ([red], [blue], [red, blue])]
    assert len({first_pixels(backend), *edited}) == 4
    assert first_pixels(backend, references=[red]) == edited[0]


def test_cfg_changes_the_image_of_flux2_base() -> None:
    backend = open_tiny("flux2")
    assert first_pixels(backend, cfg=1.0) != first_pixels(backend, cfg=6.0)


def test_distilled_guidance_changes_the_image() -> None:
    backend = open_tiny("flux1")
    assert first_pixels(backend, guidance=1.0) != first_pixels(backend, guidance=9.0)


def test_long_prompt_gets_a_warning() -> None:
    result = generate(open_tiny("sd1"), prompt="a fox in a garden " * 20)
    (warning,) = result.warnings
    assert warning.startswith("The text encoder ignored the end of the prompt")

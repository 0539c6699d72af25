"""A request becomes a model's input, and the receipt records it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.replicate_backend import map_model_inputs

from imagen.backends.replicate.capabilities import build_capabilities
from imagen.backends.replicate.input_names import map_inputs
from imagen.backends.replicate.input_schema import parse_inputs
from imagen.backends.replicate.payload import BoundInput, bind_input, resolve_wrapping_seed
from imagen.core.capabilities import resolve_parameters
from imagen.core.request import Request
from imagen.errors import RequestError

if TYPE_CHECKING:
    from imagen.backends.replicate.input_names import InputMapping

pytestmark = pytest.mark.usefixtures("replicate_token")

_SCHNELL, _DEV = "black-forest-labs/flux-schnell", "black-forest-labs/flux-dev"
_PRO, _SDXL = "black-forest-labs/flux-1.1-pro", "stability-ai/sdxl"
_KONTEXT, _FLUX2 = "black-forest-labs/flux-kontext-pro", "black-forest-labs/flux-2-pro"
_CANNY, _ESRGAN = "black-forest-labs/flux-canny-dev", "nightmareai/real-esrgan"
_CODEFORMER, _PAINTER = "sczhou/codeformer", "acme/painter"


def _bind(model: str, **asked: Any) -> BoundInput:
    known = map_model_inputs(model)
    request = Request.of({"prompt": "a fox"} | asked)
    values, receipt = resolve_wrapping_seed(request, build_capabilities(known, request.task, {}))
    return bind_input(known, values, receipt)


def _outcomes(bound: BoundInput, *parameters: str) -> list[tuple[str, Any]]:
    fates = (bound.receipt[name] for name in parameters)
    return [(fate.outcome, fate.used) for fate in fates]


@pytest.mark.parametrize(
    ("model", "asked", "sent"),
    [
        pytest.param(_SCHNELL, {"steps": 3}, {"num_inference_steps": 3}, id="steps"),
        pytest.param(_SDXL, {"cfg": 5}, {"guidance_scale": 5.0}, id="cfg"),
        pytest.param(_DEV, {"cfg": 4}, {"guidance": 4.0}, id="cfg of a model with one guidance"),
        pytest.param(_SDXL, {"guidance": 4}, {"guidance_scale": 4.0}, id="guidance"),
        pytest.param(_SCHNELL, {"count": 3}, {"num_outputs": 3}, id="count"),
        pytest.param(_SDXL, {"negative": "rain"}, {"negative_prompt": "rain"}, id="negative"),
        pytest.param(
            _SDXL, {"sampler": "dpmpp_2m"}, {"scheduler": "DPMSolverMultistep"}, id="sampler"
        ),
        pytest.param(
            _DEV, {"image": "a.png", "strength": 0.4}, {"prompt_strength": 0.4}, id="strength"
        ),
        pytest.param(
            _ESRGAN, {"image": "a.png", "upscale": {}, "prompt": ""}, {"scale": 2.0}, id="upscale"
        ),
        pytest.param(
            _CODEFORMER,
            {"image": "a.png", "restore": {"fidelity": 0.7}, "prompt": ""},
            {"codeformer_fidelity": 0.7},
            id="restore",
        ),
        pytest.param(
            _DEV,
            {"loras": [{"name": "me/style", "strength": 0.5}]},
            {"lora_weights": "me/style", "lora_scale": 0.5},
            id="a LoRA",
        ),
    ],
)
def test_a_value_is_sent_under_the_models_own_name(
    model: str, asked: dict[str, Any], sent: dict[str, Any]
) -> None:
    bound = _bind(model, **asked)
    name = [name for name in asked if name not in ("image", "prompt")][-1]
    assert bound.input.items() >= sent.items()
    assert _outcomes(bound, name) == [("mapped", sent)]


@pytest.mark.parametrize(
    ("model", "asked", "files"),
    [
        pytest.param(_DEV, {"image": "/x/a.png"}, {"image": "/x/a.png"}, id="image"),
        pytest.param(_PRO, {"image": "/x/a.png"}, {"image_prompt": "/x/a.png"}, id="image_prompt"),
        pytest.param(
            _KONTEXT, {"image": "/x/a.png"}, {"input_image": "/x/a.png"}, id="input_image"
        ),
        pytest.param(
            _FLUX2, {"image": "/x/a.png"}, {"input_images": ["/x/a.png"]}, id="the first of several"
        ),
        pytest.param(
            _FLUX2,
            {"image": "/x/a.png", "references": ["/x/b.png"]},
            {"input_images": ["/x/a.png", "/x/b.png"]},
            id="an image and references",
        ),
        pytest.param(
            _SDXL,
            {"image": "/x/a.png", "mask": "/x/m.png"},
            {"image": "/x/a.png", "mask": "/x/m.png"},
            id="a mask",
        ),
        pytest.param(
            _CANNY,
            {"controls": [{"kind": "canny", "image": "/x/a.png"}]},
            {"control_image": "/x/a.png"},
            id="a control image",
        ),
    ],
)
def test_an_image_is_sent_as_the_models_image_input(
    model: str, asked: dict[str, Any], files: dict[str, Any]
) -> None:
    assert _bind(model, **asked).files == files


def test_the_receipt_shows_file_names_without_folders() -> None:
    bound = _bind(_KONTEXT, image="/home/me/secret/a.png")
    assert _outcomes(bound, "image") == [("mapped", {"input_image": "a.png"})]


def test_a_parameter_with_the_models_own_name_is_applied() -> None:
    bound = _bind(_PAINTER, width=96, height=64, seed=5)
    assert bound.input == {"prompt": "a fox", "width": 96, "height": 64, "seed": 5}
    assert _outcomes(bound, "prompt", "width", "seed") == [("applied", None)] * 3


@pytest.mark.parametrize(
    ("model", "size", "sent"),
    [
        pytest.param(_SCHNELL, (1344, 768), {"aspect_ratio": "16:9", "megapixels": "1"}, id="16:9"),
        pytest.param(
            _SCHNELL, (512, 512), {"aspect_ratio": "1:1", "megapixels": "0.25"}, id="a quarter"
        ),
        pytest.param(_KONTEXT, (700, 1000), {"aspect_ratio": "2:3"}, id="a ratio only"),
        pytest.param(
            _FLUX2, (1408, 1408), {"aspect_ratio": "1:1", "resolution": "2 MP"}, id="in MP"
        ),
    ],
)
def test_a_size_becomes_the_nearest_aspect_ratio(
    model: str, size: tuple[int, int], sent: dict[str, str]
) -> None:
    bound = _bind(model, width=size[0], height=size[1])
    assert {name: bound.input[name] for name in sent} == sent
    assert _outcomes(bound, "width", "height") == [("mapped", sent)] * 2
    assert (bound.values["width"], bound.values["height"]) == size


@pytest.mark.parametrize(
    ("size", "why"),
    [
        ((1344, 768), ""),
        ((1000, 1100), "the nearest that the model has"),
        ((768, 768), ""),
        ((256, 256), "the nearest that the model has"),
        ((2048, 2048), "the nearest that the model has"),
    ],
    ids=["nearly", "visibly another", "half again as large", "far too large", "far too small"],
)
def test_the_receipt_explains_a_visibly_different_size(size: tuple[int, int], why: str) -> None:
    assert _bind(_SCHNELL, width=size[0], height=size[1]).receipt["width"].why == why


def test_a_custom_aspect_ratio_uses_width_and_height() -> None:
    bound = _bind(_PRO, width=1000, height=2000)
    sent = {"prompt": "a fox", "aspect_ratio": "custom", "width": 992, "height": 1440}
    assert bound.input == sent
    assert _outcomes(bound, "width", "height") == [("clamped", 992), ("clamped", 1440)]


def test_one_side_alone_means_a_square() -> None:
    assert _bind(_PRO, width=512).input["height"] == 512
    assert _bind(_SCHNELL, height=512).input["aspect_ratio"] == "1:1"


def test_width_and_height_take_precedence_over_an_aspect_ratio() -> None:
    bound = _bind(_SCHNELL, width=1344, height=768, extra={"aspect_ratio": "1:1"})
    assert bound.input["aspect_ratio"] == "16:9"
    assert bound.receipt["aspect_ratio"].used == "16:9"
    assert bound.receipt["aspect_ratio"].why == "width and height take precedence"


@pytest.mark.parametrize(
    ("model", "seed", "sent"),
    [
        pytest.param(_SCHNELL, 2**32 - 1, 2**32 - 1, id="the last"),
        pytest.param(_SCHNELL, 2**32 + 5, 5, id="one beyond"),
        pytest.param(_FLUX2, 2**31 + 3, 3, id="beyond the model's own end"),
    ],
)
def test_a_seed_beyond_the_largest_wraps_around(model: str, seed: int, sent: int) -> None:
    bound = _bind(model, seed=seed)
    assert (bound.input["seed"], bound.values["seed"]) == (sent, sent)
    assert (bound.receipt["seed"].outcome == "applied") is (seed == sent)


def test_a_seed_switches_off_inputs_that_prevent_reproduction() -> None:
    assert _bind(_SCHNELL, seed=1).input["go_fast"] is False
    assert "go_fast" not in _bind(_SCHNELL).input
    assert _bind(_SCHNELL, seed=1, extra={"go_fast": True}).input["go_fast"] is True


def test_of_cfg_and_guidance_the_closer_name_sets_a_shared_input() -> None:
    bound = _bind(_DEV, cfg=4, guidance=2)
    assert bound.input["guidance"] == 2
    assert _outcomes(bound, "cfg", "guidance") == [("dropped", None), ("applied", None)]


def test_the_receipt_says_how_many_loras_and_references_were_used() -> None:
    bound = _bind(_KONTEXT, references=["a.png", "b.png"])
    assert _outcomes(bound, "references") == [("clamped", {"input_image": ["a.png"]})]
    assert bound.receipt["references"].why == "input_image takes one image"
    loras = [{"name": "one"}, {"name": "two"}]
    assert _bind(_DEV, loras=loras).receipt["loras"].why == "the model takes at most 1"


def test_a_control_image_of_an_unsupported_kind_is_refused() -> None:
    with pytest.raises(RequestError, match="no control image of the kind 'depth'") as caught:
        _bind(_CANNY, controls=[{"kind": "depth", "image": "a.png"}])
    assert caught.value.remedy == "It takes: canny."


def test_a_clamped_value_stays_clamped_under_the_models_name() -> None:
    bound = _bind(_SCHNELL, steps=50)
    assert _outcomes(bound, "steps") == [("clamped", {"num_inference_steps": 4})]


def test_an_extra_input_is_sent_under_its_own_name() -> None:
    bound = _bind(_PRO, extra={"safety_tolerance": 9})
    assert bound.input["safety_tolerance"] == 6
    assert _outcomes(bound, "safety_tolerance") == [("clamped", 6)]


_FILE_URL = "https://a.example/1.png"


@pytest.mark.parametrize(
    ("value", "files", "sent"),
    [
        pytest.param(["a.png", "b.png"], {"moods": ["a.png", "b.png"]}, {}, id="files"),
        pytest.param("a.png", {"moods": ["a.png"]}, {}, id="one file"),
        pytest.param([_FILE_URL], {}, {"moods": [_FILE_URL]}, id="an address"),
        pytest.param([], {}, {"moods": []}, id="none"),
    ],
)
def test_files_for_an_extra_input_are_uploaded_instead_of_sent_as_paths(
    value: Any, files: dict[str, Any], sent: dict[str, Any]
) -> None:
    bound = bind_input(_model_with_mood(), {"moods": value}, {})
    assert (bound.files, bound.input) == (files, sent)


def test_files_mixed_with_urls_are_refused() -> None:
    with pytest.raises(RequestError, match="moods takes files or URLs"):
        bind_input(_model_with_mood(), {"moods": [_FILE_URL, "a.png"]}, {})


def _model_with_mood() -> InputMapping:
    moods = {"type": "array", "items": {"type": "string", "format": "uri"}}
    said = {"properties": {"prompt": {"type": "string"}, "moods": moods}}
    return map_inputs("acme/moody", parse_inputs({"Input": said}))


def test_an_inverse_strength_is_converted() -> None:
    said = {
        "image_prompt": {"type": "string", "format": "uri"},
        "image_prompt_strength": {"type": "number", "default": 0.8, "minimum": 0, "maximum": 1},
    }
    known = map_inputs("acme/ultra", parse_inputs({"Input": {"properties": said}}))
    request = Request(image="a.png", strength=0.7)
    values, receipt = resolve_parameters(request, build_capabilities(known, request.task, {}))
    assert bind_input(known, values, receipt).input == {"image_prompt_strength": 0.3}
    assert build_capabilities(known, "image-to-image", {}).parameters["strength"].default == 0.2


def test_a_missing_required_input_is_an_error() -> None:
    said = {"prompt": {"type": "string"}, "mood": {"type": "string", "description": "The mood"}}
    top = {"properties": said, "required": ["mood"]}
    known = map_inputs("acme/moody", parse_inputs({"Input": top}))
    with pytest.raises(RequestError, match=r"requires the input 'mood' \(The mood\)") as caught:
        bind_input(known, {"prompt": "x"}, {})
    assert caught.value.remedy == "Set it with: --set mood=…"


def test_a_side_becomes_the_nearest_choice() -> None:
    side = {"type": "integer", "enum": [256, 512, 768], "default": 512}
    said = {"prompt": {"type": "string"}, "width": side, "height": side}
    known = map_inputs("acme/old", parse_inputs({"Input": {"properties": said}}))
    request = Request(prompt="x", width=400, height=5000)
    values, receipt = resolve_parameters(request, build_capabilities(known, request.task, {}))
    assert bind_input(known, values, receipt).input == {"prompt": "x", "width": 512, "height": 768}


def test_loras_take_precedence_over_their_inputs() -> None:
    bound = _bind(_DEV, loras=[{"name": "one"}], extra={"lora_weights": "two"})
    assert (bound.input["lora_weights"], bound.input["lora_scale"]) == ("one", 1.0)
    assert bound.receipt["lora_weights"].why == "loras take precedence"


def _bind_to_model(model: str, properties: dict[str, Any], **asked: Any) -> BoundInput:
    """The input of a model with these inputs."""
    known = map_inputs(model, parse_inputs({"Input": {"properties": properties}}))
    request = Request.of({"prompt": "a fox"} | asked)
    values, receipt = resolve_parameters(request, build_capabilities(known, request.task, {}))
    return bind_input(known, values, receipt)


_TEXT: dict[str, Any] = {"type": "string"}
_FILE: dict[str, Any] = {"type": "string", "format": "uri"}
_WEIGHT: dict[str, Any] = {"type": "number"}


def test_the_control_strength_is_sent_as_its_input() -> None:
    properties = {"prompt": _TEXT, "control_image": _FILE, "controlnet_conditioning_scale": _WEIGHT}
    control = {"kind": "canny", "image": "a.png", "strength": 0.7}
    bound = _bind_to_model("me/some-canny", properties, controls=[control])
    assert bound.input["controlnet_conditioning_scale"] == 0.7
    assert bound.files == {"control_image": "a.png"}
    fate = bound.receipt["controls"]
    used = {"control_image": "a.png", "controlnet_conditioning_scale": 0.7}
    assert (fate.outcome, fate.used) == ("mapped", used)


def test_only_the_first_of_several_control_images_is_used() -> None:
    controls = [{"kind": "canny", "image": name} for name in ("a.png", "b.png")]
    properties = {"prompt": _TEXT, "control_image": _FILE}
    bound = _bind_to_model("me/some-canny", properties, controls=controls)
    assert bound.files == {"control_image": "a.png"}
    fate = bound.receipt["controls"]
    assert (fate.outcome, fate.used) == ("clamped", {"control_image": "a.png"})
    assert fate.why == "me/some-canny takes one control image"


def test_a_side_between_choices_becomes_the_nearest() -> None:
    side = {"type": "integer", "enum": [500, 1001]}
    bound = _bind_to_model(
        "me/some", {"prompt": _TEXT, "width": side, "height": side}, width=600, height=500
    )
    assert (bound.input["width"], bound.input["height"]) == (500, 500)
    assert bound.values["width"] == 500
    assert (bound.receipt["width"].outcome, bound.receipt["width"].used) == ("mapped", 500)
    assert bound.receipt["height"].outcome == "applied"


def test_a_model_with_a_list_of_loras_takes_all() -> None:
    many = {"type": "array"}
    loras = [{"name": "ink", "strength": 0.5}, {"name": "fog", "strength": 1.0}]
    properties = {"prompt": _TEXT, "hf_loras": many, "lora_scales": many}
    bound = _bind_to_model("me/some", properties, loras=loras)
    used = {"hf_loras": ["ink", "fog"], "lora_scales": [0.5, 1.0]}
    assert {name: bound.input[name] for name in used} == used
    assert (bound.receipt["loras"].outcome, bound.receipt["loras"].used) == ("mapped", used)


def test_a_required_prompt_is_sent_empty_where_none_is_given() -> None:
    schema = {"required": ["prompt", "image"], "properties": {"prompt": _TEXT, "image": _FILE}}
    known = map_inputs("me/some", parse_inputs({"Input": schema}))
    bound = bind_input(known, {"image": "a.png"}, {})
    assert bound.input == {"prompt": ""}

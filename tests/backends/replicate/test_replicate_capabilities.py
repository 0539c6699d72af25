"""What a model accepts, in imagen's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from simulators.replicate import MODELS
from support.replicate_backend import map_model_inputs

from imagen.backends.replicate.capabilities import build_capabilities
from imagen.backends.replicate.input_names import map_inputs
from imagen.backends.replicate.input_schema import parse_inputs
from imagen.errors import ConfigError

if TYPE_CHECKING:
    from imagen.core.capabilities import Capabilities
    from imagen.core.request import Task

pytestmark = pytest.mark.usefixtures("replicate_token")

_SCHNELL, _SDXL = "black-forest-labs/flux-schnell", "stability-ai/sdxl"


def _capabilities(model: str, task: Task = "text-to-image", **defaults: Any) -> Capabilities:
    return build_capabilities(map_model_inputs(model), task, defaults)


@pytest.mark.parametrize(
    ("model", "tasks"),
    [
        pytest.param(_SCHNELL, ("text-to-image",), id="schnell"),
        pytest.param("black-forest-labs/flux-dev", ("text-to-image", "image-to-image"), id="dev"),
        pytest.param(_SDXL, ("text-to-image", "image-to-image", "inpaint", "outpaint"), id="sdxl"),
        pytest.param(
            "black-forest-labs/flux-2-pro",
            ("text-to-image", "image-to-image", "edit"),
            id="flux-2-pro",
        ),
        pytest.param("black-forest-labs/flux-canny-dev", ("control",), id="canny"),
        pytest.param("nightmareai/real-esrgan", ("upscale",), id="an upscale model"),
        pytest.param("sczhou/codeformer", ("restore",), id="a restoration model"),
    ],
)
def test_the_tasks_follow_from_the_models_inputs(model: str, tasks: tuple[str, ...]) -> None:
    assert _capabilities(model).tasks == tasks


@pytest.mark.parametrize("model", MODELS)
def test_each_parameter_has_a_description(model: str) -> None:
    parameters = _capabilities(model).parameters
    assert [name for name, known in parameters.items() if not known.description] == []


def test_parameters_keep_the_models_ranges_and_defaults() -> None:
    steps = _capabilities(_SCHNELL).parameters["steps"]
    assert (steps.type, steps.default, steps.min, steps.max) == ("int", 4, 1, 4)
    assert steps.description == "Number of denoising steps. 4 is recommended."


def test_the_default_output_format_is_lossless() -> None:
    assert _capabilities(_SCHNELL).parameters["output_format"].default == "png"
    assert (
        _capabilities(_SCHNELL, output_format="webp").parameters["output_format"].default == "webp"
    )


def test_image_parameters_need_a_task_with_an_image() -> None:
    assert {"image", "mask", "strength"} & _capabilities(_SDXL).parameters.keys() == set()
    assert {"image", "mask", "strength"} <= _capabilities(_SDXL, "inpaint").parameters.keys()
    assert _capabilities(_SDXL, "inpaint").parameters["mask"].type == "image"
    assert _capabilities(_SDXL).without["strength"] == "it needs an initial image"


def test_an_unsupported_task_shows_the_capabilities_of_the_first() -> None:
    assert _capabilities(_SCHNELL, "restore") == _capabilities(_SCHNELL)


def test_capabilities_say_why_a_parameter_is_missing() -> None:
    without = _capabilities(_SCHNELL).without
    assert without["negative"] == f"{_SCHNELL} has no input for it"
    assert without["num_inference_steps"] == "use steps, which becomes num_inference_steps"


def test_go_fast_warns_that_it_is_not_reproducible() -> None:
    known = _capabilities(_SCHNELL).parameters["go_fast"]
    assert known.default is None
    assert "the same seed gives a different image" in known.description


def test_a_block_sets_defaults_by_imagens_or_the_models_name() -> None:
    assert _capabilities(_SCHNELL, steps=2).parameters["steps"].default == 2
    assert _capabilities(_SCHNELL, num_inference_steps=2).parameters["steps"].default == 2


def test_a_default_for_another_task_is_accepted() -> None:
    assert "strength" not in _capabilities(_SDXL, strength=0.5).parameters
    assert _capabilities(_SDXL, "inpaint", strength=0.5).parameters["strength"].default == 0.5


@pytest.mark.parametrize(
    ("defaults", "words"),
    [
        pytest.param({"step": 2}, "no input 'step'. Did you mean 'steps'", id="unknown"),
        pytest.param({"steps": "many"}, "parameters.steps must be a whole number", id="type"),
        pytest.param({"output_format": "gif"}, "parameters.output_format can", id="choice"),
    ],
)
def test_an_invalid_default_is_an_error(defaults: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _capabilities(_SCHNELL, **defaults)
    assert words in caught.value.message


def test_an_input_with_the_name_of_another_field_gets_a_prefix() -> None:
    said = {"prompt": {"type": "string"}, "style": {"type": "string", "enum": ["any", "icon"]}}
    known = map_inputs("acme/recraft", parse_inputs({"Input": {"properties": said}}))
    assert build_capabilities(known, "text-to-image", {}).parameters["input_style"].choices == (
        "any",
        "icon",
    )


def test_a_control_image_of_unknown_kind_is_an_extra_input() -> None:
    said = {"prompt": {"type": "string"}, "control_image": {"type": "string", "format": "uri"}}
    known = map_inputs("acme/steered", parse_inputs({"Input": {"properties": said}}))
    found = build_capabilities(known, "text-to-image", {})
    assert (found.tasks, found.parameters["control_image"].type) == (("text-to-image",), "image")


def test_an_input_of_another_type_does_not_mean_the_field() -> None:
    said = {"prompt": {"type": "string"}, "seed": {"type": "string"}, "mask": {"type": "boolean"}}
    known = map_inputs("acme/odd", parse_inputs({"Input": {"properties": said}}))
    found = build_capabilities(known, "text-to-image", {})
    assert found.parameters.keys() == {"prompt", "input_seed", "input_mask", "model"}
    assert found.parameters["input_mask"].type == "bool"


def test_the_inputs_for_loras_can_be_set_by_name() -> None:
    found = _capabilities("black-forest-labs/flux-dev", lora_weights="me/style")
    assert found.parameters["lora_weights"].default == "me/style"
    assert found.parameters["lora_scale"].default is None

"""What a model takes, in imagen's words."""

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


def _offer(model: str, task: Task = "text-to-image", **defaults: Any) -> Capabilities:
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
        pytest.param("nightmareai/real-esrgan", ("upscale",), id="an upscaler"),
        pytest.param("sczhou/codeformer", ("restore",), id="a restorer"),
    ],
)
def test_the_tasks_follow_from_the_inputs(model: str, tasks: tuple[str, ...]) -> None:
    assert _offer(model).tasks == tasks


@pytest.mark.parametrize("model", MODELS)
def test_each_parameter_says_what_it_does(model: str) -> None:
    parameters = _offer(model).parameters
    assert [name for name, known in parameters.items() if not known.description] == []


def test_the_models_own_ranges_and_defaults_are_kept() -> None:
    steps = _offer(_SCHNELL).parameters["steps"]
    assert (steps.type, steps.default, steps.min, steps.max) == ("int", 4, 1, 4)
    assert steps.description == "Number of denoising steps. 4 is recommended."


def test_a_picture_without_loss_is_the_default() -> None:
    assert _offer(_SCHNELL).parameters["output_format"].default == "png"
    assert _offer(_SCHNELL, output_format="webp").parameters["output_format"].default == "webp"


def test_what_takes_a_picture_needs_a_task_with_one() -> None:
    assert {"image", "mask", "strength"} & _offer(_SDXL).parameters.keys() == set()
    assert {"image", "mask", "strength"} <= _offer(_SDXL, "inpaint").parameters.keys()
    assert _offer(_SDXL, "inpaint").parameters["mask"].type == "image"
    assert _offer(_SDXL).without["strength"] == "it needs an initial image"


def test_a_task_that_it_cannot_do_shows_its_first() -> None:
    assert _offer(_SCHNELL, "restore") == _offer(_SCHNELL)


def test_a_model_is_told_apart_from_what_it_lacks() -> None:
    without = _offer(_SCHNELL).without
    assert without["negative"] == f"{_SCHNELL} has no input for it"
    assert without["num_inference_steps"] == "use steps, which becomes num_inference_steps"


def test_speed_that_costs_reproducibility_is_told() -> None:
    known = _offer(_SCHNELL).parameters["go_fast"]
    assert known.default is None
    assert "the same seed gives a different image" in known.description


def test_the_configuration_has_other_defaults_by_either_name() -> None:
    assert _offer(_SCHNELL, steps=2).parameters["steps"].default == 2
    assert _offer(_SCHNELL, num_inference_steps=2).parameters["steps"].default == 2


def test_a_default_for_another_task_is_no_mistake() -> None:
    assert "strength" not in _offer(_SDXL, strength=0.5).parameters
    assert _offer(_SDXL, "inpaint", strength=0.5).parameters["strength"].default == 0.5


@pytest.mark.parametrize(
    ("defaults", "words"),
    [
        pytest.param({"step": 2}, "no input 'step'. Did you mean 'steps'", id="unknown"),
        pytest.param({"steps": "many"}, "parameters.steps must be a whole number", id="type"),
        pytest.param({"output_format": "gif"}, "parameters.output_format can", id="choice"),
    ],
)
def test_a_default_that_is_none_is_an_error(defaults: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _offer(_SCHNELL, **defaults)
    assert words in caught.value.message


def test_an_input_that_is_called_like_another_thing_of_ours_is_renamed() -> None:
    said = {"prompt": {"type": "string"}, "style": {"type": "string", "enum": ["any", "icon"]}}
    known = map_inputs("acme/recraft", parse_inputs({"Input": {"properties": said}}))
    assert build_capabilities(known, "text-to-image", {}).parameters["input_style"].choices == (
        "any",
        "icon",
    )


def test_a_control_picture_of_no_known_kind_is_an_input_of_its_own() -> None:
    said = {"prompt": {"type": "string"}, "control_image": {"type": "string", "format": "uri"}}
    known = map_inputs("acme/steered", parse_inputs({"Input": {"properties": said}}))
    found = build_capabilities(known, "text-to-image", {})
    assert (found.tasks, found.parameters["control_image"].type) == (("text-to-image",), "image")


def test_an_input_of_another_type_does_not_mean_our_field() -> None:
    said = {"prompt": {"type": "string"}, "seed": {"type": "string"}, "mask": {"type": "boolean"}}
    known = map_inputs("acme/odd", parse_inputs({"Input": {"properties": said}}))
    found = build_capabilities(known, "text-to-image", {})
    assert found.parameters.keys() == {"prompt", "input_seed", "input_mask", "model"}
    assert found.parameters["input_mask"].type == "bool"


def test_what_a_lora_goes_into_can_be_set_by_its_own_name() -> None:
    found = _offer("black-forest-labs/flux-dev", lora_weights="me/style")
    assert found.parameters["lora_weights"].default == "me/style"
    assert found.parameters["lora_scale"].default is None

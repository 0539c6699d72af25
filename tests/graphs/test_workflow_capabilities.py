"""A workflow accepts its tokens, as its manifest or their names describe them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from imagen.core.capabilities import Parameter
from imagen.errors import WorkflowError
from imagen.graphs import Manifest, Workflow
from imagen.graphs.workflow import infer_manifest

if TYPE_CHECKING:
    from imagen.graphs.graph import Node


def workflow(*tokens: str, **manifest: Any) -> Workflow:
    """A workflow of these tokens, and of this manifest if any."""
    inputs = {f"input {token}": f"$<{token}>" for token in tokens}
    graph: dict[str, Node] = {"1": {"class_type": "SaveImage", "inputs": inputs}}
    explained = Manifest.model_validate(manifest) if manifest else infer_manifest(graph)
    return Workflow("mine", graph, explained, "here")


def test_workflow_tokens_have_canonical_names() -> None:
    assert workflow("seed", "batch_size", "unet").tokens == {"seed", "count", "unet"}


def test_only_parameters_with_a_token_are_accepted() -> None:
    mine = workflow("steps", parameters={"steps": {"type": "int"}, "cfg": {"type": "float"}})
    assert list(mine.capabilities().parameters) == ["steps"]


def test_parameters_keep_the_order_of_the_manifest() -> None:
    mine = workflow("a", "b", "c", parameters={"c": {}, "a": {}})
    assert list(mine.capabilities().parameters) == ["c", "a", "b"]


def test_task_and_reasons_come_from_the_manifest() -> None:
    accepted = workflow("a", task="upscale", without={"cfg": "no use"}).capabilities()
    assert accepted.tasks == ("upscale",)
    assert accepted.without == {"cfg": "no use"}


@pytest.mark.parametrize(
    ("token", "parameter"),
    [
        ("prompt", Parameter(type="string")),
        ("negative", Parameter(type="string", default="")),
        ("seed", Parameter(type="int", min=0)),
        ("steps", Parameter(type="int", min=1, max=10000)),
        ("count", Parameter(type="int", min=1, default=1)),
        ("strength", Parameter(type="float", min=0, max=1, default=1.0)),
        ("width", Parameter(type="int", default=1024, min=16, max=16384)),
        ("anything", Parameter(type="json")),
    ],
)
def test_parameter_without_a_manifest_is_inferred_from_its_name(
    token: str, parameter: Parameter
) -> None:
    assert workflow(token).capabilities().parameters[token] == parameter


@pytest.mark.parametrize(
    ("tokens", "task"),
    [
        (("prompt",), "text-to-image"),
        (("prompt", "input_image"), "image-to-image"),
        (("image", "mask"), "inpaint"),
    ],
)
def test_task_without_a_manifest_is_inferred_from_the_tokens(
    tokens: tuple[str, ...], task: str
) -> None:
    assert workflow(*tokens).capabilities().tasks == (task,)


def test_override_replaces_a_default() -> None:
    accepted = workflow("unet", "steps").capabilities({"unet": "other.safetensors", "steps": 8})
    assert accepted.parameters["unet"].default == "other.safetensors"
    assert accepted.parameters["steps"].default == 8


def test_override_may_use_an_alias() -> None:
    assert workflow("count").capabilities({"batch_size": 4}).parameters["count"].default == 4


def test_override_of_an_unknown_parameter_suggests_the_nearest() -> None:
    with pytest.raises(WorkflowError) as caught:
        workflow("steps", "seed").capabilities({"stesp": 4})
    assert caught.value.message == (
        "The workflow 'mine' has no parameter 'stesp'. Did you mean 'steps'?"
    )
    assert caught.value.remedy == "It has: seed, steps."


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("four", "Workflow 'mine': steps must be a whole number, not 'four'."),
        (0, "Workflow 'mine': steps cannot be 0; the nearest value is 1."),
    ],
)
def test_override_must_fit_its_parameter(value: Any, says: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        workflow("steps").capabilities({"steps": value})
    assert caught.value.message == says


def test_bind_defaults_keeps_tokens_without_a_default() -> None:
    inputs = workflow("steps", "seed", "batch_size").bind_defaults({"steps": 8})["1"]["inputs"]
    assert inputs == {"input steps": 8, "input seed": "$<seed>", "input batch_size": 1}

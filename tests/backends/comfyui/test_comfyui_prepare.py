"""`prepare` binds the workflow and finds its faults without contacting a server."""

from __future__ import annotations

from typing import Any

import pytest
from support.comfyui_backends import REQUEST, SAMPLED, open_comfyui

from imagen.backends import validate_block
from imagen.backends.comfyui import ComfyUIBackend, ComfyUIConfig
from imagen.core.request import Lora
from imagen.errors import RequestError, WorkflowError

NOWHERE = "http://127.0.0.1:9"


def _graph(**inputs: Any) -> dict[str, Any]:
    saved = {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}}
    return {"1": {"class_type": "EmptyImage", "inputs": inputs}, "9": saved}


def test_the_ticket_holds_the_bound_graph_and_every_value_used() -> None:
    config = validate_block("lab", {"url": NOWHERE, "workflow": "sd15"}, ComfyUIConfig)
    ticket = ComfyUIBackend(config, new_id=lambda: "an-id").prepare(
        REQUEST.with_values({"cfg": None})
    )
    sampler = next(n for n in ticket.payload.values() if n["class_type"] == "KSampler")
    assert (ticket.id, ticket.backend, ticket.submitted) == ("an-id", "lab", False)
    assert (sampler["inputs"]["seed"], sampler["inputs"]["steps"]) == (7, 3)
    assert ticket.request.cfg == sampler["inputs"]["cfg"]
    assert ticket.request.seed == 7


def test_the_configuration_gives_other_defaults() -> None:
    backend = open_comfyui(NOWHERE, SAMPLED, parameters={"steps": 9, "cfg": 4.0})
    ticket = backend.prepare(REQUEST.with_values({"cfg": None}))
    assert (ticket.request.steps, ticket.request.cfg) == (3, 4.0)


def test_an_unknown_parameter_is_named() -> None:
    backend = open_comfyui(NOWHERE, parameters={"stepps": 9})
    with pytest.raises(WorkflowError, match="Did you mean 'steps'"):
        backend.prepare(REQUEST)


@pytest.mark.parametrize(
    ("graph", "sentence"),
    [
        pytest.param(_graph(width=["9", 0]), "depends on itself", id="a cycle"),
        pytest.param(_graph(width=["7", 0]), "links to node '7'", id="a link to nowhere"),
        pytest.param(_graph(width="$<sparkle>"), "'sparkle' has no value", id="a token"),
        pytest.param({}, "has no nodes", id="nothing"),
    ],
)
def test_a_graph_that_cannot_run_is_refused(graph: dict[str, Any], sentence: str) -> None:
    with pytest.raises(WorkflowError, match=sentence):
        open_comfyui(NOWHERE, graph).prepare(REQUEST)


def test_an_output_node_of_an_unknown_class_is_left_to_the_server() -> None:
    graph = _graph(width=8)
    graph["9"]["class_type"] = "MyOwnSink"
    assert open_comfyui(NOWHERE, graph).prepare(REQUEST).payload["9"]["class_type"] == "MyOwnSink"


def test_a_value_of_another_type_is_refused() -> None:
    with pytest.raises(RequestError, match="prompt"):
        open_comfyui(NOWHERE).prepare(REQUEST.model_copy(update={"prompt": 7}))


@pytest.mark.parametrize(
    ("asked", "second"),
    [
        pytest.param({}, ("a fox", "rain"), id="as the first"),
        pytest.param({"prompt_2": "a den"}, ("a den", "rain"), id="given"),
        pytest.param({"negative_2": ""}, ("a fox", ""), id="given as nothing"),
    ],
)
def test_second_prompts_default_to_the_first(
    asked: dict[str, Any], second: tuple[str, str]
) -> None:
    encoder = {"class_type": "Two", "inputs": {"text_g": "$<prompt_2>", "text_l": "$<negative_2>"}}
    request = REQUEST.with_values({"negative": "rain", **asked})
    ticket = open_comfyui(NOWHERE, SAMPLED | {"6b": encoder}).prepare(request)
    inputs = ticket.payload["6b"]["inputs"]
    assert (inputs["text_g"], inputs["text_l"]) == second
    assert (ticket.request.prompt_2, ticket.request.negative_2) == second


def test_a_list_of_values_becomes_json() -> None:
    request = REQUEST.with_values({"loras": (Lora(name="ink.safetensors", strength=0.5),)})
    ticket = open_comfyui(NOWHERE, _graph(stack="$<loras>")).prepare(request)
    assert ticket.payload["1"]["inputs"]["stack"] == {
        "__value__": [{"name": "ink.safetensors", "strength": 0.5}]
    }


def test_backends_on_one_server_are_one_engine() -> None:
    assert open_comfyui("http://studio:8188/").engine == open_comfyui("http://studio:8188").engine
    assert open_comfyui("http://studio:8188").engine != open_comfyui("http://attic:8188").engine

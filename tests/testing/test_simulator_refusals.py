"""The simulator refuses bad prompts in ComfyUI's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.plain_comfyui_client import Plain, client, flat, node, sampled

from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Iterator

_WIDTH = ["INT", {"default": 512, "min": 1, "max": 16384, "step": 1}]


@pytest.fixture
def plain() -> Iterator[Plain]:
    with ComfyUI() as server, client(server) as found:
        yield found


def saved(**inputs: Any) -> dict[str, Any]:
    """An image of one colour, saved with these inputs."""
    return {**flat(), "9": node("SaveImage", **inputs)}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("{not json", id="not JSON"),
        pytest.param("", id="empty"),
        pytest.param('{"prompt": null}', id="null"),
        pytest.param('{"prompt": "abc"}', id="a string"),
        pytest.param('{"prompt": [1]}', id="a list"),
        pytest.param('{"prompt": {"1": 5}}', id="a node that is no object"),
        pytest.param('{"prompt": {}, "number": "abc"}', id="a number that is none"),
        pytest.param('{"prompt": {}, "extra_data": [1]}', id="extra data that is a list"),
    ],
)
def test_what_is_no_prompt_breaks_the_server(plain: Plain, body: str) -> None:
    answer = plain.http.post("/prompt", content=body)
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == "500 Internal Server Error\n\nServer got itself in trouble"
    assert plain.http.get("/prompt").status_code == 200


@pytest.mark.parametrize("body", ["[]", '{"client_id": "me"}'])
def test_a_body_without_a_prompt_is_refused(plain: Plain, body: str) -> None:
    answer = plain.http.post("/prompt", content=body)
    assert answer.status_code == 400
    assert answer.json() == {
        "error": {
            "type": "no_prompt",
            "message": "No prompt provided",
            "details": "No prompt provided",
            "extra_info": {},
        },
        "node_errors": {},
    }


@pytest.mark.parametrize(
    ("graph", "kind", "message", "details"),
    [
        pytest.param({}, "prompt_no_outputs", "Prompt has no outputs", "", id="empty"),
        pytest.param(
            {"1": flat()["1"]}, "prompt_no_outputs", "Prompt has no outputs", "", id="no output"
        ),
        pytest.param(
            {**flat(), "9": {"inputs": {}}},
            "invalid_prompt",
            "Cannot execute because a node is missing the class_type property.",
            "Node ID '#9'",
            id="no class",
        ),
        pytest.param(
            {**flat(), "9": node("NopeNode")},
            "invalid_prompt",
            "Cannot execute because node NopeNode does not exist.",
            "Node ID '#9'",
            id="unknown class",
        ),
        pytest.param(
            {"9": flat()["9"], "1": node("ImageInvert", image=["1", 0])},
            "prompt_outputs_failed_validation",
            "Prompt outputs failed validation",
            "",
            id="a cycle",
        ),
    ],
)
def test_a_fault_of_the_whole_graph_names_no_node(
    plain: Plain, graph: Any, kind: str, message: str, details: str
) -> None:
    assert plain.refused(graph) == {
        "error": {"type": kind, "message": message, "details": details, "extra_info": {}},
        "node_errors": {},
    }


def test_a_missing_input_of_an_output_is_told_twice(plain: Plain) -> None:
    assert plain.refused(saved(filename_prefix="x")) == {
        "error": {
            "type": "prompt_outputs_failed_validation",
            "message": "Prompt outputs failed validation",
            "details": "Required input is missing: images",
            "extra_info": {},
        },
        "node_errors": {
            "9": {
                "errors": [
                    {
                        "type": "required_input_missing",
                        "message": "Required input is missing",
                        "details": "images",
                        "extra_info": {"input_name": "images"},
                    }
                ],
                "dependent_outputs": ["9"],
                "class_type": "SaveImage",
            }
        },
    }


@pytest.mark.parametrize(
    ("graph", "at", "error"),
    [
        pytest.param(
            flat(width=0),
            "1",
            {
                "type": "value_smaller_than_min",
                "message": "Value 0 smaller than min of 1",
                "details": "width",
                "extra_info": {"input_name": "width", "input_config": _WIDTH, "received_value": 0},
            },
            id="too small",
        ),
        pytest.param(
            flat(width=999999),
            "1",
            {
                "type": "value_bigger_than_max",
                "message": "Value 999999 bigger than max of 16384",
                "details": "width",
                "extra_info": {
                    "input_name": "width",
                    "input_config": _WIDTH,
                    "received_value": 999999,
                },
            },
            id="too big",
        ),
        pytest.param(
            flat(width="abc"),
            "1",
            {
                "type": "invalid_input_type",
                "message": "Failed to convert an input value to a INT value",
                "details": "width, abc, invalid literal for int() with base 10: 'abc'",
                "extra_info": {
                    "input_name": "width",
                    "input_config": _WIDTH,
                    "received_value": "abc",
                    "exception_message": "invalid literal for int() with base 10: 'abc'",
                },
            },
            id="no number",
        ),
        pytest.param(
            {**flat(), "1": node("LoadImage", image="nope.png")},
            "1",
            {
                "type": "custom_validation_failed",
                "message": "Custom validation failed for node",
                "details": "image - Invalid image file: nope.png",
                "extra_info": {"input_name": "image"},
            },
            id="missing file",
        ),
        pytest.param(
            saved(images=["1"], filename_prefix="x"),
            "9",
            {
                "type": "bad_linked_input",
                "message": "Bad linked input, must be a length-2 list of [node_id, slot_index]",
                "details": "images",
                "extra_info": {
                    "input_name": "images",
                    "input_config": ["IMAGE"],
                    "received_value": ["1"],
                },
            },
            id="half a link",
        ),
        pytest.param(
            {**flat(), "1": node("EmptyLatentImage", width=64, height=64, batch_size=1)},
            "9",
            {
                "type": "return_type_mismatch",
                "message": "Return type mismatch between linked nodes",
                "details": "images, received_type(LATENT) mismatch input_type(IMAGE)",
                "extra_info": {
                    "input_name": "images",
                    "input_config": ["IMAGE"],
                    "received_type": "LATENT",
                    "linked_node": ["1", 0],
                },
            },
            id="wrong type",
        ),
        pytest.param(
            saved(images=["77", 0], filename_prefix="x"),
            "9",
            {
                "type": "exception_during_validation",
                "message": "Exception when validating node",
                "details": "'77'",
                "extra_info": {"exception_type": "KeyError", "traceback": []},
            },
            id="a link to nowhere",
        ),
        pytest.param(
            saved(images=["1", 5], filename_prefix="x"),
            "9",
            {
                "type": "exception_during_validation",
                "message": "Exception when validating node",
                "details": "tuple index out of range",
                "extra_info": {"exception_type": "IndexError", "traceback": []},
            },
            id="no such slot",
        ),
    ],
)
def test_a_fault_of_a_node_is_told_under_its_id(
    plain: Plain, graph: Any, at: str, error: dict[str, Any]
) -> None:
    assert plain.refused(graph)["node_errors"] == {
        at: {
            "errors": [error],
            "dependent_outputs": ["9"],
            "class_type": graph[at]["class_type"],
        }
    }


def test_a_missing_model_is_told_with_what_there_is() -> None:
    with ComfyUI(models={"checkpoints": ["a.safetensors"]}) as server, client(server) as plain:
        errors = plain.refused(sampled(checkpoint="b.safetensors"))["node_errors"]["4"]["errors"]
    assert errors == [
        {
            "type": "value_not_in_list",
            "message": "Value not in list",
            "details": "ckpt_name: 'b.safetensors' not in ['a.safetensors']",
            "extra_info": {
                "input_name": "ckpt_name",
                "input_config": [["a.safetensors"], {}],
                "received_value": "b.safetensors",
            },
        }
    ]


def test_more_than_twenty_choices_are_not_told() -> None:
    models = {"checkpoints": [f"{number}.safetensors" for number in range(21)]}
    with ComfyUI(models=models) as server, client(server) as plain:
        errors = plain.refused(sampled(checkpoint="b.safetensors"))["node_errors"]["4"]["errors"]
    assert errors[0]["details"] == "ckpt_name: 'b.safetensors' not in (list of length 21)"
    assert errors[0]["extra_info"]["input_config"] is None


def test_any_model_is_there_but_the_missing_ones() -> None:
    with ComfyUI(missing_models=["gone.safetensors"]) as server, client(server) as plain:
        plain.submit(sampled(checkpoint="any.safetensors"))
        refusal = plain.refused(sampled(checkpoint="gone.safetensors"))
    assert refusal["node_errors"]["4"]["errors"][0]["type"] == "value_not_in_list"


def test_a_number_in_a_string_is_converted(plain: Plain) -> None:
    heard = plain.run(flat(width="32"))
    assert heard.entry["prompt"][2]["1"]["inputs"]["width"] == 32


def test_a_bad_output_beside_a_good_one_is_skipped(plain: Plain) -> None:
    graph = {**flat(), "20": node("LoadImage", image="no.png")}
    graph["21"] = node("PreviewImage", images=["20", 0])
    answer = plain.http.post("/prompt", json={"prompt": graph})
    assert answer.status_code == 200
    errors = answer.json()["node_errors"]
    assert list(errors) == ["20"]
    assert errors["20"]["dependent_outputs"] == ["21"]
    assert list(plain.ended(answer.json()["prompt_id"])["outputs"]) == ["9"]


def test_only_the_wanted_outputs_run(plain: Plain) -> None:
    graph = {**flat(), "5": node("PreviewImage", images=["1", 0])}
    prompt_id = plain.submit(graph, partial_execution_targets=["5"])
    assert list(plain.ended(prompt_id)["outputs"]) == ["5"]


def test_a_literal_in_place_of_a_link_fails_while_it_runs(plain: Plain) -> None:
    prompt_id = plain.submit(saved(images="abc", filename_prefix="x"))
    error = plain.ended(prompt_id)["status"]["messages"][-1][1]
    assert error["exception_message"] == "'str' object has no attribute 'shape'\n"

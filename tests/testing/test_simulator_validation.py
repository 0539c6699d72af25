"""The simulator refuses bad prompts in ComfyUI's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.plain_comfyui_client import (
    PlainClient,
    connect_client,
    flat_graph,
    node,
    sampled_graph,
)

from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Iterator

_WIDTH = ["INT", {"default": 512, "min": 1, "max": 16384, "step": 1}]


@pytest.fixture
def plain() -> Iterator[PlainClient]:
    with ComfyUI() as server, connect_client(server) as plain:
        yield plain


def saved(**inputs: Any) -> dict[str, Any]:
    """An image of one colour, saved with these inputs."""
    return {**flat_graph(), "9": node("SaveImage", **inputs)}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("{not json", id="not JSON"),
        pytest.param("", id="empty"),
        pytest.param('{"prompt": null}', id="null"),
        pytest.param('{"prompt": "abc"}', id="a string"),
        pytest.param('{"prompt": [1]}', id="a list"),
        pytest.param('{"prompt": {"1": 5}}', id="node is not an object"),
        pytest.param('{"prompt": {}, "number": "abc"}', id="number is not a number"),
        pytest.param('{"prompt": {}, "extra_data": [1]}', id="extra data that is a list"),
    ],
)
def test_malformed_prompt_crashes_the_request(plain: PlainClient, body: str) -> None:
    answer = plain.http.post("/prompt", content=body)
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == "500 Internal Server Error\n\nServer got itself in trouble"
    assert plain.http.get("/prompt").status_code == 200


@pytest.mark.parametrize("body", ["[]", '{"client_id": "me"}'])
def test_body_without_a_prompt_is_refused(plain: PlainClient, body: str) -> None:
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
            {"1": flat_graph()["1"]},
            "prompt_no_outputs",
            "Prompt has no outputs",
            "",
            id="no output",
        ),
        pytest.param(
            {**flat_graph(), "9": {"inputs": {}}},
            "invalid_prompt",
            "Cannot execute because a node is missing the class_type property.",
            "Node ID '#9'",
            id="no class",
        ),
        pytest.param(
            {**flat_graph(), "9": node("NopeNode")},
            "invalid_prompt",
            "Cannot execute because node NopeNode does not exist.",
            "Node ID '#9'",
            id="unknown class",
        ),
        pytest.param(
            {"9": flat_graph()["9"], "1": node("ImageInvert", image=["1", 0])},
            "prompt_outputs_failed_validation",
            "Prompt outputs failed validation",
            "",
            id="a cycle",
        ),
    ],
)
def test_error_of_the_whole_graph_names_no_node(
    plain: PlainClient, graph: Any, kind: str, message: str, details: str
) -> None:
    assert plain.submit_refused(graph) == {
        "error": {"type": kind, "message": message, "details": details, "extra_info": {}},
        "node_errors": {},
    }


def test_missing_input_of_an_output_is_reported_twice(plain: PlainClient) -> None:
    assert plain.submit_refused(saved(filename_prefix="x")) == {
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
            flat_graph(width=0),
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
            flat_graph(width=999999),
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
            flat_graph(width="abc"),
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
            {**flat_graph(), "1": node("LoadImage", image="nope.png")},
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
            {**flat_graph(), "1": node("EmptyLatentImage", width=64, height=64, batch_size=1)},
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
def test_node_error_is_reported_under_the_node_id(
    plain: PlainClient, graph: Any, at: str, error: dict[str, Any]
) -> None:
    assert plain.submit_refused(graph)["node_errors"] == {
        at: {
            "errors": [error],
            "dependent_outputs": ["9"],
            "class_type": graph[at]["class_type"],
        }
    }


def test_missing_model_is_reported_with_the_choices() -> None:
    with (
        ComfyUI(models={"checkpoints": ["a.safetensors"]}) as server,
        connect_client(server) as plain,
    ):
        errors = plain.submit_refused(sampled_graph(checkpoint="b.safetensors"))["node_errors"][
            "4"
        ]["errors"]
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


def test_more_than_20_choices_are_not_listed() -> None:
    models = {"checkpoints": [f"{number}.safetensors" for number in range(21)]}
    with ComfyUI(models=models) as server, connect_client(server) as plain:
        errors = plain.submit_refused(sampled_graph(checkpoint="b.safetensors"))["node_errors"][
            "4"
        ]["errors"]
    assert errors[0]["details"] == "ckpt_name: 'b.safetensors' not in (list of length 21)"
    assert errors[0]["extra_info"]["input_config"] is None


def test_every_model_exists_except_the_missing_ones() -> None:
    with ComfyUI(missing_models=["gone.safetensors"]) as server, connect_client(server) as plain:
        plain.submit(sampled_graph(checkpoint="any.safetensors"))
        refusal = plain.submit_refused(sampled_graph(checkpoint="gone.safetensors"))
    assert refusal["node_errors"]["4"]["errors"][0]["type"] == "value_not_in_list"


def test_number_in_a_string_is_converted(plain: PlainClient) -> None:
    run = plain.run(flat_graph(width="32"))
    assert run.entry["prompt"][2]["1"]["inputs"]["width"] == 32


def test_invalid_output_beside_a_valid_one_is_skipped(plain: PlainClient) -> None:
    graph = {**flat_graph(), "20": node("LoadImage", image="no.png")}
    graph["21"] = node("PreviewImage", images=["20", 0])
    answer = plain.http.post("/prompt", json={"prompt": graph})
    assert answer.status_code == 200
    errors = answer.json()["node_errors"]
    assert list(errors) == ["20"]
    assert errors["20"]["dependent_outputs"] == ["21"]
    assert list(plain.wait_until_finished(answer.json()["prompt_id"])["outputs"]) == ["9"]


def test_only_the_target_outputs_run(plain: PlainClient) -> None:
    graph = {**flat_graph(), "5": node("PreviewImage", images=["1", 0])}
    prompt_id = plain.submit(graph, partial_execution_targets=["5"])
    assert list(plain.wait_until_finished(prompt_id)["outputs"]) == ["5"]


def test_literal_in_place_of_a_link_fails_at_run_time(plain: PlainClient) -> None:
    prompt_id = plain.submit(saved(images="abc", filename_prefix="x"))
    error = plain.wait_until_finished(prompt_id)["status"]["messages"][-1][1]
    assert error["exception_message"] == "'str' object has no attribute 'shape'\n"

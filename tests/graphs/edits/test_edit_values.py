"""Values without a token are set by node and input."""

from __future__ import annotations

from typing import Any

import pytest
from support.comfyui_graphs import node, titled

from imagen.errors import RequestError
from imagen.graphs.edits import resolve_address, with_value

GRAPH: dict[str, Any] = {
    "1": node("CheckpointLoaderSimple", ckpt_name="base.safetensors"),
    "5": titled("CLIPTextEncode", "The words", text="$<prompt>", clip=["1", 1]),
    "6": titled("CLIPTextEncode", "v1.5 negative", text="rain", clip=["1", 1]),
    "8": node("KSampler", model=["1", 0], steps=20, denoise=1.0, **{"mode.scale": 2}),
    "9": node("Switch", on=False),
}


@pytest.mark.parametrize(
    ("name", "address"),
    [
        pytest.param("8.denoise", ("8", "denoise"), id="id"),
        pytest.param("KSampler.denoise", ("8", "denoise"), id="class"),
        pytest.param("v1.5 negative.text", ("6", "text"), id="title with a dot"),
        pytest.param("8.mode.scale", ("8", "mode.scale"), id="input with a dot"),
    ],
)
def test_node_is_addressed_by_id_class_or_title(name: str, address: tuple[str, str]) -> None:
    assert resolve_address(GRAPH, name) == address


@pytest.mark.parametrize(
    ("name", "says"),
    [
        pytest.param(
            "KSampelr.denoise",
            "the workflow has no node 'KSampelr'. Did you mean 'KSampler'?",
            id="no such node",
        ),
        pytest.param(
            "8.denois",
            "node 8 (KSampler) has no input 'denois'. Did you mean 'denoise'?",
            id="no such input",
        ),
        pytest.param(
            "CLIPTextEncode.text", "several nodes are named 'CLIPTextEncode'.", id="several nodes"
        ),
        pytest.param(
            "8.model",
            "comes from node 1 (CheckpointLoaderSimple); a link cannot be set.",
            id="a link",
        ),
        pytest.param("5.text", "5.text is the workflow's parameter 'prompt'.", id="a token"),
    ],
)
def test_unknown_or_unsettable_address_is_refused(name: str, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        resolve_address(GRAPH, name)
    assert says in caught.value.message


@pytest.mark.parametrize(
    ("address", "value", "used"),
    [
        pytest.param(("8", "steps"), 30, 30, id="whole for whole"),
        pytest.param(("8", "steps"), 30.0, 30, id="whole fraction for whole"),
        pytest.param(("8", "steps"), 0.5, 0.5, id="fraction where the editor wrote 1.0 as 1"),
        pytest.param(("8", "denoise"), 1, 1.0, id="whole for fraction"),
        pytest.param(("9", "on"), True, True, id="switch"),
        pytest.param(("6", "text"), "snow", "snow", id="text"),
    ],
)
def test_set_value_keeps_the_type_of_the_old_one(
    address: tuple[str, str], value: Any, used: Any
) -> None:
    graph, put = with_value(GRAPH, address, "it", value)
    assert (put, type(put)) == (used, type(used))
    assert graph[address[0]]["inputs"][address[1]] == used
    assert GRAPH[address[0]]["inputs"][address[1]] != used or value == used


@pytest.mark.parametrize(
    ("address", "value", "says"),
    [
        pytest.param(("8", "steps"), "many", "it must be a whole number, not 'many'.", id="int"),
        pytest.param(("8", "steps"), True, "it must be a whole number, not True.", id="bool"),
        pytest.param(("8", "denoise"), "all", "it must be a number, not 'all'.", id="float"),
        pytest.param(("9", "on"), "false", "it must be true or false, not 'false'.", id="switch"),
        pytest.param(("6", "text"), 3, "it must be text, not 3.", id="text"),
    ],
)
def test_set_value_of_another_type_is_refused(
    address: tuple[str, str], value: Any, says: str
) -> None:
    with pytest.raises(RequestError) as caught:
        with_value(GRAPH, address, "it", value)
    assert caught.value.message == says

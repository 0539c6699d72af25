"""A model file gets the name that the server lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from imagen.graphs import match_model_names
from imagen.graphs.model_names import spellings

if TYPE_CHECKING:
    from imagen.graphs.graph import Node

LOADER: Node = {"class_type": "VAELoader", "inputs": {"vae_name": "flux/ae.safetensors"}}


def catalogue(*files: str) -> dict[str, Any]:
    """A server that has these files for VAELoader."""
    return {"VAELoader": {"input": {"required": {"vae_name": [list(files)]}}}}


@pytest.mark.parametrize(
    ("asked", "there", "alike"),
    [
        pytest.param("ae.sft", ["ae.sft", "flux/ae.sft"], ["ae.sft"], id="as written"),
        pytest.param("flux/ae.sft", ["flux\\ae.sft", "ae.sft"], ["flux\\ae.sft"], id="separator"),
        pytest.param("flux\\ae.sft", ["flux/ae.sft"], ["flux/ae.sft"], id="other separator"),
        pytest.param("ae.sft", ["x.sft", "flux\\ae.sft"], ["flux\\ae.sft"], id="in a folder"),
        pytest.param("flux/ae.sft", ["ae.sft"], ["ae.sft"], id="not in a folder"),
        pytest.param("ae.sft", ["AE.SFT"], ["AE.SFT"], id="case"),
        pytest.param("ae.sft", ["a/ae.sft", "b/ae.sft"], ["a/ae.sft", "b/ae.sft"], id="several"),
        pytest.param("ae.sft", ["aeae.sft", 5], [], id="none"),
        pytest.param("ink", ["ink.safetensors", "a/ink.pt"], ["ink.safetensors"], id="no ending"),
        pytest.param("a/ink", ["ink.pt", "a\\ink.pt"], ["a\\ink.pt"], id="folder, no ending"),
        pytest.param("ink", ["a/ink.pt"], ["a/ink.pt"], id="neither folder nor ending"),
        pytest.param("ink.v2", ["ink.v2.sft"], ["ink.v2.sft"], id="a dot without an ending"),
        pytest.param("ink.pt", ["ink.sft"], [], id="another ending"),
    ],
)
def test_closest_spelling_wins(asked: str, there: list[Any], alike: list[str]) -> None:
    assert spellings(asked, there) == alike


def test_matched_graph_is_a_copy_with_the_servers_spelling() -> None:
    graph: dict[str, Node] = {"1": LOADER}
    local = match_model_names(graph, catalogue("flux\\ae.safetensors"))
    assert local["1"]["inputs"] == {"vae_name": "flux\\ae.safetensors"}
    assert graph == {
        "1": {"class_type": "VAELoader", "inputs": {"vae_name": "flux/ae.safetensors"}}
    }


@pytest.mark.parametrize(
    "object_info",
    [
        pytest.param(catalogue(), id="no files"),
        pytest.param(catalogue("a/ae.safetensors", "b/ae.safetensors"), id="several"),
        pytest.param({}, id="no such class"),
        pytest.param({"VAELoader": None}, id="malformed class"),
        pytest.param({"VAELoader": {"input": {"required": []}}}, id="malformed inputs"),
    ],
)
def test_unknown_model_keeps_its_name(object_info: dict[str, Any]) -> None:
    malformed: dict[str, Any] = {"1": LOADER, "2": "no node"}
    assert match_model_names(malformed, object_info)["1"] == LOADER


def test_model_name_without_ending_is_matched_at_file_inputs() -> None:
    graph: dict[str, Node] = {
        "1": {"class_type": "LoraLoader", "inputs": {"lora_name": "ink", "mode": "ink"}}
    }
    choices = {"lora_name": [["sd/Ink.safetensors"]], "mode": [["ink.safetensors"]]}
    local = match_model_names(graph, {"LoraLoader": {"input": {"required": choices}}})
    assert local["1"]["inputs"] == {"lora_name": "sd/Ink.safetensors", "mode": "ink"}


def test_choice_that_is_not_a_file_keeps_its_name() -> None:
    graph: dict[str, Node] = {"1": {"class_type": "KSampler", "inputs": {"sampler_name": "EULER"}}}
    object_info = {"KSampler": {"input": {"required": {"sampler_name": [["euler"]]}}}}
    assert match_model_names(graph, object_info) == graph

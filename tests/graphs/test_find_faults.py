"""Faults of a workflow that are found without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from imagen.graphs import (
    Manifest,
    Workflow,
    WorkflowFault,
    find_faults,
    find_missing_values,
    find_workflow,
    list_workflow_names,
)
from imagen.graphs.workflow import infer_manifest

if TYPE_CHECKING:
    from imagen.graphs.graph import Node

SAVE: dict[str, Any] = {"class_type": "SaveImage", "inputs": {}}


def node(**inputs: Any) -> dict[str, Any]:
    """A node of class Thing with these inputs."""
    return {"class_type": "Thing", "inputs": inputs}


def found(graph: dict[str, Any], **manifest: Any) -> list[WorkflowFault]:
    """The faults of this graph with this manifest."""
    return find_faults(Workflow("mine", graph, Manifest.model_validate(manifest), "here"))


def sentences(graph: dict[str, Any], **manifest: Any) -> list[str]:
    """The faults' sentences."""
    return [fault.sentence for fault in found(graph, **manifest)]


def test_valid_workflow_has_no_faults() -> None:
    graph = {"1": node(seed="$<seed>"), "9": {"class_type": "SaveImage", "inputs": {"i": ["1", 0]}}}
    assert found(graph, parameters={"seed": {"type": "int"}}) == []


def test_empty_graph_is_a_fault() -> None:
    assert sentences({}) == ["The graph is empty: it has no nodes."]


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        pytest.param(0.4, "node 1: is not a node.", id="number"),
        pytest.param({"inputs": {}}, "node 1: has no class_type.", id="no class"),
        pytest.param(
            {"class_type": 5, "inputs": {}}, "node 1 (5): has no class_type.", id="class no text"
        ),
        pytest.param({"class_type": "Thing"}, "node 1 (Thing): has no inputs.", id="no inputs"),
    ],
)
def test_malformed_node_is_a_fault(broken: Any, says: str) -> None:
    assert sentences({"1": broken, "9": SAVE}) == [says]


@pytest.mark.parametrize(
    ("link", "says"),
    [
        (["7", 0], "links to node '7', which is not in the graph."),
        (["savee", 0], "links to node 'savee', which is not in the graph. Did you mean 'save'?"),
        (["save", -1], "links to output -1 of node save; outputs count from 0."),
        (["save", 0.5], "links to output 0.5 of node save; outputs count from 0."),
        ([9, 0], "is a list but not a link: [9, 0]."),
        ([], "is a list but not a link: []."),
        (["save", True], "is a list but not a link: ['save', True]."),
        (["save", 0, 1], "is a list but not a link: ['save', 0, 1]."),
    ],
)
def test_broken_link_is_a_fault(link: list[Any], says: str) -> None:
    assert sentences({"1": node(image=link), "save": SAVE}) == [f"node 1 (Thing), image: {says}"]


def test_wrapped_list_is_not_a_link() -> None:
    assert found({"1": node(image={"__value__": [9, 0]}), "9": SAVE}) == []


@pytest.mark.parametrize(
    ("graph", "path"),
    [
        pytest.param({"1": node(a=["1", 0])}, "1 → 1", id="itself"),
        pytest.param({"1": node(a=["2", 0]), "2": node(a=["1", 0])}, "1 → 2 → 1", id="two"),
        pytest.param(
            {
                "0": node(a=["1", 0]),
                "1": node(a=["2", 0]),
                "2": node(a=["3", 0], b=["4", 0]),
                "3": node(a=["1", 0]),
                "4": node(),
            },
            "1 → 3 → 2 → 1",
            id="three, reached from outside",
        ),
        pytest.param({"1": node(a=["1", 0], b=["1", 1])}, "1 → 1", id="itself, by two links"),
    ],
)
def test_cycle_is_reported_as_a_path(graph: dict[str, Any], path: str) -> None:
    assert sentences(graph | {"9": SAVE}) == [f"node 1 (Thing): depends on itself: {path}."]


def test_two_cycles_are_both_reported() -> None:
    graph = {"1": node(a=["1", 0]), "2": node(a=["2", 0]), "9": SAVE}
    assert len(found(graph)) == 2


def test_diamond_is_not_a_cycle() -> None:
    graph = {
        "1": node(),
        "2": node(a=["1", 0]),
        "3": node(a=["1", 0]),
        "4": node(a=["2", 0], b=["3", 0]),
        "9": SAVE,
    }
    assert found(graph) == []


def test_long_chain_is_followed_to_its_end() -> None:
    chain = {str(i): node(a=[str(i + 1), 0]) for i in range(5000)}
    graph = chain | {"5000": node(a=["0", 0]), "end": SAVE}
    assert [fault.what[:19] for fault in found(graph)] == ["depends on itself: "]


def test_graph_without_output_is_a_fault() -> None:
    assert sentences({"1": node()}) == ["No node outputs an image."]


@pytest.mark.parametrize(
    "kind",
    ["SaveImage", "PreviewImage", "SaveImageWebsocket", "SaveAnimatedWEBP", "VHS_VideoCombine"],
)
def test_output_node_is_recognized_by_its_class(kind: str) -> None:
    assert found({"1": {"class_type": kind, "inputs": {}}}) == []


def test_manifest_can_name_the_output_node() -> None:
    assert found({"1": node()}, output="1") == []


def test_unknown_output_of_the_manifest_is_a_fault() -> None:
    assert sentences({"9": SAVE}, output=["7"]) == [
        "The manifest's output is node '7', which is not in the graph."
    ]


def test_token_missing_from_the_manifest_is_a_fault() -> None:
    graph = {"1": node(steps="$<stesp>"), "9": SAVE}
    assert sentences(graph, parameters={"steps": {}}) == [
        "node 1 (Thing), steps: the token 'stesp' is not in the manifest. Did you mean 'steps'?",
        "The manifest's parameter 'steps' has no token in the graph. Did you mean 'stesp'?",
    ]


def test_token_with_an_alias_is_known() -> None:
    graph = {"1": node(n="$<batch_size>"), "9": SAVE}
    assert found(graph, parameters={"count": {"type": "int"}}) == []


@pytest.mark.parametrize(
    ("parameter", "says"),
    [
        (
            {"type": "int", "default": "four"},
            "The manifest's default is not valid: steps must be a whole number, not 'four'.",
        ),
        (
            {"type": "int", "default": 0, "min": 1},
            "The manifest's default of steps, 0, is outside its own range; the nearest value is 1.",
        ),
    ],
)
def test_invalid_default_is_a_fault(parameter: dict[str, Any], says: str) -> None:
    graph = {"1": node(steps="$<steps>"), "9": SAVE}
    assert sentences(graph, parameters={"steps": parameter}) == [says]


def test_model_with_an_unknown_token_is_a_fault() -> None:
    graph = {"1": node(unet="$<unet>"), "9": SAVE}
    manifest: dict[str, Any] = {
        "parameters": {"unet": {}},
        "models": [{"file": "x.safetensors", "folder": "vae", "token": "unett"}],
    }
    assert sentences(graph, **manifest) == [
        "The manifest's model 'x.safetensors' has the token 'unett', "
        "which is not in the graph. Did you mean 'unet'?"
    ]


def test_node_title_is_shown_and_cannot_control_the_terminal() -> None:
    graph = {
        "1": {"class_type": "Thing", "inputs": {"a": ["2", 0]}, "_meta": {"title": "\x1b[2JMine"}},
        "9": SAVE,
    }
    assert found(graph)[0].title == "Thing '[2JMine'"


def test_only_the_first_broken_links_get_suggestions() -> None:
    graph = {f"node{n:04}": node(a=[f"nude{n:04}", 0]) for n in range(50)} | {"9": SAVE}
    suggested = [sentence for sentence in sentences(graph) if "Did you mean" in sentence]
    assert len(suggested) == 20


def test_long_cycle_is_shown_shortened() -> None:
    graph = {str(n): node(a=[str((n + 1) % 100), 0]) for n in range(100)} | {"save": SAVE}
    assert sentences(graph) == [
        "node 0 (Thing): depends on itself: "
        "0 → … → 11 → 10 → 9 → 8 → 7 → 6 → 5 → 4 → 3 → 2 → 1 → 0."
    ]


def test_at_most_twenty_cycles_are_reported() -> None:
    graph = {str(n): node(a=[str(n), 0]) for n in range(50)} | {"save": SAVE}
    assert len(sentences(graph)) == 20


@pytest.mark.parametrize("name", list_workflow_names())
def test_bundled_workflow_needs_no_extra_values(name: str) -> None:
    assert find_missing_values(find_workflow(name)) == []


def test_backend_default_counts_as_a_value() -> None:
    graph: dict[str, Node] = {"1": {"class_type": "Save", "inputs": {"a": "$<strength_model>"}}}
    workflow = Workflow("mine", graph, infer_manifest(graph), "mine.json")
    assert [fault.input for fault in find_missing_values(workflow)] == ["a"]
    assert find_missing_values(workflow, {"strength_model": 1}) == []

"""The format of a workflow is detected, or an error says what a text is instead."""

from __future__ import annotations

import json
from typing import Any

import pytest

from imagen.errors import WorkflowError
from imagen.graphs.importer import detect_in_image_texts, detect_in_json, detect_in_text

GRAPH: dict[str, Any] = {"1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}}}
EDITOR: dict[str, Any] = {"nodes": [], "links": [], "version": 0.4}


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(GRAPH, id="bare"),
        pytest.param({"prompt": GRAPH}, id="as it is posted"),
        pytest.param({"prompt": GRAPH, "workflow": EDITOR}, id="beside the editor's"),
        pytest.param({"output": GRAPH, "workflow": EDITOR}, id="as the editor makes it"),
        pytest.param({"imagen": 1, "graph": GRAPH}, id="in a sidecar"),
        pytest.param(GRAPH | {"extra": {"a": 1}, "version": 3}, id="beside other things"),
        pytest.param({"1": GRAPH["1"] | {"is_changed": [float("nan")]}}, id="with a server's NaN"),
    ],
)
def test_graph_is_found_in_any_wrapper(said: Any) -> None:
    found = detect_in_text(json.dumps(said), "it.json")
    assert (found.form, found.graph) == ("api", GRAPH)


@pytest.mark.parametrize(
    "said",
    [pytest.param(EDITOR, id="bare"), pytest.param({"workflow": EDITOR}, id="wrapped")],
)
def test_editor_format_is_recognized_by_its_nodes(said: Any) -> None:
    found = detect_in_json(said, "it.json")
    assert (found.form, found.document, found.source) == ("editor", EDITOR, "it.json")


@pytest.mark.parametrize("name", ["prompt", "output", "graph", "workflow"])
def test_node_id_may_equal_a_wrapper_key(name: str) -> None:
    assert detect_in_json({name: GRAPH["1"]}, "it").graph == {name: GRAPH["1"]}


def test_titles_are_kept_and_other_extras_dropped() -> None:
    node = GRAPH["1"] | {"_meta": {"title": "Cat", "pos": [1, 2]}, "color": "red"}
    assert detect_in_json({"1": node}, "it").graph == {
        "1": GRAPH["1"] | {"_meta": {"title": "Cat"}}
    }


def test_image_prompt_wins_over_its_workflow() -> None:
    texts = {"prompt": json.dumps(GRAPH), "workflow": json.dumps(EDITOR)}
    assert detect_in_image_texts(texts, "it.png").source == "it.png (prompt)"
    assert detect_in_image_texts(texts | {"prompt": " "}, "it.png").source == "it.png (workflow)"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("", "it.json is empty.", id="empty"),
        pytest.param(" \n", "it.json is empty.", id="blank"),
        pytest.param(
            "<!DOCTYPE html><p>", "it.json is a web page, not a workflow.", id="a web page"
        ),
        pytest.param(
            "{",
            "it.json is not valid JSON: Expecting property name enclosed in double quotes at "
            "line 1, column 2.",
            id="torn",
        ),
        pytest.param("[]", "it.json is not a workflow: expected a JSON object.", id="a list"),
        pytest.param("7", "it.json is not a workflow: expected a JSON object.", id="a number"),
        pytest.param("{}", "it.json is not a workflow: it has no nodes.", id="nothing"),
        pytest.param(
            '{"a": {"b": 1}}', "it.json is not a workflow: it has no nodes.", id="other JSON"
        ),
        pytest.param(
            '{"imagen": 1, "graph": {}}',
            "it.json describes an image that ComfyUI did not make: it holds no graph.",
            id="a sidecar without a graph",
        ),
        pytest.param(
            "[" * 500 + "]" * 500, "it.json is nested more than 100 levels deep.", id="deep"
        ),
        pytest.param(
            "[" * 200000, "it.json is nested more than 100 levels deep.", id="without end"
        ),
        pytest.param(
            '{"1": {"class_type": "A", "inputs": {"cfg": NaN}}}',
            "it.json cannot run:\n  node 1, cfg: is NaN or infinite, which no server accepts.",
            id="NaN",
        ),
        pytest.param(
            '{"1": {"class_type": "A", "inputs": {"cfg": {"__value__": [1e999]}}}}',
            "it.json cannot run:\n  node 1, cfg: is NaN or infinite, which no server accepts.",
            id="infinite within",
        ),
        pytest.param(
            '{"1": {"class_type": "A", "inputs": {"seed": ' + "9" * 5000 + "}}}",
            "it.json cannot run:\n  node 1, seed: is NaN or infinite, which no server accepts.",
            id="a number without end",
        ),
        pytest.param(
            '{"1": {"class_type": "A", "inputs": {"cfg": ' + "9" * 400 + "}}}",
            "it.json cannot run:\n  node 1, cfg: is NaN or infinite, which no server accepts.",
            id="a number larger than any float",
        ),
        pytest.param(
            json.dumps({str(n): {"class_type": "A", "inputs": {}} for n in range(10_001)}),
            "it.json holds more than 10,000 nodes.",
            id="too many nodes",
        ),
        pytest.param(
            '{"1": {"class_type": "A", "inputs": {"a": ["2", 0]}}}',
            "it.json cannot run:\n  node 1 (A), a: links to node '2', which is not in the graph.",
            id="a link to nowhere",
        ),
        pytest.param(
            '{"1": {"class_type": "A"}}',
            "it.json cannot run:\n  node 1 (A): has no inputs.",
            id="no inputs",
        ),
    ],
)
def test_text_without_a_workflow_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        detect_in_text(text, "it.json")
    assert caught.value.message == sentence


def test_lone_surrogate_becomes_the_replacement_character() -> None:
    found = detect_in_text('{"1": {"class_type": "A", "inputs": {"text": "\\ud800"}}}', "it.json")
    assert found.graph is not None
    assert found.graph["1"]["inputs"] == {"text": "\ufffd"}


def test_many_faults_are_counted() -> None:
    graph = {str(n): {"class_type": "A", "inputs": {"a": [f"gone{n}", 0]}} for n in range(1000)}
    with pytest.raises(WorkflowError) as caught:
        detect_in_text(json.dumps(graph), "it.json")
    lines = caught.value.message.splitlines()
    assert (len(lines), lines[-1]) == (10, "  … and 992 more")


def test_image_without_a_workflow_is_refused() -> None:
    with pytest.raises(WorkflowError, match=r"^it\.png holds no workflow: ComfyUI was set"):
        detect_in_image_texts({}, "it.png")

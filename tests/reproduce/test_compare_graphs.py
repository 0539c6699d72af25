"""Where two graphs differ."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from imagen.reproduce import Drift, compare_graphs

_GRAPH: dict[str, Any] = {
    "3": {"class_type": "KSampler", "inputs": {"steps": 4, "model": ["4", 0]}},
    "4": {
        "class_type": "CheckpointLoaderSimple",
        "inputs": {"ckpt_name": "a.safetensors"},
        "_meta": {"title": "Model"},
    },
}


def test_titles_are_not_drift() -> None:
    other = deepcopy(_GRAPH)
    other["4"]["_meta"]["title"] = "The model"
    assert compare_graphs(_GRAPH, other) == []


def test_changed_inputs_and_links_are_drift() -> None:
    other = deepcopy(_GRAPH)
    other["3"]["inputs"] = {"steps": 8, "model": ["5", 0], "denoise": 1.0}
    assert [one.sentence for one in compare_graphs(_GRAPH, other)] == [
        "node 3 (KSampler), steps: 4 then, 8 now",
        "node 3 (KSampler), model: 4; 0 then, 5; 0 now",
        "node 3 (KSampler), denoise: nothing then, 1.0 now",
    ]


def test_added_removed_and_changed_nodes_are_drift() -> None:
    other = {
        "3": {"class_type": "SamplerCustom", "inputs": {}},
        "5": {"class_type": "VAELoader", "inputs": {}},
    }
    assert compare_graphs(_GRAPH, other) == [
        Drift(what="workflow", name="node 3", then="KSampler", now="SamplerCustom"),
        Drift(what="workflow", name="node 4", then="CheckpointLoaderSimple 'Model'"),
        Drift(what="workflow", name="node 5", now="VAELoader"),
    ]


def test_malformed_graph_is_tolerated() -> None:
    assert compare_graphs({"1": "x", "2": {"class_type": "A", "inputs": 3}}, {"1": []}) == [
        Drift(what="workflow", name="node 2", then="A")
    ]

"""Any file is either imported or refused with a WorkflowError."""

from __future__ import annotations

import json
from copy import deepcopy
from random import Random
from typing import Any

import pytest
from support.editor_files import (
    CATALOGUE,
    PORTRAIT,
    PORTRAIT_NODES,
    PORTRAIT_WIRES,
    editor,
    node,
    subgraph,
)

from imagen.errors import ImagenError
from imagen.graphs.importer import detect_in_text, format_workflow, import_workflow

_ODD: list[Any] = [
    None,
    True,
    -1,
    2**70,
    1e308,
    "",
    "-10",
    "$<seed>",
    "x.safetensors",
    [],
    ["4", 0],
    [[]],
    {},
    {"__value__": [1]},
    {"name": "a", "link": 1},
]
_INNER = subgraph(
    "soft",
    {"5": node("Blur", 3, inputs=[("amount", "INT", "widget")])},
    [("-10", 0, "5", "image", "IMAGE"), ("5", 0, "-20", "0", "IMAGE")],
    inputs=[("photo", "IMAGE")],
    outputs=[("IMAGE", "IMAGE")],
)
EDITOR = editor(
    {
        **PORTRAIT_NODES,
        "20": node("soft", 4, properties={"proxyWidgets": [["5", "amount"]]}),
        "21": node("Reroute"),
        "22": node("Blur", 3, mode=4),
        "23": node("workflow>Softer", 7, "randomize", outputs=["IMAGE"]),
        "24": node("CLIPTextEncode", "a {red|blue} fox // %KSampler.seed%"),
        "25": node("SaveImage", "%date:yyyy%/%KSampler.seed%"),
    },
    [
        *PORTRAIT_WIRES[:-1],
        ("8", 0, "23", "IMAGE", "IMAGE"),
        ("23", 0, "20", "photo", "IMAGE"),
        ("23", 0, "25", "images", "IMAGE"),
        ("20", 0, "21", "", "IMAGE"),
        ("21", 0, "22", "image", "IMAGE"),
        ("22", 0, "9", "images", "IMAGE"),
    ],
    definitions={"subgraphs": [_INNER]},
    extra={
        "ue_links": [{"downstream": 8, "downstream_slot": 1, "upstream": "4", "upstream_slot": 2}],
        "groupNodes": {
            "Softer": {
                "nodes": [
                    node("Reroute", inputs=[("", "*")], outputs=["*"]),
                    node("PrimitiveNode", 5, "randomize", outputs=["INT"]),
                    node("Blur", 3, inputs=[("image", "IMAGE"), ("amount", "INT", "widget")]),
                ],
                "links": [[0, 0, 2, 0, 1, "IMAGE"], [1, 0, 2, 1, 2, "INT"]],
                "external": [[2, 0, "IMAGE"]],
                "config": {"2": {"input": {"amount": {"name": "much"}}, "output": {}}},
            }
        },
    },
)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in a JSON value, with each key that it has."""
    keys = list(value) if isinstance(value, dict) else range(len(value))
    found = [(value, key) for key in keys]
    for key in keys:
        if isinstance(value[key], dict | list):
            found += _places(value[key])
    return found


def _damaged(said: Any, random: Random) -> Any:
    """A copy with a few values replaced by odd ones, or by others of its own."""
    copy = json.loads(json.dumps(said))
    for _ in range(random.randint(1, 4)):
        places = _places(copy)
        container, key = random.choice(places)
        other, at = random.choice(places)
        container[key] = deepcopy(random.choice([*_ODD, other[at]]))
    return copy


def outcome(text: str) -> str:
    """`taken` or `refused`; any other exception is a bug."""
    try:
        format_workflow(import_workflow(detect_in_text(text, "it.json"), CATALOGUE, title="It"))
        format_workflow(import_workflow(detect_in_text(text, "it.json"), title="It"))
    except ImagenError:
        return "refused"
    return "taken"


@pytest.mark.parametrize("seed", range(150))
def test_damaged_editor_file_is_imported_or_refused(seed: int) -> None:
    assert outcome(json.dumps(_damaged(EDITOR, Random(seed)))) in ("taken", "refused")


@pytest.mark.parametrize("seed", range(100))
def test_damaged_graph_is_imported_or_refused(seed: int) -> None:
    assert outcome(json.dumps(_damaged(PORTRAIT, Random(seed)))) in ("taken", "refused")


def test_undamaged_files_are_imported() -> None:
    assert outcome(json.dumps(PORTRAIT)) == "taken"
    graph = import_workflow(detect_in_text(json.dumps(EDITOR), "it"), CATALOGUE, title="It").graph
    assert {"20:5", "23:2"} <= graph.keys()
    assert graph["23:2"]["inputs"] == {"image": ["8", 0], "amount": 7}


def test_endlessly_nested_subgraphs_are_refused_quickly() -> None:
    many = {str(n): node("b") for n in range(20)}
    more = {str(n): node("a") for n in range(20)}
    definitions = {"subgraphs": [subgraph("a", many, []), subgraph("b", more, [])]}
    said = editor({"1": node("a"), "9": node("PreviewImage")}, [], definitions=definitions)
    assert outcome(json.dumps(said)) == "refused"

"""Old group nodes are expanded as the editor expands them."""

from __future__ import annotations

from typing import Any

import pytest
from support.editor_files import CATALOGUE, Wire, editor, graph_of, node

from imagen.errors import WorkflowError
from imagen.graphs.importer import detect_in_json, import_workflow

SAMPLER = ["euler", "normal", 1]
DRAW: dict[str, Any] = {
    "nodes": [
        node("CLIPTextEncode", "one", inputs=[("clip", "CLIP")]),
        node("CLIPTextEncode", "two", inputs=[("clip", "CLIP")]),
        node(
            "KSampler",
            *[7, "randomize", 20, 8, *SAMPLER],
            inputs=[
                ("model", "MODEL"),
                ("positive", "CONDITIONING"),
                ("negative", "CONDITIONING"),
                ("latent_image", "LATENT"),
            ],
        ),
    ],
    "links": [
        [None, 1, 0, 0, 4, "CLIP"],
        [0, 0, 2, 1, 6, "CONDITIONING"],
        [1, 0, 2, 2, 7, "CONDITIONING"],
    ],
    "external": [[2, 0, "LATENT"]],
}
"""Two texts and a sampler; on its face: two CLIPs, a model and a latent, and eight widgets."""
FACES = [
    ("clip", "CLIP"),
    ("CLIPTextEncode clip", "CLIP"),
    ("model", "MODEL"),
    ("latent_image", "LATENT"),
]
VALUES = ["a fox", "blurry", 9, "randomize", 30, 8, *SAMPLER]
WIRES: list[Wire] = [
    ("4", 0, "1", "model", "MODEL"),
    ("4", 1, "1", "clip", "CLIP"),
    ("4", 1, "1", "CLIPTextEncode clip", "CLIP"),
    ("5", 0, "1", "latent_image", "LATENT"),
    ("1", 0, "8", "samples", "LATENT"),
    ("4", 2, "8", "vae", "VAE"),
    ("8", 0, "9", "images", "IMAGE"),
]


def group(kind: str = "workflow>Draw", *values: Any, **more: Any) -> dict[str, Any]:
    """A group node with the faces and widget values of DRAW."""
    return node(kind, *(values or VALUES), inputs=FACES, outputs=["LATENT"], **more)


def file(host: dict[str, Any], groups: dict[str, Any], wires: list[Wire] | None = None) -> Any:
    """A file of the editor in which this group node draws."""
    nodes = {
        "1": host,
        "4": node("CheckpointLoaderSimple", "a.safetensors"),
        "5": node("EmptyLatentImage", 512, 512, 1),
        "8": node("VAEDecode"),
        "9": node("PreviewImage"),
    }
    return editor(nodes, WIRES if wires is None else wires, extra={"groupNodes": groups})


@pytest.mark.parametrize("prefix", ["workflow>", "workflow/"])
def test_group_nodes_are_linked_inside_and_to_the_face(prefix: str) -> None:
    graph = graph_of(file(group(f"{prefix}Draw"), {"Draw": DRAW}))
    assert {key: one for key, one in graph.items() if key.startswith("1:")} == {
        "1:0": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["4", 1]}},
        "1:1": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["4", 1]}},
        "1:2": {
            "class_type": "KSampler",
            "inputs": {
                "seed": 9,
                "steps": 30,
                "cfg": 8,
                "sampler_name": "euler",
                "scheduler": "normal",
                "denoise": 1,
                "model": ["4", 0],
                "positive": ["1:0", 0],
                "negative": ["1:1", 0],
                "latent_image": ["5", 0],
            },
        },
    }
    assert graph["8"]["inputs"]["samples"] == ["1:2", 0]


def test_value_missing_on_the_face_is_the_default() -> None:
    graph = graph_of(file(group("workflow>Draw", "a fox", "blurry", 9), {"Draw": DRAW}))
    assert graph["1:2"]["inputs"]["steps"] == 20
    assert graph["1:2"]["inputs"]["sampler_name"] == "euler"


def test_newer_widget_of_a_class_is_not_on_the_face() -> None:
    older = DRAW["nodes"][2] | {"widgets_values": [7, "fixed", 20, 8, "euler", "normal"]}
    data = {
        "nodes": [*DRAW["nodes"][:2], older, node("Blur", 3, inputs=[("image", "IMAGE")])],
        "links": DRAW["links"],
        "external": [[2, 0, "LATENT"]],
    }
    host = group("workflow>Draw", *VALUES[:-1], 25)
    graph = graph_of(file(host, {"Draw": data}))
    assert graph["1:2"]["inputs"]["denoise"] == 1.0
    assert graph["1:2"]["inputs"]["steps"] == 30


def test_group_values_by_name_reach_the_inner_nodes() -> None:
    host = group(widgets_values={"steps": 33, "unknown": 1})
    assert graph_of(file(host, {"Draw": DRAW}))["1:2"]["inputs"]["steps"] == 33


def test_converted_widget_comes_last_and_can_be_linked() -> None:
    inner = node(
        "KSampler",
        *[7, "randomize", 20, 8, *SAMPLER],
        inputs=[
            ("model", "MODEL"),
            ("positive", "CONDITIONING"),
            ("negative", "CONDITIONING"),
            ("latent_image", "LATENT"),
            ("steps", "INT", "widget"),
        ],
    )
    data = DRAW | {"nodes": [*DRAW["nodes"][:2], inner]}
    host = group("workflow>Draw", "a fox", "blurry", 9, "randomize", 8, *SAMPLER, 30)
    assert graph_of(file(host, {"Draw": data}))["1:2"]["inputs"]["steps"] == 30
    linked = file(host, {"Draw": data}, [*WIRES, ("6", 0, "1", "steps", "INT")])
    linked["nodes"].append(node("PrimitiveInt", 40, "fixed") | {"id": 6})
    graph = graph_of(linked)
    assert graph["1:2"]["inputs"]["steps"] == ["6", 0]
    assert graph["1:2"]["inputs"]["cfg"] == 8


def test_inner_primitive_has_its_value_on_the_face() -> None:
    data = {
        "nodes": [
            node("PrimitiveNode", 3, "fixed", outputs=["INT"]),
            node("Blur", 3, inputs=[("image", "IMAGE"), ("amount", "INT", "widget")]),
        ],
        "links": [[0, 0, 1, 1, 5, "INT"]],
        "external": [[1, 0, "IMAGE"]],
    }
    host = node("workflow>Soft", 12, "randomize", inputs=[("image", "IMAGE")], outputs=["IMAGE"])
    wires: list[Wire] = [("2", 0, "1", "image", "IMAGE"), ("1", 0, "9", "images", "IMAGE")]
    nodes = {"1": host, "2": node("LoadImage", "cat.png", "image"), "9": node("PreviewImage")}
    graph = graph_of(editor(nodes, wires, extra={"groupNodes": {"Soft": data}}))
    assert graph["1:1"]["inputs"] == {"amount": 12, "image": ["2", 0]}


def test_reroutes_in_a_group_are_followed() -> None:
    data = {
        "nodes": [
            node("Reroute", inputs=[("", "*")], outputs=["*"]),
            node("Blur", 3, inputs=[("image", "IMAGE")]),
            node("Reroute", inputs=[("", "*")], outputs=["*"]),
        ],
        "links": [[0, 0, 1, 0, 5, "IMAGE"], [1, 0, 2, 0, 6, "IMAGE"]],
        "external": [[2, 0, "IMAGE"]],
    }
    host = node("workflow>Soft", 12, inputs=[("IMAGE", "IMAGE")], outputs=["IMAGE"])
    wires: list[Wire] = [("2", 0, "1", "IMAGE", "IMAGE"), ("1", 0, "9", "images", "IMAGE")]
    nodes = {"1": host, "2": node("LoadImage", "cat.png", "image"), "9": node("PreviewImage")}
    graph = graph_of(editor(nodes, wires, extra={"groupNodes": {"Soft": data}}))
    assert graph["1:1"]["inputs"] == {"amount": 12, "image": ["2", 0]}
    assert graph["9"]["inputs"] == {"images": ["1:1", 0]}


def test_nested_group_is_expanded() -> None:
    outer = {"nodes": [group()], "links": [], "external": [[0, 0, "LATENT"]]}
    host = group("workflow>Outer", "a cat", "grey", 5, "fixed", 40, 8, *SAMPLER)
    graph = graph_of(file(host, {"Draw": DRAW, "Outer": outer}))
    assert graph["1:0:2"]["inputs"]["steps"] == 40
    assert graph["1:0:0"]["inputs"] == {"text": "a cat", "clip": ["4", 1]}
    assert graph["8"]["inputs"]["samples"] == ["1:0:2", 0]


def test_bypassed_group_passes_the_same_type() -> None:
    graph = graph_of(file(group(mode=4), {"Draw": DRAW}))
    assert graph["8"]["inputs"]["samples"] == ["5", 0]


def test_undefined_group_is_refused() -> None:
    with pytest.raises(WorkflowError, match="the group node 'Draw' but does not define it"):
        graph_of(file(group(), {}))


def test_groups_that_multiply_each_other_are_refused() -> None:
    groups: dict[str, Any] = {}
    for level in range(8):
        kind = f"workflow>G{level - 1}" if level else "CLIPTextEncode"
        groups[f"G{level}"] = {"nodes": [node(kind, "x")] * 10, "links": [], "external": []}
    with pytest.raises(WorkflowError, match="a group node with more than 1,000 inputs and outputs"):
        graph_of(file(group("workflow>G7"), groups))


def test_unknown_class_in_a_group_is_named() -> None:
    with pytest.raises(WorkflowError, match="Elsewhere"):
        graph_of(file(group(), {"Draw": DRAW | {"nodes": [*DRAW["nodes"][:2], node("Elsewhere")]}}))


@pytest.mark.parametrize(
    "groups",
    [
        {"Draw": 7},
        {"Draw": {"nodes": {}, "links": 3, "external": "x", "config": []}},
        {"Draw": {"nodes": [{"type": "KSampler"}], "links": [[9, 9, 9, 9]], "external": [[0]]}},
    ],
)
def test_damaged_group_is_imported_or_refused(groups: Any) -> None:
    with pytest.raises(WorkflowError):
        import_workflow(detect_in_json(file(group(), groups), "it.json"), CATALOGUE, title="It")

"""Links are followed through nodes that only the editor knows."""

from __future__ import annotations

from typing import Any

import pytest
from support.editor_files import (
    PORTRAIT,
    PORTRAIT_NODES,
    PORTRAIT_WIRES,
    Wire,
    editor,
    graph_of,
    node,
    shown,
    subgraph,
)

IMAGE_LOADER = node("LoadImage", "cat.png", "image")
BLUR = node("Blur", 3)
BLURRED = {"class_type": "Blur", "inputs": {"amount": 3, "image": ["2", 0]}}


def test_reroute_is_followed() -> None:
    wires: list[Wire] = [
        ("2", 0, "5", "", "*"),
        ("5", 0, "6", "", "*"),
        ("6", 0, "1", "image", "IMAGE"),
    ]
    nodes = {"1": BLUR, "2": IMAGE_LOADER, "5": node("Reroute"), "6": node("Reroute")}
    assert shown(nodes, wires) == {
        "1": BLURRED,
        "2": {"class_type": "LoadImage", "inputs": {"image": "cat.png"}},
        "9": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }


def test_primitive_value_is_written_to_its_target() -> None:
    blur = node("Blur", 3, inputs=[("amount", "INT", "widget")])
    wires: list[Wire] = [("2", 0, "1", "image", "IMAGE"), ("5", 0, "1", "amount", "INT")]
    nodes = {"1": blur, "2": IMAGE_LOADER, "5": node("PrimitiveNode", 12, "fixed")}
    assert shown(nodes, wires)["1"]["inputs"] == {"amount": 12, "image": ["2", 0]}


def test_primitive_value_by_name_is_used() -> None:
    blur = node("Blur", 3, inputs=[("amount", "INT", "widget")])
    primitive = node("PrimitiveNode", widgets_values_named={"value": 13})
    wires: list[Wire] = [("5", 0, "1", "amount", "INT")]
    assert shown({"1": blur, "5": primitive}, wires)["1"]["inputs"] == {"amount": 13}


def test_get_node_takes_the_value_of_the_set_node() -> None:
    wires: list[Wire] = [("2", 0, "5", "IMAGE", "IMAGE"), ("6", 0, "1", "image", "IMAGE")]
    nodes = {
        "1": BLUR,
        "2": IMAGE_LOADER,
        "4": node("SetNode", "dog", inputs=[("IMAGE", "IMAGE")]),
        "5": node("SetNode", "cat"),
        "6": node("GetNode", "cat"),
    }
    assert shown(nodes, wires)["1"] == BLURRED


def test_get_node_without_a_set_node_gives_nothing() -> None:
    wires: list[Wire] = [("6", 0, "1", "image", "IMAGE")]
    assert shown({"1": BLUR, "6": node("GetNode", "cat")}, wires)["1"]["inputs"] == {"amount": 3}


def test_notes_are_left_out() -> None:
    nodes = {"1": IMAGE_LOADER, "5": node("Note", "a"), "6": node("MarkdownNote", "b")}
    assert list(shown(nodes, [])) == ["1", "9"]


def test_muted_node_is_removed_with_its_links_and_sources() -> None:
    wires: list[Wire] = [("2", 0, "5", "image", "IMAGE"), ("5", 0, "1", "image", "IMAGE")]
    nodes = {"1": BLUR, "2": IMAGE_LOADER, "5": BLUR | {"mode": 2}}
    assert shown(nodes, wires) == {
        "1": {"class_type": "Blur", "inputs": {"amount": 3}},
        "9": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }


def test_widget_fed_by_a_muted_node_has_no_value() -> None:
    blur = node("Blur", 3, inputs=[("amount", "INT", "widget")])
    wires: list[Wire] = [("5", 0, "1", "amount", "INT")]
    muted = node("PrimitiveInt", 5, "fixed", mode=2)
    assert shown({"1": blur, "5": muted}, wires)["1"]["inputs"] == {}


def test_bypassed_node_passes_the_same_type() -> None:
    wires: list[Wire] = [("2", 0, "5", "image", "IMAGE"), ("5", 0, "1", "image", "IMAGE")]
    nodes = {"1": BLUR, "2": IMAGE_LOADER, "5": BLUR | {"mode": 4}}
    assert shown(nodes, wires)["1"] == BLURRED


def test_bypassed_lora_passes_model_and_text_encoder() -> None:
    nodes = PORTRAIT_NODES | {"20": node("LoraLoader", "x.safetensors", 1, 1, mode=4)}
    wires: list[Wire] = [
        ("4", 0, "20", "model", "MODEL"),
        ("4", 1, "20", "clip", "CLIP"),
        ("20", 0, "3", "model", "MODEL"),
        ("20", 1, "6", "clip", "CLIP"),
        ("20", 1, "7", "clip", "CLIP"),
        *(w for w in PORTRAIT_WIRES if w[3] not in ("model", "clip")),
    ]
    assert graph_of(editor(nodes, wires)) == PORTRAIT


def test_bypassed_node_without_a_matching_input_gives_nothing() -> None:
    wires: list[Wire] = [("2", 1, "5", "mask", "MASK"), ("5", 0, "1", "image", "IMAGE")]
    strange = node("Blur", mode=4, outputs=["IMAGE"])
    assert shown({"1": BLUR, "2": IMAGE_LOADER, "5": strange}, wires)["1"]["inputs"] == {
        "amount": 3
    }


@pytest.mark.parametrize(
    ("faces", "arriving"),
    [
        pytest.param([("a", "MASK"), ("b", "image")], "b", id="the same type, whatever its case"),
        pytest.param([("a", "MASK"), ("b", "MASK,IMAGE")], "b", id="one type of several"),
        pytest.param([("a", "*"), ("b", "IMAGE")], "a", id="any type, in the same place"),
        pytest.param([("a", "MASK"), ("b", "*"), ("c", "IMAGE")], "c", id="the very type first"),
    ],
)
def test_bypass_chooses_the_input_as_the_editor_does(
    faces: list[tuple[str, str]], arriving: str
) -> None:
    strange = node("Blur", mode=4, outputs=["IMAGE"], inputs=faces)
    wires: list[Wire] = [("2", 0, "5", arriving, "IMAGE"), ("5", 0, "1", "image", "IMAGE")]
    assert shown({"1": BLUR, "2": IMAGE_LOADER, "5": strange}, wires)["1"] == BLURRED


@pytest.mark.parametrize(
    ("slot", "arriving"),
    [pytest.param(1, "b", id="in the same place"), pytest.param(2, "a", id="else the first")],
)
def test_bypass_to_an_input_of_any_type_uses_the_same_position(slot: int, arriving: str) -> None:
    strange = node(
        "Blur", mode=4, outputs=["LATENT", "IMAGE", "IMAGE"], inputs=[("a", "MASK"), ("b", "IMAGE")]
    )
    wires: list[Wire] = [("2", 0, "5", arriving, "IMAGE"), ("5", slot, "1", "image", "*")]
    assert shown({"1": BLUR, "2": IMAGE_LOADER, "5": strange}, wires)["1"] == BLURRED


def test_bypass_uses_the_type_at_the_end_of_the_way() -> None:
    strange = node("Blur", mode=4, outputs=["*"], inputs=[("a", "MASK"), ("b", "IMAGE")])
    wires: list[Wire] = [
        ("2", 0, "5", "b", "IMAGE"),
        ("5", 0, "6", "", "*"),
        ("6", 0, "1", "image", "IMAGE"),
    ]
    nodes = {"1": BLUR, "2": IMAGE_LOADER, "5": strange, "6": node("Reroute")}
    assert shown(nodes, wires)["1"] == BLURRED


def test_only_nodes_that_outputs_depend_on_are_kept() -> None:
    nodes = {"1": IMAGE_LOADER, "5": BLUR, "6": node("SaveImage", "x", mode=2)}
    wires: list[Wire] = [("1", 0, "5", "image", "IMAGE"), ("5", 0, "6", "images", "IMAGE")]
    assert list(shown(nodes, wires)) == ["1", "9"]


def test_undefined_link_is_ignored() -> None:
    said = editor({"1": BLUR, "9": node("PreviewImage")}, [("1", 0, "9", "images", "IMAGE")])
    said["nodes"][0]["inputs"] = [{"name": "image", "type": "IMAGE", "link": 77}]
    assert graph_of(said)["1"]["inputs"] == {"amount": 3}


def test_links_may_be_objects() -> None:
    said = editor(
        {"1": IMAGE_LOADER, "9": node("PreviewImage")}, [("1", 0, "9", "images", "IMAGE")]
    )
    said["links"] = [
        {"id": 1, "origin_id": 1, "origin_slot": 0, "target_id": 9, "target_slot": 0, "type": "*"}
    ]
    assert graph_of(said)["9"]["inputs"] == {"images": ["1", 0]}


@pytest.mark.parametrize("mode", [0, 2])
@pytest.mark.parametrize("kind", ["Reroute", "Reroute (rgthree)"])
def test_muted_reroute_is_followed(kind: str, mode: int) -> None:
    nodes = {"1": BLUR, "2": IMAGE_LOADER, "5": node(kind, mode=mode)}
    wires: list[Wire] = [("2", 0, "5", "", "*"), ("5", 0, "1", "image", "IMAGE")]
    assert shown(nodes, wires)["1"] == BLURRED


@pytest.mark.parametrize("mode", [0, 2, 4])
def test_muted_or_bypassed_primitive_is_used(mode: int) -> None:
    blur = node("Blur", 3, inputs=[("amount", "INT", "widget")])
    nodes = {"1": blur, "5": node("PrimitiveNode", 12, "fixed", mode=mode)}
    graph = shown(nodes, [("5", 0, "1", "amount", "INT")])
    assert graph["1"]["inputs"] == {"amount": 12}


def test_get_node_takes_the_value_of_a_muted_set_node() -> None:
    nodes = {
        "1": BLUR,
        "2": IMAGE_LOADER,
        "5": node("SetNode", "photo", mode=2),
        "6": node("GetNode", "photo", mode=2),
    }
    wires: list[Wire] = [("2", 0, "5", "IMAGE", "IMAGE"), ("6", 0, "1", "image", "IMAGE")]
    assert shown(nodes, wires)["1"] == BLURRED


def test_thousand_reroutes_are_followed() -> None:
    reroutes = {str(100 + n): node("Reroute") for n in range(1000)}
    wires: list[Wire] = [("2", 0, "100", "", "*"), ("1099", 0, "1", "image", "IMAGE")]
    wires += [(str(100 + n), 0, str(101 + n), "", "*") for n in range(999)]
    assert shown({"1": BLUR, "2": IMAGE_LOADER, **reroutes}, wires)["1"] == BLURRED


def broadcast(downstream: int, slot: int, upstream: str, output: int) -> dict[str, Any]:
    """A link that the editor made for a broadcasting node, as its file lists it."""
    return {
        "downstream": downstream,
        "downstream_slot": slot,
        "upstream": upstream,
        "upstream_slot": output,
        "controller": 10,
        "type": "VAE",
    }


UNFED: list[Wire] = [wire for wire in PORTRAIT_WIRES if wire[3] != "vae"]
BROADCAST = {
    **PORTRAIT_NODES,
    "8": node("VAEDecode", inputs=[("samples", "LATENT"), ("vae", "VAE")]),
    "10": node("Anything Everywhere", inputs=[("anything", "*")]),
}


def test_broadcast_reaches_the_listed_inputs() -> None:
    wires: list[Wire] = [*UNFED, ("4", 2, "10", "anything", "VAE")]
    said = editor(BROADCAST, wires, extra={"ue_links": [broadcast(8, 1, "4", 2)]})
    assert graph_of(said) == PORTRAIT


def test_broadcast_passes_through_a_reroute() -> None:
    nodes = {**BROADCAST, "11": node("Reroute", outputs=["VAE"])}
    wires: list[Wire] = [*UNFED, ("4", 2, "11", "", "VAE"), ("11", 0, "10", "anything", "VAE")]
    said = editor(nodes, wires, extra={"ue_links": [broadcast(8, 1, "11", 0)]})
    assert graph_of(said) == PORTRAIT


def test_drawn_link_wins_over_a_broadcast() -> None:
    said = editor(BROADCAST, PORTRAIT_WIRES, extra={"ue_links": [broadcast(8, 0, "5", 0)]})
    assert graph_of(said) == PORTRAIT


@pytest.mark.parametrize("odd", [broadcast(77, 0, "4", 2), broadcast(8, 1, "77", 2), {}, 7])
def test_broadcast_between_deleted_nodes_is_ignored(odd: Any) -> None:
    said = editor(BROADCAST, PORTRAIT_WIRES, extra={"ue_links": [odd]})
    assert graph_of(said) == PORTRAIT


def test_broadcast_in_a_subgraph_is_used() -> None:
    inner = subgraph(
        "soft",
        {"5": node("Blur", 3, inputs=[("image", "IMAGE")]), "6": node("LoadImage", "cat.png")},
        [("5", 0, "-20", "0", "IMAGE")],
        outputs=[("IMAGE", "IMAGE")],
    )
    inner["nodes"].append(node("Anything Everywhere") | {"id": 7})
    inner["extra"] = {"ue_links": [broadcast(5, 0, "6", 0)]}
    graph = shown({"1": node("soft", outputs=["IMAGE"])}, [], definitions={"subgraphs": [inner]})
    assert graph["1:5"]["inputs"] == {"amount": 3, "image": ["1:6", 0]}

"""What cannot be converted with certainty is refused."""

from __future__ import annotations

from typing import Any

import pytest
from support.editor_files import (
    CATALOGUE,
    PORTRAIT_NODES,
    PORTRAIT_WIRES,
    Wire,
    editor,
    graph_of,
    inputs_of_one,
    node,
    shown,
    subgraph,
)

from imagen.errors import WorkflowError
from imagen.graphs.importer.convert import convert
from imagen.graphs.importer.detect import detect_in_json
from imagen.graphs.node_catalog import read_catalog

PICTURE = node("LoadImage", "cat.png", "image")


def refusal(said: Any) -> str:
    """The sentence with which this file is refused."""
    with pytest.raises(WorkflowError) as caught:
        graph_of(said)
    return caught.value.message


def strange(**properties: str) -> Any:
    """A portrait whose decoding is done by an unknown node."""
    decode = node("VAEDecoed", title="Mine", properties=properties)
    return editor(PORTRAIT_NODES | {"8": decode}, PORTRAIT_WIRES)


@pytest.mark.parametrize(
    ("properties", "sentence"),
    [
        pytest.param({}, "VAEDecoed (node 8). Did you mean 'VAEDecode'?", id="of no known pack"),
        pytest.param({"cnr_id": "tiles"}, "VAEDecoed (node 8), of the pack tiles.", id="of a pack"),
        pytest.param(
            {"aux_id": "me/tiles"}, "VAEDecoed (node 8), of the pack me/tiles.", id="of a source"
        ),
        pytest.param(
            {"cnr_id": "comfy-core", "ver": "0.9.1"},
            "(node 8), which newer versions of ComfyUI have; the file was saved by 0.9.1.",
            id="of a newer ComfyUI",
        ),
    ],
)
def test_unknown_class_is_named_with_its_pack(properties: dict[str, str], sentence: str) -> None:
    said = refusal(strange(**properties))
    assert said.startswith("it.json uses nodes that the catalog lacks:\n  ")
    assert sentence in said


def test_repeated_unknown_class_is_named_once() -> None:
    nodes = {"1": node("Own", outputs=["IMAGE"]), "2": node("Own", outputs=["IMAGE"])}
    wires: list[Wire] = [("2", 0, "1", "image", "IMAGE")]
    with pytest.raises(WorkflowError, match=r"Own \(nodes 1, 2\)"):
        shown(nodes, wires)


def test_many_unknown_classes_are_counted() -> None:
    nodes = {str(n): node(f"Own{n}", outputs=["IMAGE"]) for n in range(100, 130)}
    wires: list[Wire] = [(str(n + 1), 0, str(n), "image", "IMAGE") for n in range(100, 129)]
    with pytest.raises(WorkflowError) as caught:
        shown(nodes | {"1": PICTURE}, [*wires, ("100", 0, "1", "image", "IMAGE")])
    lines = caught.value.message.splitlines()
    assert (len(lines), lines[-1]) == (10, "  … and 22 more")


def test_unknown_node_that_looks_like_an_output_is_refused() -> None:
    nodes = {"1": PICTURE, "5": node("SaveElsewhere")}
    with pytest.raises(WorkflowError, match=r"SaveElsewhere \(node 5\)"):
        shown(nodes, [("1", 0, "5", "images", "IMAGE")])


def test_unused_unknown_node_is_left_out() -> None:
    nodes = {"1": PICTURE, "5": node("Label (mine)"), "6": node("Own", mode=4)}
    assert list(shown(nodes, [])) == ["1", "9"]


def test_only_runnable_nodes_are_counted_as_left_out() -> None:
    more = {"1": node("Blur", 3), "2": node("Note", "by me"), "3": node("Blur", 3, mode=4)}
    said = editor(PORTRAIT_NODES | {f"9{key}": one for key, one in more.items()}, PORTRAIT_WIRES)
    assert convert(detect_in_json(said, "it.json"), read_catalog(CATALOGUE)).left_out == 1


def test_value_of_another_type_is_refused_with_its_place() -> None:
    with pytest.raises(WorkflowError) as caught:
        inputs_of_one(7, "fixed", 20.5, "8", "euler", "normal", True, title="Draw")
    assert caught.value.message == (
        "it.json holds values that its nodes do not accept:\n"
        "  node 1 (KSampler 'Draw'), steps: must be a whole number, not 20.5.\n"
        "  node 1 (KSampler 'Draw'), denoise: must be a number, not True."
    )


@pytest.mark.parametrize(
    ("kind", "values", "sentence"),
    [
        pytest.param("Blur", ["much"], "amount: must be a whole number, not 'much'.", id="text"),
        pytest.param("Blur", [float("nan")], "amount: must be a whole number, not nan.", id="nan"),
        pytest.param(
            "LoadImage", [7], "image: must be one of example.png, …, not 7.", id="a number"
        ),
        pytest.param(
            "Many",
            [1, "#fff", "maybe"],
            "flag: must be true or false, not 'maybe'.",
            id="no truth value",
        ),
    ],
)
def test_value_of_each_type_is_checked(kind: str, values: list[Any], sentence: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        inputs_of_one(*values, kind=kind)
    assert sentence in caught.value.message


def test_list_for_a_text_is_refused() -> None:
    nodes = PORTRAIT_NODES | {"6": node("CLIPTextEncode", ["a"])}
    assert "text: must be text, not {'__value__': ['a']}." in refusal(editor(nodes, PORTRAIT_WIRES))


def test_infinite_value_is_refused() -> None:
    nodes = PORTRAIT_NODES | {"6": node("CLIPTextEncode", float("inf"))}
    said = refusal(editor(nodes, PORTRAIT_WIRES))
    assert "node 6, text: is NaN or infinite, which no server accepts." in said


def test_broadcast_to_a_missing_input_is_refused() -> None:
    link = {"downstream": 8, "downstream_slot": 5, "upstream": "4", "upstream_slot": 2}
    said = refusal(editor(PORTRAIT_NODES, PORTRAIT_WIRES, extra={"ue_links": [link]}))
    assert said == (
        "it.json lists a link of an Anything Everywhere node to input 5 of node 8 (VAEDecode), "
        "which has 2 inputs."
    )


def test_too_many_nodes_are_refused() -> None:
    many = {str(n): node("Blur", 3) for n in range(101)}
    hosts = {str(n): node("soft") for n in range(100)}
    said = editor(hosts, [], definitions={"subgraphs": [subgraph("soft", many, [])]})
    assert refusal(said) == (
        "it.json holds more than 10,000 nodes, including those in its subgraphs."
    )


def test_too_many_subgraphs_are_refused() -> None:
    hosts = {str(n): node("soft") for n in range(2001)}
    said = editor(hosts, [], definitions={"subgraphs": [subgraph("soft", {}, [])]})
    assert refusal(said) == "it.json uses more than 2,000 subgraphs."


def test_unlisted_broadcast_nodes_are_refused() -> None:
    said = refusal(editor({"1": node("Anything Everywhere3")}, []))
    assert said == (
        "it.json: node 1 (Anything Everywhere3) feeds others without links, "
        "which only the editor can follow."
    )


@pytest.mark.parametrize(
    "nodes",
    [
        pytest.param({}, id="no node"),
        pytest.param({"1": PICTURE}, id="no output"),
        pytest.param({"1": node("PreviewImage", mode=2)}, id="a muted output"),
        pytest.param({"1": node("PreviewImage", mode=4)}, id="a bypassed output"),
    ],
)
def test_file_without_output_is_refused(nodes: dict[str, Any]) -> None:
    assert refusal(editor(nodes, [])).startswith("it.json produces no output: it has no node")


def test_cycle_of_reroutes_is_refused() -> None:
    wires: list[Wire] = [
        ("5", 0, "6", "", "*"),
        ("6", 0, "5", "", "*"),
        ("6", 0, "9", "images", "IMAGE"),
    ]
    nodes = {"5": node("Reroute"), "6": node("Reroute"), "9": node("PreviewImage")}
    assert "it.json has a cycle at node 6 (Reroute)." in refusal(editor(nodes, wires))


def test_node_without_an_id_is_refused() -> None:
    assert refusal({"nodes": [{"type": "Blur"}], "links": []}) == (
        "it.json is damaged: one of its nodes has no id or no type."
    )


def test_downloads_and_packs_in_the_file_are_kept() -> None:
    download = {"name": "a.safetensors", "directory": "checkpoints", "url": "https://example.org/a"}
    nodes = dict(PORTRAIT_NODES)
    nodes["4"] = nodes["4"] | {
        "properties": {"cnr_id": "pack", "models": [download, {"name": 3}, 7]}
    }
    result = convert(
        detect_in_json(editor(nodes, PORTRAIT_WIRES), "it.json"), read_catalog(CATALOGUE)
    )
    assert result.packs == {"CheckpointLoaderSimple": "pack"}
    assert result.downloads["a.safetensors"].folder == "checkpoints"
    assert result.downloads["a.safetensors"].source == "https://example.org/a"
    assert result.left_out == 0

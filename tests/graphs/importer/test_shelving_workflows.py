"""A workflow taken over lies on the shelf as two files, which are read back as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.editor_lab import CATALOGUE, PORTRAIT, PORTRAIT_NODES, PORTRAIT_WIRES, editor, node

from imagen.errors import OutputError, WorkflowError
from imagen.graphs import faults, find
from imagen.graphs.importer import (
    Proposal,
    lacking,
    name_of,
    of_json,
    put,
    shelf_name,
    take_over,
    written,
)

if TYPE_CHECKING:
    from pathlib import Path

FILE = editor(PORTRAIT_NODES, PORTRAIT_WIRES)


def portrait(said: Any = FILE, **more: Any) -> Proposal:
    """A file taken over with the small catalogue."""
    return take_over(of_json(said, "it.json"), CATALOGUE, title="It", **more)


def test_what_is_put_is_found_and_sound(tmp_path: Path) -> None:
    proposal = portrait()
    paths = put(tmp_path / "new", "it", proposal)
    workflow = find("it", [tmp_path / "new"])
    assert paths == (tmp_path / "new/it.json", tmp_path / "new/it.yaml")
    assert (workflow.graph, workflow.manifest) == (proposal.graph, proposal.manifest)
    assert faults(workflow) == []
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["it.json", "it.yaml"]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a fox\nin the snow\n", id="lines"),
        pytest.param("  led by spaces\n\ttabs: # and - signs", id="spaces"),
        pytest.param("yes", id="a word of YAML's"),
        pytest.param("12", id="a number"),
        pytest.param("", id="nothing"),
        pytest.param("ünï 🦊 \u2028 \x85 \x1b[2J \ufeff", id="odd characters"),
        pytest.param("a: [b, {c}] &d *e !f", id="signs of YAML's"),
        pytest.param("x" * 300, id="a long word"),
    ],
)
def test_any_text_comes_back_as_it_was(tmp_path: Path, text: str) -> None:
    encode = {"class_type": "CLIPTextEncode", "inputs": {"text": text, "clip": ["4", 1]}}
    put(tmp_path, "it", portrait(PORTRAIT | {"6": encode}))
    workflow = find("it", [tmp_path])
    assert workflow.manifest.parameters["prompt"].default == text
    assert workflow.sample()["6"] == encode


def test_the_manifest_reads_as_a_person_would_write_it() -> None:
    graph = {
        "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox\nin the snow"}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
    }
    proposal = take_over(of_json(graph, "it"), title="It", description="Mine.")
    assert written(proposal)[1] == (
        "title: It\n"
        "description: Mine.\n"
        "task: text-to-image\n"
        "parameters:\n"
        "  prompt:\n"
        "    type: string\n"
        "    default: |-\n"
        "      a fox\n"
        "      in the snow\n"
        "    description: What to show.\n"
        "output:\n"
        "- '9'\n"
    )


def test_nothing_is_replaced_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "it.yml").write_text("title: mine", "utf-8")
    with pytest.raises(WorkflowError, match=r"There is a workflow 'it' already: .*it\.yml\."):
        put(tmp_path, "it", portrait())
    assert not (tmp_path / "it.json").exists()
    put(tmp_path, "it", portrait(), force=True)
    assert find("it", [tmp_path]).manifest.title == "It"


def test_a_folder_that_is_a_file_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(OutputError, match=r"file.* can't be written: "):
        put(tmp_path / "file", "it", portrait())


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        pytest.param("My Portrait (2)", "my-portrait-2", id="spaces and signs"),
        pytest.param("ComfyUI_00001_", "comfyui_00001", id="as ComfyUI numbers"),
        pytest.param("flux.1-dev", "flux.1-dev", id="dots"),
        pytest.param("$$", "workflow", id="only signs"),
        pytest.param("../../etc", "etc", id="a way out"),
        pytest.param("CON", "con-workflow", id="a device of Windows"),
        pytest.param("狐", "狐", id="any letters"),
        pytest.param("x" * 200, "x" * 80, id="too long"),
    ],
)
def test_a_name_is_made_of_the_files(stem: str, name: str) -> None:
    assert name_of(stem) == name
    assert shelf_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a/b",
        "..",
        ".hidden",
        "a\\b",
        "it.json",
        "it.yaml",
        "a.",
        "nul",
        "COM1.x",
        "a\nb",
        "a:b",
    ],
)
def test_what_can_be_no_name_is_refused(name: str) -> None:
    with pytest.raises(WorkflowError, match="can't be the name of a workflow"):
        shelf_name(name)


def test_the_editors_format_needs_a_catalogue() -> None:
    with pytest.raises(WorkflowError, match="the catalogue of a server's nodes is needed"):
        take_over(of_json(FILE, "it.json"), title="It")


def test_a_graph_is_held_to_a_catalogue_that_was_named() -> None:
    strange = {"class_type": "Own", "inputs": {}}
    latent = {"class_type": "EmptyLatentImage", "inputs": {"width": "wide", "height": 8}}
    found = of_json(PORTRAIT | {"5": latent, "6": strange}, "it.json")
    with pytest.raises(WorkflowError) as caught:
        take_over(found, CATALOGUE, title="It")
    assert caught.value.message == (
        "it.json does not suit the catalogue:\n"
        "  node 5 (EmptyLatentImage), width: must be a whole number, not 'wide'.\n"
        "  node 6 (Own): the catalogue has no such node."
    )
    assert take_over(found, CATALOGUE, title="It", is_held_to=False).graph["6"] == strange


def test_what_the_server_lacks_is_told() -> None:
    nodes = dict(PORTRAIT_NODES)
    nodes["4"] = nodes["4"] | {"widgets_values": ["b.safetensors"]}
    found = lacking(portrait(editor(nodes, PORTRAIT_WIRES)), CATALOGUE)
    assert [fault.sentence for fault in found] == [
        "node 4 (CheckpointLoaderSimple), ckpt_name: "
        "the server has no file 'b.safetensors' in models/checkpoints."
    ]


def test_a_graph_whose_every_output_lacks_something_is_refused() -> None:
    wires = [wire for wire in PORTRAIT_WIRES if wire[3] != "latent_image"]
    with pytest.raises(WorkflowError) as caught:
        portrait(editor(PORTRAIT_NODES, wires))
    assert caught.value.message == (
        "Nothing would come out of it.json:\n"
        "  node 3 (KSampler), latent_image: nothing arrives there."
    )


def test_a_graph_of_which_one_output_is_fed_is_taken() -> None:
    nodes = PORTRAIT_NODES | {"10": node("PreviewImage")}
    assert "10" in portrait(editor(nodes, PORTRAIT_WIRES)).graph

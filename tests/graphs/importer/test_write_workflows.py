"""An imported workflow is written to two files, which are read back unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.editor_files import CATALOGUE, PORTRAIT, PORTRAIT_NODES, PORTRAIT_WIRES, editor, node

from imagen.errors import OutputError, WorkflowError
from imagen.graphs import find_faults, find_workflow
from imagen.graphs.importer import (
    ProposedWorkflow,
    check_name,
    detect_in_json,
    find_server_faults,
    format_workflow,
    import_workflow,
    suggest_name,
    write_workflow,
)

if TYPE_CHECKING:
    from pathlib import Path

FILE = editor(PORTRAIT_NODES, PORTRAIT_WIRES)


def portrait(said: Any = FILE, **more: Any) -> ProposedWorkflow:
    """A file taken over with the small catalogue."""
    return import_workflow(detect_in_json(said, "it.json"), CATALOGUE, title="It", **more)


def test_written_workflow_is_found_and_valid(tmp_path: Path) -> None:
    proposal = portrait()
    paths = write_workflow(tmp_path / "new", "it", proposal)
    workflow = find_workflow("it", [tmp_path / "new"])
    assert paths == (tmp_path / "new/it.json", tmp_path / "new/it.yaml")
    assert (workflow.graph, workflow.manifest) == (proposal.graph, proposal.manifest)
    assert find_faults(workflow) == []
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
def test_any_text_survives_writing(tmp_path: Path, text: str) -> None:
    encode = {"class_type": "CLIPTextEncode", "inputs": {"text": text, "clip": ["4", 1]}}
    write_workflow(tmp_path, "it", portrait(PORTRAIT | {"6": encode}))
    workflow = find_workflow("it", [tmp_path])
    assert workflow.manifest.parameters["prompt"].default == text
    assert workflow.bind_defaults()["6"] == encode


def test_manifest_is_written_readably() -> None:
    graph = {
        "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox\nin the snow"}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
    }
    proposal = import_workflow(detect_in_json(graph, "it"), title="It", description="Mine.")
    assert format_workflow(proposal)[1] == (
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


def test_existing_workflow_is_replaced_only_with_force(tmp_path: Path) -> None:
    (tmp_path / "it.yml").write_text("title: mine", "utf-8")
    with pytest.raises(WorkflowError, match=r"The workflow 'it' already exists: .*it\.yml\."):
        write_workflow(tmp_path, "it", portrait())
    assert not (tmp_path / "it.json").exists()
    write_workflow(tmp_path, "it", portrait(), force=True)
    assert find_workflow("it", [tmp_path]).manifest.title == "It"


def test_folder_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(OutputError, match=r"Cannot write .*file: "):
        write_workflow(tmp_path / "file", "it", portrait())


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
def test_suggested_name_comes_from_the_file_name(stem: str, name: str) -> None:
    assert suggest_name(stem) == name
    assert check_name(name) == name


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
def test_invalid_workflow_name_is_refused(name: str) -> None:
    with pytest.raises(WorkflowError, match="is not a valid workflow name"):
        check_name(name)


def test_editor_format_needs_a_catalog() -> None:
    with pytest.raises(WorkflowError, match="cannot be read without the node catalog of a server"):
        import_workflow(detect_in_json(FILE, "it.json"), title="It")


def test_graph_is_checked_against_a_named_catalog() -> None:
    strange = {"class_type": "Own", "inputs": {}}
    latent = {"class_type": "EmptyLatentImage", "inputs": {"width": "wide", "height": 8}}
    found = detect_in_json(PORTRAIT | {"5": latent, "6": strange}, "it.json")
    with pytest.raises(WorkflowError) as caught:
        import_workflow(found, CATALOGUE, title="It")
    assert caught.value.message == (
        "it.json does not match the catalog:\n"
        "  node 5 (EmptyLatentImage), width: must be a whole number, not 'wide'.\n"
        "  node 6 (Own): the catalog has no such node."
    )
    assert import_workflow(found, CATALOGUE, title="It", is_checked=False).graph["6"] == strange


def test_server_faults_are_reported() -> None:
    nodes = dict(PORTRAIT_NODES)
    nodes["4"] = nodes["4"] | {"widgets_values": ["b.safetensors"]}
    found = find_server_faults(portrait(editor(nodes, PORTRAIT_WIRES)), CATALOGUE)
    assert [fault.sentence for fault in found] == [
        "node 4 (CheckpointLoaderSimple), ckpt_name: "
        "the server has no file 'b.safetensors' in models/checkpoints."
    ]


def test_graph_without_a_complete_output_is_refused() -> None:
    wires = [wire for wire in PORTRAIT_WIRES if wire[3] != "latent_image"]
    with pytest.raises(WorkflowError) as caught:
        portrait(editor(PORTRAIT_NODES, wires))
    assert caught.value.message == (
        "it.json would produce no output:\n  node 3 (KSampler), latent_image: is missing."
    )


def test_graph_with_one_complete_output_is_imported() -> None:
    nodes = PORTRAIT_NODES | {"10": node("PreviewImage")}
    assert "10" in portrait(editor(nodes, PORTRAIT_WIRES)).graph

"""A manifest describes a graph; an invalid one says where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imagen.errors import WorkflowError
from imagen.graphs.manifest import read_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.graphs import Manifest


def read(folder: Path, text: str) -> Manifest:
    """The manifest of this text."""
    path = folder / "mine.yaml"
    path.write_text(text, "utf-8")
    return read_manifest(path)


def refused(folder: Path, text: str) -> str:
    """What is said of a manifest of this text, without the folder."""
    with pytest.raises(WorkflowError) as caught:
        read(folder, text)
    return caught.value.message.replace(str(folder / "mine.yaml"), "mine.yaml")


def test_parameter_has_its_canonical_name(tmp_path: Path) -> None:
    manifest = read(tmp_path, "parameters: {batch_size: {type: int, default: 2}}")
    assert manifest.parameters["count"].default == 2


def test_manifest_output_may_be_one_node_or_several(tmp_path: Path) -> None:
    assert read(tmp_path, "output: 99").output == ("99",)
    assert read(tmp_path, "output: [99, '75:6']").output == ("99", "75:6")


def test_malformed_manifest_reports_line_and_column(tmp_path: Path) -> None:
    said = refused(tmp_path, "title: x\nparameters:\n  a: [1\n  b: 2\n")
    assert said.startswith("mine.yaml, line 4, column 4: ")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("", "mine.yaml is not a manifest", id="empty"),
        pytest.param("- 1", "mine.yaml is not a manifest", id="list"),
        pytest.param("titel: x", "titel: unknown key. Did you mean 'title'?", id="key"),
        pytest.param(
            "parameters: {steps: {defalt: 4}}",
            "parameters.steps.defalt: unknown key",
            id="key of a parameter",
        ),
        pytest.param("parameters: {a: {type: number}}", "parameters.a.type: ", id="type"),
        pytest.param(
            "parameters: {count: {}, batch_size: {}}",
            "batch_size and count are the same parameter; keep one",
            id="one parameter twice",
        ),
        pytest.param("comfyui: newest", "comfyui: ", id="version"),
        pytest.param("comfyui: 0.9", "comfyui: must be text", id="number"),
        pytest.param("models: [{file: a, folder: ../b}]", "models[0].folder: ", id="way out"),
        pytest.param("models: [{file: a, folder: /b}]", "models[0].folder: ", id="root"),
        pytest.param(
            "models: [{file: a, folder: b, source: 'javascript:x'}]",
            "models[0].source: ",
            id="source",
        ),
        pytest.param("family: SD XL", "family: ", id="family"),
        pytest.param("tasks: {paint: a}", "tasks.paint", id="task"),
        pytest.param("tasks: {control: a}", "control needs no workflow", id="control"),
        pytest.param("tasks: {preprocess: a}", "preprocess uses the workflows", id="preprocess"),
        pytest.param("tasks: {inpaint: ../a}", "tasks.inpaint: ", id="workflow by path"),
        pytest.param(
            "controls: {canny: {file: a, folder: loras}}",
            "controls.canny.folder: ",
            id="folder of a control net",
        ),
        pytest.param("nodes: [{name: a, classes: []}]", "nodes[0].classes: ", id="no class"),
        pytest.param("title: \x00", "mine.yaml is not YAML in UTF-8", id="control character"),
    ],
)
def test_invalid_manifest_key_is_reported_with_its_path(
    tmp_path: Path, text: str, says: str
) -> None:
    assert says in refused(tmp_path, text)


def test_all_invalid_manifest_keys_are_reported_at_once(tmp_path: Path) -> None:
    said = refused(tmp_path, "titel: x\ncomfyui: new\n")
    assert said.splitlines()[0] == "The manifest mine.yaml is not valid:"
    assert len(said.splitlines()) == 3


ALIAS_BOMB = "a0: &a0 [x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("title: !!timestamp x", "line 1, column 8: !!timestamp is not supported"),
        ("title: " + "9" * 5000, "line 1, column 8: this number is longer than 100 characters"),
        ("title: !!int ''", "line 1, column 8: this value does not fit its type"),
        ("title: !!bool maybe", "line 1, column 8: this value does not fit its type"),
        ("title: !!float x", "line 1, column 8: this value does not fit its type"),
        ("title: &a [*a]", "mine.yaml is nested in itself, or more than 60 levels deep."),
        (ALIAS_BOMB, "contains more than 100,000 values with its aliases expanded."),
        ("[" * 5000, "mine.yaml is nested in itself, or more than 60 levels deep."),
    ],
)
def test_unreadable_manifest_value_is_an_error(tmp_path: Path, text: str, says: str) -> None:
    assert says in refused(tmp_path, text)


def test_date_is_read_as_text(tmp_path: Path) -> None:
    assert read(tmp_path, "title: 2024-13-01").title == "2024-13-01"


def test_yaml_that_creates_objects_is_refused(tmp_path: Path) -> None:
    said = refused(tmp_path, "title: !!python/object/apply:os.getcwd []")
    assert "could not determine a constructor" in said


FAMILY = """
family: sdxl
tasks: {image-to-image: sdxl-img2img, inpaint: sdxl-inpaint}
models: [{file: base.safetensors, folder: checkpoints}]
controls:
  canny: {file: canny.safetensors, source: "https://example.org/canny.safetensors"}
  depth: {file: union.safetensors, union: depth}
nodes:
  - {name: Acme Nodes, source: "https://example.org/acme", classes: [AcmeScribble]}
"""


def test_manifest_names_the_workflows_of_other_tasks(tmp_path: Path) -> None:
    manifest = read(tmp_path, FAMILY)
    assert manifest.family == "sdxl"
    assert manifest.tasks == {"image-to-image": "sdxl-img2img", "inpaint": "sdxl-inpaint"}


def test_controlnet_file_has_its_own_folder(tmp_path: Path) -> None:
    manifest = read(tmp_path, FAMILY)
    assert manifest.controls["canny"].folder == "controlnet"
    assert (manifest.controls["canny"].union, manifest.controls["depth"].union) == ("", "depth")


def test_controlnets_are_among_the_manifests_files(tmp_path: Path) -> None:
    files = [model.file for model in read(tmp_path, FAMILY).files]
    assert files == ["base.safetensors", "canny.safetensors", "union.safetensors"]


def test_node_pack_is_found_by_class(tmp_path: Path) -> None:
    manifest = read(tmp_path, FAMILY)
    assert [pack and pack.name for pack in map(manifest.pack_of, ["AcmeScribble", "KSampler"])] == [
        "Acme Nodes",
        None,
    ]

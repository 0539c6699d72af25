"""Workflows are found by path, then in the user's folders, then among the bundled ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from imagen.errors import WorkflowError
from imagen.graphs import find_workflow, list_workflow_files, list_workflows
from imagen.graphs.workflow import bundled_folder

if TYPE_CHECKING:
    from pathlib import Path


def put(folder: Path, name: str, manifest: str = "") -> Path:
    """A workflow of one node, with this manifest if any."""
    folder.mkdir(exist_ok=True)
    graph = {"9": {"class_type": "SaveImage", "inputs": {"seed": "$<seed>"}}}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(graph), "utf-8")
    if manifest:
        (folder / f"{name}.yaml").write_text(manifest, "utf-8")
    return path


def test_bundled_workflow_is_found_by_name() -> None:
    workflow = find_workflow("flux1-schnell")
    assert workflow.name == "flux1-schnell"
    assert workflow.source == "bundled"
    assert workflow.manifest.title == "FLUX.1 [schnell]"


def test_workflow_is_found_by_path(tmp_path: Path) -> None:
    path = put(tmp_path, "mine", "title: Mine")
    workflow = find_workflow(str(path))
    assert (workflow.name, workflow.source) == ("mine", str(path))
    assert workflow.manifest.title == "Mine"


def test_workflow_path_may_start_with_a_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    put(tmp_path, "mine")
    assert find_workflow("~/mine.json").name == "mine"


def test_own_workflow_replaces_a_bundled_one(tmp_path: Path) -> None:
    path = put(tmp_path, "sdxl")
    assert find_workflow("sdxl", [tmp_path]).source == str(path)


def test_first_folder_wins(tmp_path: Path) -> None:
    first, second = put(tmp_path / "a", "mine"), put(tmp_path / "b", "mine")
    assert find_workflow("mine", [first.parent, second.parent]).source == str(first)


def test_manifest_may_end_in_yml(tmp_path: Path) -> None:
    path = put(tmp_path, "mine")
    path.with_suffix(".yml").write_text("title: Mine", "utf-8")
    assert find_workflow(str(path)).manifest.title == "Mine"


def test_find_workflow_reads_only_the_chosen_file(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{", "utf-8")
    put(tmp_path, "mine")
    assert find_workflow("mine", [tmp_path]).name == "mine"


def test_unknown_workflow_name_lists_similar_names() -> None:
    with pytest.raises(WorkflowError) as caught:
        find_workflow("flux1-schnel")
    assert caught.value.message == (
        "Workflow 'flux1-schnel' not found. Did you mean 'flux1-schnell'?"
    )
    assert caught.value.remedy == (
        "Similar names: flux1-schnell, flux1-schnell-img2img, flux1-schnell-inpaint.\n"
        "`imagen workflows list` shows all names; or give the path of a .json file."
    )


def test_unknown_workflow_name_reports_missing_folders(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(WorkflowError) as caught:
        find_workflow("nothing", [gone])
    assert f"Workflow folder not found: {gone}." in caught.value.remedy


@pytest.mark.parametrize("name", ["..", ".", "", "C:sdxl", "sdxl\x00"])
def test_workflow_name_cannot_leave_the_folders(tmp_path: Path, name: str) -> None:
    with pytest.raises(WorkflowError, match="not found"):
        find_workflow(name, [tmp_path])


def test_hidden_workflow_is_listed_with_the_one_that_hides_it(tmp_path: Path) -> None:
    path = put(tmp_path, "sdxl")
    shown = [(e.source, e.hidden_by) for e in list_workflow_files([tmp_path]) if e.name == "sdxl"]
    assert shown == [(str(path), ""), ("bundled", str(path))]
    assert [w.source for w in list_workflows([tmp_path]) if w.name == "sdxl"] == [str(path)]


def test_workflow_folder_named_twice_counts_once(tmp_path: Path) -> None:
    put(tmp_path, "mine")
    assert [e.name for e in list_workflow_files([tmp_path, tmp_path])].count("mine") == 1


def test_broken_workflow_is_listed_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{", "utf-8")
    broken = next(entry for entry in list_workflow_files([tmp_path]) if entry.name == "broken")
    assert "is not valid JSON" in str(broken.error)
    assert "broken" not in [workflow.name for workflow in list_workflows([tmp_path])]


def test_bundled_folder_is_beside_the_package_in_a_checkout(tmp_path: Path) -> None:
    (tmp_path / "imagen").mkdir()
    assert bundled_folder(tmp_path / "imagen") == tmp_path / "workflows"


def test_bundled_folder_is_in_the_package_once_installed(tmp_path: Path) -> None:
    (tmp_path / "imagen" / "workflows").mkdir(parents=True)
    assert bundled_folder(tmp_path / "imagen") == tmp_path / "imagen" / "workflows"


def test_unreadable_manifest_leaves_other_workflows_listed(tmp_path: Path) -> None:
    put(tmp_path, "sound", "title: Sound")
    put(tmp_path, "bad", "title: !!int x")
    found = {entry.name: entry for entry in list_workflow_files([tmp_path])}
    assert found["sound"].workflow is not None
    assert "this value does not fit its type" in str(found["bad"].error)

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


def test_a_bundled_workflow_is_found_by_its_name() -> None:
    workflow = find_workflow("flux1-schnell")
    assert workflow.name == "flux1-schnell"
    assert workflow.source == "bundled"
    assert workflow.manifest.title == "FLUX.1 [schnell]"


def test_a_path_is_read_from_where_it_points(tmp_path: Path) -> None:
    path = put(tmp_path, "mine", "title: Mine")
    workflow = find_workflow(str(path))
    assert (workflow.name, workflow.source) == ("mine", str(path))
    assert workflow.manifest.title == "Mine"


def test_a_path_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    put(tmp_path, "mine")
    assert find_workflow("~/mine.json").name == "mine"


def test_a_users_own_workflow_comes_before_a_bundled_one(tmp_path: Path) -> None:
    path = put(tmp_path, "sdxl")
    assert find_workflow("sdxl", [tmp_path]).source == str(path)


def test_the_first_folder_wins(tmp_path: Path) -> None:
    first, second = put(tmp_path / "a", "mine"), put(tmp_path / "b", "mine")
    assert find_workflow("mine", [first.parent, second.parent]).source == str(first)


def test_a_manifest_may_end_in_yml(tmp_path: Path) -> None:
    path = put(tmp_path, "mine")
    path.with_suffix(".yml").write_text("title: Mine", "utf-8")
    assert find_workflow(str(path)).manifest.title == "Mine"


def test_only_the_chosen_workflow_is_read(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{", "utf-8")
    put(tmp_path, "mine")
    assert find_workflow("mine", [tmp_path]).name == "mine"


def test_an_unknown_name_gets_the_nearest_one() -> None:
    with pytest.raises(WorkflowError) as caught:
        find_workflow("flux1-schnel")
    assert caught.value.message == (
        "Workflow 'flux1-schnel' not found. Did you mean 'flux1-schnell'?"
    )
    assert caught.value.remedy == (
        "Similar names: flux1-schnell, flux1-schnell-img2img, flux1-schnell-inpaint.\n"
        "`imagen workflows` lists all names; or give the path of a .json file."
    )


def test_an_unknown_name_says_which_folder_is_not_there(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(WorkflowError) as caught:
        find_workflow("nothing", [gone])
    assert f"Workflow folder not found: {gone}." in caught.value.remedy


@pytest.mark.parametrize("name", ["..", ".", "", "C:sdxl", "sdxl\x00"])
def test_no_name_leads_out_of_the_folders(tmp_path: Path, name: str) -> None:
    with pytest.raises(WorkflowError, match="not found"):
        find_workflow(name, [tmp_path])


def test_a_workflow_hidden_by_another_is_told_and_not_listed_twice(tmp_path: Path) -> None:
    path = put(tmp_path, "sdxl")
    shown = [(e.source, e.hidden_by) for e in list_workflow_files([tmp_path]) if e.name == "sdxl"]
    assert shown == [(str(path), ""), ("bundled", str(path))]
    assert [w.source for w in list_workflows([tmp_path]) if w.name == "sdxl"] == [str(path)]


def test_a_folder_named_twice_counts_once(tmp_path: Path) -> None:
    put(tmp_path, "mine")
    assert [e.name for e in list_workflow_files([tmp_path, tmp_path])].count("mine") == 1


def test_a_broken_workflow_is_told_and_not_hidden(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{", "utf-8")
    broken = next(entry for entry in list_workflow_files([tmp_path]) if entry.name == "broken")
    assert "is not valid JSON" in str(broken.error)
    assert "broken" not in [workflow.name for workflow in list_workflows([tmp_path])]


def test_in_a_checkout_the_bundled_ones_lie_beside_the_package(tmp_path: Path) -> None:
    (tmp_path / "imagen").mkdir()
    assert bundled_folder(tmp_path / "imagen") == tmp_path / "workflows"


def test_in_an_installation_the_bundled_ones_lie_within_the_package(tmp_path: Path) -> None:
    (tmp_path / "imagen" / "workflows").mkdir(parents=True)
    assert bundled_folder(tmp_path / "imagen") == tmp_path / "imagen" / "workflows"


def test_a_manifest_that_yaml_cannot_read_leaves_the_others_listed(tmp_path: Path) -> None:
    put(tmp_path, "sound", "title: Sound")
    put(tmp_path, "bad", "title: !!int x")
    found = {entry.name: entry for entry in list_workflow_files([tmp_path])}
    assert found["sound"].workflow is not None
    assert "this value does not fit its type" in str(found["bad"].error)

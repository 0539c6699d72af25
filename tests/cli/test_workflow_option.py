"""--workflow runs a workflow that no backend names."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.catalog_server import serving
from test_workflows_add import CATALOGUE, EDITOR, GRAPH, png, saved

from imagen.cli import run
from imagen.graphs.workflow import bundled_folder
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Iterator

_STATE = Path("home/.local/state/imagen")


@pytest.fixture
def server() -> Iterator[ComfyUI]:
    """A simulated server, which the backend `comfyui` uses."""
    with ComfyUI() as one:
        _configure(one.url)
        yield one


def _configure(url: str, **settings: Any) -> None:
    backends = {"comfyui": {"url": url, "workflow": "sdxl"}}
    Path("imagen.yaml").write_text(json.dumps({"backends": backends, **settings}))


def _planned(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(["generate", "a fox", "--dry-run", "--json", *arguments]) == 0
    plan: dict[str, Any] = json.loads(capsys.readouterr().out)["plan"][0]
    return plan


def _classes(plan: dict[str, Any]) -> set[str]:
    return {node["class_type"] for node in plan["payload"].values()}


def test_a_bundled_workflow_needs_no_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    plan = _planned(capsys, "--workflow", "sdxl-turbo")
    assert plan["backend"] == "comfyui"
    assert "SDTurboScheduler" in _classes(plan)


def test_workflow_overrides_that_of_the_backend(
    capsys: pytest.CaptureFixture[str],
) -> None:
    block = {"type": "comfyui", "workflow": "sdxl", "parameters": {"steps": 77}}
    _configure("http://localhost:1", backends={"studio": block})
    plan = _planned(capsys, "--workflow", "sdxl-turbo", "-b", "studio")
    assert (plan["backend"], plan["request"]["steps"]) == ("studio", 1)


def test_workflow_runs_on_a_comfyui_default_backend(
    capsys: pytest.CaptureFixture[str],
) -> None:
    block = {"type": "comfyui", "workflow": "sdxl"}
    _configure("http://localhost:1", backends={"studio": block}, default_backend="studio")
    assert _planned(capsys, "--workflow", "sdxl-turbo")["backend"] == "studio"


def test_a_workflow_file_with_tokens_runs_unchanged(capsys: pytest.CaptureFixture[str]) -> None:
    for ending in ("json", "yaml"):
        shutil.copy(bundled_folder() / f"sdxl-turbo.{ending}", f"mine.{ending}")
    plan = _planned(capsys, "--workflow", "mine.json")
    assert "SDTurboScheduler" in _classes(plan)
    assert not (_STATE / "workflows").exists()


def test_an_exported_graph_is_imported(capsys: pytest.CaptureFixture[str]) -> None:
    plan = _planned(capsys, "--workflow", saved(GRAPH), "--set", "amount=9", "--seed", "1")
    assert plan["payload"]["2"]["inputs"]["amount"] == 3
    assert plan["receipt"]["amount"]["outcome"] == "dropped"


def test_the_workflow_of_an_image_runs(capsys: pytest.CaptureFixture[str]) -> None:
    image = saved(png(prompt=json.dumps(GRAPH)), "old.png")
    assert "Blur" in _classes(_planned(capsys, "--workflow", image))


def test_the_editor_format_is_read_with_the_servers_node_catalog(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serving(CATALOGUE) as server:
        _configure(f"http://127.0.0.1:{server.server_address[1]}")
        assert "Blur" in _classes(_planned(capsys, "--workflow", saved(EDITOR)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workflow", "sdxll"], "Workflow 'sdxll' not found. Did you mean 'sdxl'?"),
        (["--workflow", "gone.json"], "gone.json"),
        (
            ["--workflow", "sdxl", "-b", "mock"],
            "--workflow needs a backend of type comfyui; 'mock'",
        ),
        (["--workflow", "sdxl", "-b", "mok"], "Unknown backend 'mok'."),
    ],
    ids=["a slip", "no file", "another kind", "no backend"],
)
def test_a_workflow_that_cannot_run_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["generate", "a fox", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("server")
def test_the_sidecar_names_the_workflow() -> None:
    assert run(["generate", "a fox", "--workflow", "sdxl-turbo", "-q", "-o", "fox.png"]) == 0
    sidecar = json.loads(Path("fox.png.json").read_text())
    assert (sidecar["backend"], sidecar["workflow"]) == ("comfyui", "sdxl-turbo")


@pytest.mark.usefixtures("server")
def test_again_runs_the_same_workflow(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "a fox", "--workflow", "sdxl-turbo", "-q", "-o", "fox.png"]) == 0
    assert run(["again", "fox.png", "-q"]) == 0
    output = capsys.readouterr().err
    assert "No changes since then are known." in output
    assert "Its pixels are identical." in output


@pytest.mark.usefixtures("server")
def test_again_runs_an_imported_workflow(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "a fox", "--workflow", "sdxl-turbo", "-q", "-o", "old.png"]) == 0
    assert run(["generate", "a cat", "--workflow", "old.png", "-q", "-o", "cat.png"]) == 0
    Path("old.png").unlink()
    assert run(["again", "cat.png", "-q"]) == 0
    assert "Its pixels are identical." in capsys.readouterr().err


def test_again_reports_a_missing_workflow(capsys: pytest.CaptureFixture[str]) -> None:
    with ComfyUI() as server:
        _configure(server.url)
        for ending in ("json", "yaml"):
            shutil.copy(bundled_folder() / f"sdxl-turbo.{ending}", f"mine.{ending}")
        assert run(["generate", "a fox", "--workflow", "mine.json", "-q", "-o", "fox.png"]) == 0
    Path("imagen.yaml").unlink()
    assert run(["again", "fox.png"]) == 2
    output = capsys.readouterr().err
    assert "The image was generated with the workflow 'mine', which was not found." in output
    assert "Name its file with --workflow" in output


@pytest.mark.usefixtures("server")
def test_resume_finds_the_workflow(capsys: pytest.CaptureFixture[str]) -> None:
    _die_while_it_runs("sdxl-turbo")
    assert run(["resume", "-q", "-o", "fox.png"]) == 0
    assert capsys.readouterr().out == "fox.png\n"
    assert json.loads(Path("fox.png.json").read_text())["workflow"] == "sdxl-turbo"


@pytest.mark.usefixtures("server")
def test_resume_continues_without_the_workflow(capsys: pytest.CaptureFixture[str]) -> None:
    for ending in ("json", "yaml"):
        shutil.copy(bundled_folder() / f"sdxl-turbo.{ending}", f"mine.{ending}")
    _die_while_it_runs("mine.json")
    Path("mine.json").unlink()
    assert run(["resume", "-q", "-o", "fox.png"]) == 0
    assert capsys.readouterr().out == "fox.png\n"


def _die_while_it_runs(workflow: str) -> None:
    ran = subprocess.run([sys.executable, "-c", _DYING, workflow], check=False)
    assert ran.returncode == 9


_DYING = """
import os, sys
from imagen.cli.workflow_option import choose_workflow
from imagen.config import load_settings
from imagen.core.request import Request
from imagen.pipeline.generate import generate

def die(progress):
    progress.stage in ("running", "fetching") and os._exit(9)

settings, backend = choose_workflow(sys.argv[1], load_settings(), None)
generate(Request(prompt="a fox"), settings, backend=backend, on_progress=die)
"""

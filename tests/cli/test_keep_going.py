"""Several images of one command: the plan, and a failure of one of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imagen.cli import run
from imagen.testing.comfyui import ComfyUI
from imagen.testing.comfyui.failure_switches import FailureSwitches, GatewayAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINE = ["generate", "a fox", "--size", "64x64", "--steps", "2", "--seed", "7", "--count", "3"]
_REFUSED = GatewayAnswer(status=400, path="/prompt", method="POST", after=1, body="not this one")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ComfyUI]:
    """A server that refuses the second of several prompts."""
    monkeypatch.chdir(tmp_path)
    with ComfyUI(switches=FailureSwitches(http_errors=(_REFUSED,))) as server:
        block = {"type": "comfyui", "url": server.url, "workflow": "sd15"}
        text = json.dumps({"default_backend": "studio", "backends": {"studio": block}})
        Path("imagen.yaml").write_text(text)
        yield server


def _seeds(paths: str) -> list[str]:
    return [path.rpartition("-")[2] for path in paths.splitlines()]


@pytest.mark.usefixtures("server")
def test_a_failure_stops_generation_and_prints_earlier_images(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run([*_LINE, "--quiet"]) == 4
    output = capsys.readouterr()
    assert _seeds(output.out) == ["7.png"]
    assert "images failed" not in output.err


@pytest.mark.usefixtures("server")
def test_keep_going_prints_images_and_failures(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run([*_LINE, "--keep-going", "--quiet"]) == 4
    output = capsys.readouterr()
    assert _seeds(output.out) == ["7.png", "9.png"]
    assert "1 of 3 images failed:\nimage 2, seed 8: " in output.err


@pytest.mark.usefixtures("server")
def test_keep_going_json_has_images_and_failures(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*_LINE, "--keep-going", "--quiet", "--json"]) == 4
    error: dict[str, Any] = json.loads(capsys.readouterr().out)["error"]
    assert (error["code"], _seeds("\n".join(error["kept"]))) == ("some_failed", ["7.png", "9.png"])
    (failure,) = error["failures"]
    assert (failure["image"], failure["seed"], failure["code"]) == (2, 8, "rejected")


def test_a_dry_run_groups_jobs_that_differ_only_in_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run([*_LINE, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Would be sent to mock as 3 jobs:\n")
    assert "  seed: 7 to 9\n" in shown
    assert shown.count("prompt: a fox") == 1


def test_a_dry_run_shows_the_compute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    line = ["generate", "a fox", "--size", "1000x500", "--steps", "2", "--count", "3", "--dry-run"]
    assert run(line) == 0
    assert "Compute: 3 (megapixels × steps).\n" in capsys.readouterr().out
    assert run([*line, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["compute"], [one["compute"] for one in plan["plan"]]) == (3.0, [1.0, 1.0, 1.0])


def test_max_compute_refuses_larger_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    line = ["generate", "a fox", "--size", "1000x500", "--steps", "2", "-q", "--max-compute"]
    assert run([*line, "0.9"]) == 2
    assert "need a compute of 1, which exceeds max_compute, 0.9" in capsys.readouterr().err
    assert run([*line, "1", "--json"]) == 0
    (made,) = json.loads(capsys.readouterr().out)["generations"]
    assert made["receipt"]["max_compute"]["outcome"] == "applied"
    assert "max_compute" not in made["request"]

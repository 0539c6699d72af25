"""--model: another checkpoint, in generate, records and other commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.model_file_samples import SD1, VAE, safetensors, write_file

from imagen.cli import run

if TYPE_CHECKING:
    from collections.abc import Sequence

DUSK = ["generate", "a fox", "-m", "mock-dusk", "-S", "7", "-o", "fox.png", "--quiet"]


def _sidecar(name: str = "fox.png.json") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(name).read_text("utf-8"))
    return found


def _planned(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(["generate", *arguments, "--dry-run", "--json"]) == 0
    planned: dict[str, Any] = json.loads(capsys.readouterr().out)["plan"][0]
    return planned


def test_the_sidecar_has_the_requested_and_the_used_model() -> None:
    assert run(DUSK) == 0
    record = _sidecar()
    assert (record["request"]["model"], record["resolved"]["model"]) == ("mock-dusk", "mock-dusk")
    assert record["receipt"]["model"]["outcome"] == "applied"
    assert record["facts"]["model"] == "mock-dusk"


def test_another_model_paints_another_image() -> None:
    assert run(DUSK) == 0
    assert run(["generate", "a fox", "-S", "7", "-o", "own.png", "--quiet"]) == 0
    assert Path("fox.png").read_bytes() != Path("own.png").read_bytes()
    assert "model" not in _sidecar("own.png.json")["resolved"]


def test_an_unknown_model_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "a fox", "--model", "mock-dsk"]) == 2
    assert "model cannot be 'mock-dsk'. Did you mean 'mock-dusk'?" in capsys.readouterr().err


def test_again_uses_the_same_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(DUSK) == 0
    assert run(["again", "fox.png", "--quiet"]) == 0
    output = capsys.readouterr().err
    assert "No changes since then are known." in output
    assert "Its pixels are identical." in output


def test_again_on_another_backend_uses_its_default_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("imagen.yaml").write_text("backends: {other: {type: mock}}", encoding="utf-8")
    assert run(DUSK) == 0
    assert run(["again", "fox.png", "--backend", "other", "--dry-run"]) == 0
    assert "model: mock-dusk then, nothing now" in capsys.readouterr().out


def test_from_json_sets_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    Path("asked.json").write_text('{"prompt": "a fox", "model": "mock-dusk"}', encoding="utf-8")
    assert _planned(capsys, "--from-json", "asked.json")["request"]["model"] == "mock-dusk"


@pytest.mark.parametrize(
    ("flags", "model"), [([], "mock-dusk"), (["-m", "mock"], "mock")], ids=["style", "flag"]
)
def test_a_style_may_set_the_model(
    flags: Sequence[str], model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("imagen.yaml").write_text("styles: {dusk: {model: mock-dusk}}", encoding="utf-8")
    assert _planned(capsys, "a fox", "--style", "dusk", *flags)["request"]["model"] == model


def test_compare_varies_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["compare", "a fox", "--models", "mock", "--vary", "model=mock,mock-dusk"]
    assert run([*asked, "--output", "sheet", "--quiet", "--json"]) == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    assert [cell["value"] for cell in cells] == ["mock", "mock-dusk"]
    assert cells[0]["files"][0]["sha256"] != cells[1]["files"][0]["sha256"]


def test_compare_uses_one_model_for_all_cells(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["compare", "a fox", "-m", "mock", "--model", "mock-dusk", "--dry-run", "--json"]
    assert run(asked) == 0
    (cell,) = json.loads(capsys.readouterr().out)["cells"]
    assert cell["plan"][0]["request"]["model"] == "mock-dusk"


def test_the_library_records_the_used_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(DUSK) == 0
    capsys.readouterr()
    assert run(["history", "--model", "mock-dusk", "--json"]) == 0
    assert "mock-dusk" in capsys.readouterr().out


def test_a_model_name_like_a_number_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "a fox", "--set", "model=15", "--dry-run"]) == 2
    assert "model cannot be '15'." in capsys.readouterr().err


def test_a_task_without_checkpoint_drops_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(DUSK) == 0
    asked = ["upscale", "fox.png", "--backend", "mock", "-m", "mock-dusk", "--dry-run", "--json"]
    capsys.readouterr()
    assert run(asked) == 0
    receipt = json.loads(capsys.readouterr().out)["plan"][0]["receipt"]
    assert receipt["model"]["why"] == "this task needs no checkpoint"


def test_from_json_ignores_model_paths_of_another_computer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(DUSK) == 0
    record = _sidecar()
    record["resolved"]["model"] = "//server/share/a.safetensors"
    Path("fox.png.json").write_text(json.dumps(record), encoding="utf-8")
    assert run(["generate", "--from-json", "fox.png.json", "--dry-run"]) == 2
    assert "model: the record names a file on another computer" in capsys.readouterr().err


def test_only_a_dry_run_shows_the_path_of_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_file(tmp_path / "dream.safetensors", safetensors(SD1 | VAE))
    block = {"type": "diffusers", "model": "a/b", "family": "sd1"}
    Path("imagen.yaml").write_text(json.dumps({"backends": {"d": block}}), encoding="utf-8")
    planned = _planned(capsys, "a fox", "-b", "d", "-m", str(path))
    assert planned["request"]["model"] == str(path)

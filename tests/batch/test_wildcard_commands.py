"""Wildcards in the prompts of commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imagen.batch.wildcards import Wildcards
from imagen.cli import run

_SMALL = ("--size", "32x32", "-b", "mock", "--quiet")


def _json(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert run([*words, *_SMALL, "--json"]) == 0
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return printed


def _sidecar(image: dict[str, Any]) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(Path(image["sidecar"]).read_bytes())
    return record


def test_each_image_has_its_own_prompt_and_a_record_of_the_template(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = "a {red|blue|green|white} fox"
    printed = _json(capsys, "generate", text, "--count", "4", "--seed", "7")
    assert [image["seed"] for image in printed["images"]] == [7, 8, 9, 10]
    for image in printed["images"]:
        record = _sidecar(image)
        expected = Wildcards().expand(text, image["seed"], "prompt")
        assert record["request"]["prompt"] == record["resolved"]["prompt"] == expected
        assert record["request"]["template"] == text
        assert "template" not in record["resolved"]
        assert "template" not in record["receipt"]


def test_the_drawn_seed_makes_the_image_again(capsys: pytest.CaptureFixture[str]) -> None:
    (image,) = _json(capsys, "generate", "a {a|b|c|d|e|f} fox")["images"]
    seed = str(image["seed"])
    (same,) = _json(capsys, "generate", "a {a|b|c|d|e|f} fox", "--seed", seed)["images"]
    assert Path(image["path"]).read_bytes() == Path(same["path"]).read_bytes()


def test_again_and_a_sidecar_use_the_finished_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    (image,) = _json(capsys, "generate", r"a \{x|y\} {red|red} fox")["images"]
    assert _sidecar(image)["request"]["prompt"] == "a {x|y} red fox"
    (again,) = _json(capsys, "again", image["path"])["images"]
    assert _sidecar(again)["request"]["prompt"] == "a {x|y} red fox"
    (same,) = _json(capsys, "generate", "--from-json", image["sidecar"])["images"]
    assert _sidecar(same)["request"]["prompt"] == "a {x|y} red fox"
    words = ("--from-json", image["sidecar"], "--prompt", "a {b|b}")
    (other,) = _json(capsys, "generate", *words)["images"]
    assert _sidecar(other)["request"]["prompt"] == "a b"
    assert _sidecar(other)["request"]["template"] == "a {b|b}"


def test_literal_leaves_prompts_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    (image,) = _json(capsys, "generate", "a {red|blue fox", "--literal")["images"]
    assert _sidecar(image)["request"] == {
        "prompt": "a {red|blue fox", "width": 32, "height": 32
    }  # fmt: skip


def test_combinatorial_makes_every_combination(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("generate", "a {red|blue} fox", "-n", "{x|y}", "--combinatorial", "--count", "2")
    printed = _json(capsys, *words, "--seed", "7")
    made = [(g["request"]["prompt"], g["request"]["negative"]) for g in printed["generations"]]
    pairs = [("a red fox", "x"), ("a red fox", "y"), ("a blue fox", "x"), ("a blue fox", "y")]
    assert made == [pair for pair in pairs for _ in range(2)]
    assert [image["seed"] for image in printed["images"]] == [7, 8] * 4


def test_wildcard_dirs_are_relative_to_the_configuration(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("words").mkdir()
    Path("words/animal.txt").write_text("fox")
    Path("imagen.yaml").write_text("wildcard_dirs: [words]\n")
    (image,) = _json(capsys, "generate", "a __animal__")["images"]
    assert _sidecar(image)["request"]["prompt"] == "a fox"


def test_edit_expands_its_instruction(capsys: pytest.CaptureFixture[str]) -> None:
    (image,) = _json(capsys, "generate", "a fox")["images"]
    (edited,) = _json(capsys, "edit", image["path"], "make it {blue|blue}")["images"]
    assert _sidecar(edited)["request"]["prompt"] == "make it blue"
    (literal,) = _json(capsys, "edit", image["path"], "make it {a|b}", "--literal")["images"]
    assert _sidecar(literal)["request"]["prompt"] == "make it {a|b}"


def test_a_dry_run_shows_the_prompts(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("generate", "a {red|blue} fox", "--combinatorial", "--dry-run", "--seed", "7")
    plan = _json(capsys, *words)["plan"]
    assert [ticket["request"]["prompt"] for ticket in plan] == ["a red fox", "a blue fox"]
    assert not Path("outputs").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a {red|blue fox"], "The prompt, character 3: this brace is not closed"),
        (["a __animal__"], "unknown wildcard '__animal__'"),
        (["{a|b}" * 11, "--combinatorial"], "The combinations are 2,048 images"),
        (["a {b|c}", "--combinatorial", "--literal"], "exclude each other"),
    ],
)
def test_faults_are_usage_errors_and_nothing_is_made(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert run(["generate", *words, "-b", "mock"]) == 2
    assert message in capsys.readouterr().err
    assert not Path("outputs").exists()


def test_several_images_are_not_written_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "{a|b}", "--combinatorial", "-o", "-", *_SMALL]) == 2
    assert "--output - writes one image, but these are 2." in capsys.readouterr().err


def test_detached_prompts_are_one_submission(capsys: pytest.CaptureFixture[str]) -> None:
    printed = _json(capsys, "generate", "a {b|c}", "--combinatorial", "--seed", "7", "--detach")
    assert len(printed["jobs"]) == 2


def test_cells_of_a_comparison_share_seed_and_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    Path("imagen.yaml").write_text("backends: {one: {type: mock}, two: {type: mock}}\n")
    text = "a {red|blue|green|white} fox"
    words = ["compare", text, "--models", "one,two", "--size", "32x32", "--quiet", "--json"]
    assert run([*words, "--count", "2"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert run([*words, "--count", "2"]) == 0  # continues in the same folder
    second = json.loads(capsys.readouterr().out)
    expanded = Wildcards().expand(text, first["request"]["seed"], "prompt")
    assert [cell["parameters"]["prompt"] for cell in first["cells"]] == [expanded, expanded]
    assert [cell["files"] for cell in second["cells"]] == [cell["files"] for cell in first["cells"]]
    sidecar = Path(first["folder"], first["cells"][0]["files"][0]["path"] + ".json")
    assert json.loads(sidecar.read_text("utf-8"))["request"]["template"] == text
    assert run([*words, "--literal", "-o", "as-is"]) == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    assert {cell["parameters"]["prompt"] for cell in cells} == {text}

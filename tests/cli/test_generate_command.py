"""imagen generate, from the command line to the file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagen.cli import run


def _json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(["generate", *arguments, "--json", "--quiet"]) == 0
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return printed


def test_generate_prints_only_the_path_on_stdout(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["generate", "a red fox", "--seed", "7", "--quiet"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("-a-red-fox-7.png")
    with Image.open(line) as image:
        assert image.size == (1024, 1024)


def test_every_option_of_generate_reaches_the_request(capsys: pytest.CaptureFixture[str]) -> None:
    flags = [
        "--size",
        "64x48",
        "--seed",
        "0",
        "--steps",
        "3",
        "--negative",
        "blur",
        "--count",
        "2",
        "--latent-batch",
        "--set",
        "sparkle=1.5",
    ]
    printed = _json(capsys, "a fox", *flags)
    assert printed["generations"][0]["request"] == {
        "prompt": "a fox",
        "width": 64,
        "height": 48,
        "seed": 0,
        "steps": 3,
        "negative": "blur",
        "count": 2,
        "latent_batch": True,
    }
    assert printed["generations"][0]["receipt"]["sparkle"]["outcome"] == "dropped"
    assert [(i["seed"], i["width"], i["height"]) for i in printed["images"]] == [
        (0, 64, 48),
        (1, 64, 48),
    ]


def test_generate_json_has_the_documented_fields(capsys: pytest.CaptureFixture[str]) -> None:
    printed = _json(capsys, "a fox", "--size", "32x32")
    assert set(printed) == {"images", "backend", "generations"}
    assert set(printed["images"][0]) == {
        "path",
        "sidecar",
        "seed",
        "width",
        "height",
        "media_type",
        "index",
    }
    assert set(printed["generations"][0]) == {
        "id",
        "request",
        "receipt",
        "inputs",
        "facts",
        "warnings",
    }


def test_generate_reports_parameters_that_were_not_honoured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["generate", "x", "--size", "32x32", "--cfg", "3"]) == 0
    assert "cfg: 3.0 was dropped (the mock paints without a model)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("output", "path"),
    [("renders", "renders/*-x-5.png"), ("fox.png", "fox.png"), ("a/b/fox.png", "a/b/fox.png")],
)
def test_output_is_a_folder_or_a_file_name(output: str, path: str) -> None:
    assert run(["generate", "x", "--seed", "5", "--size", "32x32", "-q", "-o", output]) == 0
    assert len(list(Path().glob(path))) == 1


def test_generate_does_not_overwrite_a_file() -> None:
    arguments = ["generate", "x", "--size", "32x32", "-q", "-o", "fox.png"]
    assert (run(arguments), run(arguments)) == (0, 0)
    assert sorted(path.name for path in Path().glob("fox*.png")) == ["fox-2.png", "fox.png"]


def test_no_sidecar_writes_no_sidecar() -> None:
    assert run(["generate", "x", "--size", "32x32", "-q", "-o", "fox.png", "--no-sidecar"]) == 0
    assert [path.name for path in Path().iterdir()] == ["fox.png"]


def test_a_dry_run_shows_the_plan_and_generates_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["generate", "a fox", "--dry-run", "--json", "--seed", "3"]) == 0
    (plan,) = json.loads(capsys.readouterr().out)["plan"]
    assert plan["request"]["seed"] == 3
    assert list(Path().iterdir()) == []


def test_a_dry_run_shows_the_bound_graph(capsys: pytest.CaptureFixture[str]) -> None:
    Path("imagen.yaml").write_text("backends: {s: {type: comfyui, workflow: flux1-schnell}}")
    assert run(["generate", "a fox", "-b", "s", "--dry-run", "--json", "--seed", "3"]) == 0
    (plan,) = json.loads(capsys.readouterr().out)["plan"]
    samplers = [n for n in plan["payload"].values() if n["class_type"] == "KSampler"]
    assert [(n["inputs"]["seed"], n["inputs"]["steps"]) for n in samplers] == [(3, 4)]


def test_sampler_names_of_other_tools_are_translated_for_comfyui(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("imagen.yaml").write_text("backends: {s: {type: comfyui, workflow: sdxl}}")
    arguments = ["generate", "a fox", "-b", "s", "--dry-run", "--json"]
    assert run([*arguments, "--sampler", "DPM++ SDE Karras"]) == 0
    (plan,) = json.loads(capsys.readouterr().out)["plan"]
    (sampler,) = [n["inputs"] for n in plan["payload"].values() if n["class_type"] == "KSampler"]
    assert (sampler["sampler_name"], sampler["scheduler"]) == ("dpmpp_sde", "karras")
    stderr = plan["receipt"]["sampler"]
    assert (stderr["outcome"], stderr["asked"], stderr["used"]) == (
        "mapped",
        "DPM++ SDE Karras",
        "dpmpp_sde",
    )


def test_the_same_request_gives_the_same_file() -> None:
    arguments = ["generate", "a fox", "--seed", "3", "--size", "64x64", "-q"]
    assert (run([*arguments, "-o", "a.png"]), run([*arguments, "-o", "b.png"])) == (0, 0)
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


def test_a_prompt_with_odd_characters_arrives_intact(capsys: pytest.CaptureFixture[str]) -> None:
    prompt = "quotes \" ' \\ and\nlines 猫 🎨 שלום \x07 $<seed> " + "x" * 100_000
    Path("p.txt").write_bytes(prompt.encode())
    printed = _json(capsys, "@p.txt", "--size", "32x32")
    assert printed["generations"][0]["request"]["prompt"] == prompt
    assert run(["show", printed["images"][0]["path"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["resolved"]["prompt"] == prompt


def test_show_reads_a_generated_image(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "a fox", "--seed", "3", "--cfg", "2", "-q", "-o", "fox.png"]) == 0
    assert run(["show", "fox.png"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "backend: mock",
        "prompt: a fox",
        "width: 1024",
        "height: 1024",
        "seed: 3",
        "steps: 8",
        "count: 1",
        "receipt: cfg: 2.0 was dropped (the mock paints without a model)",
        "model: mock",
        "index: 0",
    ]


def test_nothing_is_generated_for_an_impossible_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    Path("taken").write_text("a file")
    assert run(["generate", "x", "--size", "32x32", "-q", "-o", "taken/renders"]) == 5
    assert capsys.readouterr().err == (
        f"imagen: Images cannot be saved in {Path('taken/renders')}: "
        f"{Path('taken').absolute()} is not a folder.\n"
        "Nothing was sent. Name another folder with --output.\n"
    )
    assert list((tmp_path / "home").rglob("*.png")) == []


def test_an_image_is_rescued_if_its_folder_disappears(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    Path("imagen.yaml").write_text("output: {directory: ., name: 'taken/{seed}'}\n")
    Path("taken").write_text("a file")
    assert run(["generate", "x", "--size", "32x32", "-q"]) == 5
    error = capsys.readouterr().err
    rescued = list((tmp_path / "home").rglob("*.png"))
    assert [str(path) in error for path in rescued] == [True]


def test_rescued_images_are_listed_on_stdout(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("imagen.yaml").write_text("output: {directory: ., name: 'taken/{seed}'}\n")
    Path("taken").write_text("a file")
    arguments = ["generate", "x", "--size", "32x32", "--count", "2", "--latent-batch", "-q"]
    assert run(arguments) == 5
    paths = capsys.readouterr().out.splitlines()
    assert [Path(path).is_file() for path in paths] == [True, True]
    assert run([*arguments, "--json"]) == 5
    assert len(json.loads(capsys.readouterr().out)["error"]["kept"]) == 2


def test_generate_leaves_no_job_behind(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "x", "--size", "32x32", "-q", "-o", "fox.png"]) == 0
    assert run(["resume", "--list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.split("\n", 1)[1]) == {"jobs": []}


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_terminal_shows_that_images_are_placeholders_and_how_to_set_up_engines() -> None:
    from support.terminal_runs import run_on_terminal

    shown = run_on_terminal(200, "generate", "x", "--size", "64x64")
    assert shown.endswith(
        "The mock backend paints placeholders; it runs no model. "
        "To set up your engines: imagen config init --detect --write\n"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_with_other_engines_a_terminal_shows_only_that_images_are_placeholders() -> None:
    from support.terminal_runs import run_on_terminal

    Path("imagen.yaml").write_text("backends: {studio: {type: comfyui}}\n")
    shown = run_on_terminal(200, "generate", "x", "--size", "64x64")
    assert shown.endswith("The mock backend paints placeholders; it runs no model.\n")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_an_interpolated_image_is_not_called_a_placeholder() -> None:
    from support.terminal_runs import run_on_terminal

    assert run(["generate", "x", "--size", "64x64", "-o", "fox.png"]) == 0
    shown = run_on_terminal(200, "upscale", "fox.png", "--method", "lanczos")
    assert "mock" not in shown


def test_a_pipe_shows_nothing_about_placeholders(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "x", "--size", "64x64", "-o", "fox.png"]) == 0
    printed = capfd.readouterr()
    assert printed.out == "fox.png\n"
    assert "placeholder" not in printed.err


@pytest.mark.parametrize(
    "words",
    [("generate", "x", "--backend"), ("models", "--backend"), ("compare", "x", "--models")],
    ids=["generate", "models", "compare"],
)
def test_a_workflow_name_as_backend_suggests_the_command_that_adds_it(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*words, "flux1-schnell"]) == 2
    remedy = "flux1-schnell is a bundled workflow. `imagen config init --detect --write` adds"
    assert remedy in capsys.readouterr().err


def test_an_unknown_backend_without_configuration_suggests_config_init(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["generate", "x", "--backend", "studio"]) == 2
    remedy = "Known: mock.\nTo set up your engines: imagen config init --detect --write\n"
    assert capsys.readouterr().err.endswith(remedy)


@pytest.mark.parametrize("flags", [(), ("--json",)], ids=["text", "json"])
def test_an_empty_configuration_is_one_warning_on_stderr(
    flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("imagen.yaml").write_text("\n")
    assert run(["generate", "x", "--size", "64x64", "-o", "fox.png", *flags]) == 0
    printed = capsys.readouterr()
    assert printed.err.count("the file is empty") == 1
    assert printed.err.startswith("imagen: imagen.yaml: the file is empty, so the defaults apply. ")
    assert "empty" not in printed.out

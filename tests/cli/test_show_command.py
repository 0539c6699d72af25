"""imagen show: how a picture was made, whoever made it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from support.other_tools_images import comfyui

from imagen.cli import run

if TYPE_CHECKING:
    from collections.abc import Callable

_A1111 = (
    "a red fox, <lora:ink:0.5>\nNegative prompt: blur\n"
    "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 42, Size: 64x48, Model: dream"
)
_GRAPH = {"3": {"class_type": "KSampler", "inputs": {"seed": 7}}}


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    """The lines that `imagen show` prints."""

    def lines(*arguments: str) -> list[str]:
        capsys.readouterr()
        assert run(["show", *arguments]) == 0
        return capsys.readouterr().out.splitlines()

    return lines


@pytest.fixture
def fox() -> None:
    """fox.png and its sidecar, made by the mock."""
    arguments = ["a fox", "--seed", "3", "--size", "32x32", "--cfg", "2", "-o", "fox.png"]
    assert run(["generate", *arguments, "--quiet"]) == 0


def _with_text(key: str, text: str) -> None:
    texts = PngInfo()
    texts.add_text(key, text)
    Image.new("RGB", (8, 8)).save("other.png", pnginfo=texts)


def _sidecar(**values: Any) -> str:
    Path("fox.png.json").write_text(json.dumps({"imagen": 1, "backend": "studio", **values}))
    return "fox.png.json"


_MOCK_FOX = [
    "backend: mock",
    "prompt: a fox",
    "width: 32",
    "height: 32",
    "seed: 3",
    "steps: 8",
    "count: 1",
    "receipt: cfg: 2.0 was dropped (the mock paints without a model)",
]


@pytest.mark.usefixtures("fox")
def test_show_reads_a_png(show: Callable[..., list[str]]) -> None:
    assert show("fox.png") == [*_MOCK_FOX, "model: mock", "index: 0"]


@pytest.mark.usefixtures("fox")
def test_show_reads_a_sidecar(show: Callable[..., list[str]]) -> None:
    lines = show("fox.png.json")
    assert lines[:8] == _MOCK_FOX
    assert "media_type: image/png" in lines


@pytest.mark.usefixtures("fox")
def test_show_json_has_the_whole_record(show: Callable[..., list[str]]) -> None:
    record = json.loads("\n".join(show("fox.png", "--json")))
    assert (record["source"], record["backend"]) == ("imagen", "mock")
    assert record["request"]["cfg"] == 2.0
    assert "cfg" not in record["resolved"]
    assert record["receipt"]["cfg"]["outcome"] == "dropped"
    assert (record["file"]["seed"], record["file"]["index"]) == (3, 0)


def test_show_reads_a_jpeg(show: Callable[..., list[str]]) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + _A1111.encode("utf-16-be")
    Image.new("RGB", (8, 8)).save("other.jpg", exif=exif)
    assert show("other.jpg")[0] == "prompt: a red fox, <lora:ink:0.5>"


def test_show_reads_images_of_other_tools(show: Callable[..., list[str]]) -> None:
    _with_text("parameters", _A1111)
    assert show("other.png") == [
        "prompt: a red fox, <lora:ink:0.5>",
        "negative: blur",
        "steps: 20",
        "sampler: Euler a",
        "cfg: 7.0",
        "seed: 42",
        "width: 64",
        "height: 48",
        "Model: dream",
    ]


def test_show_json_has_the_graph_of_a_comfyui_image(show: Callable[..., list[str]]) -> None:
    _with_text("prompt", json.dumps(_GRAPH))
    assert show("other.png") == ["seed: 7", "graph: 1 nodes; --json shows them"]
    assert json.loads("\n".join(show("other.png", "--json")))["graph"] == _GRAPH


def test_show_prints_the_settings_of_a_comfyui_graph(show: Callable[..., list[str]]) -> None:
    comfyui("graph.png", negative="blurry", steps=12)
    assert show("graph.png") == [
        "prompt: a glass fox",
        "negative: blurry",
        "width: 1024",
        "height: 1024",
        "seed: 99",
        "steps: 12",
        "cfg: 7.0",
        "sampler: dpmpp_2m",
        "scheduler: karras",
        "count: 1",
        "model: sd_xl_base_1.0.safetensors",
        "graph: 7 nodes; --json shows them",
    ]
    record = json.loads("\n".join(show("graph.png", "--json")))
    assert (record["resolved"]["prompt"], record["resolved"]["steps"]) == ("a glass fox", 12)
    assert record["facts"]["model"] == "sd_xl_base_1.0.safetensors"


def test_control_characters_of_metadata_are_removed(show: Callable[..., list[str]]) -> None:
    _with_text("parameters", "a \x1b[2Jfox\nSteps: 2, Seed: 1, Size: 8x8")
    assert show("other.png")[0] == "prompt: a [2Jfox"


@pytest.mark.parametrize(
    "fate",
    [
        pytest.param({"outcome": "dropped", "why": [1]}, id="a list for a reason"),
        pytest.param({"outcome": ["dropped"]}, id="a list for an outcome"),
        pytest.param({"outcome": "eaten"}, id="an unknown outcome"),
        pytest.param("dropped", id="a text"),
    ],
)
def test_invalid_outcomes_in_metadata_are_ignored(
    show: Callable[..., list[str]], fate: Any
) -> None:
    kept = {"outcome": "dropped", "why": "no model"}
    name = _sidecar(request={"cfg": 2, "steps": 4}, receipt={"steps": fate, "cfg": kept})
    lines = show(name)
    assert [x for x in lines if "receipt" in x] == ["receipt: cfg: 2 was dropped (no model)"]


def test_show_refuses_an_image_without_metadata(capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (8, 8)).save("plain.png")
    assert run(["show", "plain.png"]) == 5
    assert "plain.png does not say how it was made." in capsys.readouterr().err
    assert run(["show", "plain.png", "--json"]) == 5
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "output"


def test_show_refuses_a_sidecar_of_a_newer_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show", _sidecar(imagen=99)]) == 5
    assert "was written by a newer imagen" in capsys.readouterr().err


def test_show_names_the_input_images(show: Callable[..., list[str]]) -> None:
    Image.new("RGB", (64, 48)).save("lake.png")
    assert run(["outpaint", "lake.png", "a field", "--left", "16", "-q", "-o", "wide.png"]) == 0
    lines = show("wide.png.json")
    assert 'outpaint: {"left": 16, "top": 0, "right": 0, "bottom": 0}' in lines
    assert "made from lake.png (image, 64 × 48)" in lines


@pytest.mark.parametrize(
    "inputs",
    [[{"name": "a.png"}], [{}], {"a": 1}, ["a.png"], 5],
    ids=["half", "empty", "no list", "no mapping", "a number"],
)
def test_invalid_inputs_in_metadata_are_ignored(
    inputs: Any, show: Callable[..., list[str]]
) -> None:
    assert show(_sidecar(request={"prompt": "x"}, inputs=inputs)) == [
        "backend: studio",
        "prompt: x",
    ]

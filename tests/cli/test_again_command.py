"""imagen again, with the mock and with a simulated ComfyUI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from support.comfyui_tasks import write_workflow
from support.other_tools_images import A1111, comfyui, png

from imagen.cli import run
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Iterator

_SMALL = ("--size", "64x48", "--quiet")


def _again(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert run(["again", *arguments, "--quiet", "--json"]) == 0
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return printed


def _pixels(path: str) -> bytes:
    with Image.open(path) as image:
        return image.tobytes()


@pytest.fixture
def fox() -> None:
    assert run(["generate", "a fox", *_SMALL, "--seed", "5", "-o", "fox.png"]) == 0


@pytest.mark.usefixtures("fox")
@pytest.mark.parametrize("source", ["fox.png", "fox.png.json", "fox.jpg"])
def test_again_reproduces_the_pixels_of_an_image(
    source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("fox.jpg").write_bytes(Path("fox.png").read_bytes())  # without its sidecar
    assert run(["again", source, "--quiet", "-o", "new.png"]) == 0
    output = capsys.readouterr().err
    assert _pixels("new.png") == _pixels("fox.png")
    assert "No changes since then are known.\n" in output
    assert "Its pixels are identical.\n" in output


@pytest.mark.usefixtures("fox")
def test_again_json_describes_the_comparison(capsys: pytest.CaptureFixture[str]) -> None:
    found = _again(capsys, "fox.png", "-o", "new.png")
    assert found["again"] == {
        "source": "sidecar",
        "image": "fox.png",
        "batch": 1,
        "index": 0,
        "path": "new.png",
        "identical": "pixels",
        "difference": 0.0,
    }
    assert found["drift"] == []


@pytest.mark.usefixtures("fox")
def test_a_regenerated_image_is_regenerated_as_the_same_file(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _again(capsys, "fox.png", "-o", "second.png")
    found = _again(capsys, "second.png", "-o", "third.png")
    assert found["again"]["identical"] == "file"


@pytest.mark.usefixtures("fox")
def test_options_of_again_replace_the_recorded_values(capsys: pytest.CaptureFixture[str]) -> None:
    found = _again(capsys, "fox.png", "--seed", "6", "--prompt", "a wolf", "--set", "steps=3")
    used = found["generations"][0]["request"]
    assert (used["seed"], used["prompt"], used["steps"], used["width"]) == (6, "a wolf", 3, 64)
    assert (found["drift"], found["again"]["identical"]) == ([], None)


@pytest.mark.usefixtures("fox")
def test_again_dry_run_prints_drift_and_generates_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("imagen.yaml").write_text("backends: {studio: {type: mock, look: other}}")
    assert run(["again", "fox.png", "-b", "studio", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith(
        "drift: backend: mock then, studio now\nWould be sent to studio:\n"
    )
    found = _again(capsys, "fox.png", "-b", "studio", "--dry-run")
    assert found["drift"] == [
        {
            "what": "backend",
            "name": "backend",
            "then": "mock",
            "now": "studio",
            "why": "",
            "sentence": "backend: mock then, studio now",
        }
    ]
    assert not Path("outputs").exists()


def test_again_reports_a_changed_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    Path("imagen.yaml").write_text("backends: {studio: {type: mock}}")
    assert run(["generate", "a fox", "-b", "studio", *_SMALL, "-o", "fox.png"]) == 0
    Path("imagen.yaml").write_text("backends: {studio: {type: mock, look: other}}")
    found = _again(capsys, "fox.png")
    assert [one["sentence"] for one in found["drift"]] == ["look: nothing then, other now"]
    assert found["again"]["identical"] == "no"


def test_again_regenerates_only_one_image_of_a_batch_with_own_seeds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["generate", "x", *_SMALL, "--seed", "5", "--count", "3", "-o", "fox.png"]) == 0
    sidecar = json.loads(Path("fox-2.png.json").read_text())
    sidecar["resolved"] |= {"seed": 5, "count": 3}  # as where a batch has seeds that follow
    sidecar["index"] = 1
    Path("fox-2.png.json").write_text(json.dumps(sidecar))
    assert run(["again", "fox-2.png.json", "--quiet", "-o", "new.png"]) == 0
    output = capsys.readouterr().err
    assert (
        "This was image 2 of a batch of 3, each with its own seed: only this one is regenerated."
        in output
    )
    assert _pixels("new.png") == _pixels("fox-2.png")
    assert not Path("new-2.png").exists()


def test_again_regenerates_only_one_of_several_images(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "x", *_SMALL, "--seed", "5", "--count", "3", "-o", "fox.png"]) == 0
    found = _again(capsys, "fox-3.png")
    assert found["again"]["identical"] == "pixels"
    assert [(one["seed"], one["index"]) for one in found["images"]] == [(7, 0)]


@pytest.mark.usefixtures("fox")
def test_again_finds_the_record_of_a_stripped_image_in_the_library(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sidecar = json.loads(Path("fox.png.json").read_text())
    Path("fox.png").unlink()
    Path("fox.png.json").unlink()
    found = _again(capsys, sidecar["ticket"][:8], "-o", "new.png")
    assert (found["again"]["source"], found["again"]["image"]) == ("library", None)
    assert (found["generations"][0]["request"]["seed"], found["drift"]) == (5, [])


def test_again_locates_input_images_with_the_library(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["generate", "a den", *_SMALL, "-o", "dens/den.png"]) == 0
    assert run(["generate", "x", "--image", "dens/den.png", "-q", "-o", "out/fox.png"]) == 0
    Path("dens").rename("old")
    assert run(["again", "out/fox.png", "-q"]) == 2
    assert "image: there is no image 'den.png'" in capsys.readouterr().err
    assert run(["library", "add", "old"]) == 0
    found = _again(capsys, "out/fox.png", "-o", "new.png")
    assert found["again"]["identical"] == "pixels"


@pytest.mark.parametrize(
    ("block", "arguments", "message"),
    [
        (
            "{}",
            ["gone.png"],
            "Image 'gone.png' was not found in the library, and there is no such file.",
        ),
        ("{studoi: {type: mock}}", ["fox.png"], "Unknown backend 'studio'."),
        (
            "{studoi: {type: mock}}",
            ["fox.png"],
            "It generated fox.png. Choose another with --backend.",
        ),
        ("{studoi: {type: mock}}", ["fox.png"], "studoi"),
        ("{studio: {type: mock}}", ["fox.png", "--graph"], "The image has no graph"),
        ("{studio: {type: mock}}", ["comfy.png", "--graph", "-b", "studio"], "is not a ComfyUI"),
    ],
)
def test_again_refuses_what_it_cannot_regenerate(
    block: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("imagen.yaml").write_text("backends: {studio: {type: mock}}")
    assert run(["generate", "a fox", "-b", "studio", *_SMALL, "-o", "fox.png"]) == 0
    comfyui("comfy.png")
    Path("imagen.yaml").write_text(f"backends: {block}")
    assert run(["again", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("fox")
def test_again_says_that_the_original_image_was_not_found(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("fox.png").unlink()
    assert run(["again", "fox.png.json", "--quiet", "-o", "new.png"]) == 0
    output = capsys.readouterr().err
    assert output.endswith(
        "The original image was not found, so the new one was not compared with it.\n"
    )


def test_again_refuses_an_image_without_metadata(capsys: pytest.CaptureFixture[str]) -> None:
    png("plain.png")
    assert run(["again", "plain.png"]) == 5
    assert "plain.png does not say how it was generated" in capsys.readouterr().err


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param({"parameters": ""}, id="settings that say nothing"),
        pytest.param(
            {"prompt": '{"1": {"class_type": "KSampler", "inputs": {}}}'},
            id="an unreadable graph",
        ),
    ],
)
def test_again_refuses_metadata_without_request_fields(
    texts: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    png("dumb.png", **texts)
    assert run(["again", "dumb.png", "-q", "-o", "new.png"]) == 2
    output = capsys.readouterr().err
    assert output.startswith("imagen: dumb.png does not say what it shows.\n")
    assert "--prompt" in output
    assert not Path("new.png").exists()
    assert run(["again", "dumb.png", "--prompt", "a fox", "-q", "-o", "new.png"]) == 0


def test_again_regenerates_an_a1111_image(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = _again(capsys, str(png("cat.png", parameters=A1111)), "--size", "64x48")
    used = found["generations"][0]["request"]
    assert (used["prompt"], used["seed"], used["steps"]) == ("a cat, (masterpiece:1.2)", 1234, 20)
    assert [one["sentence"] for one in found["drift"]][-2:] == [
        "clip_skip: 2 then, which cannot be requested",
        "model: v1-5-pruned-emaonly then, mock now",
    ]


@pytest.fixture
def server() -> Iterator[ComfyUI]:
    with ComfyUI() as server:
        backend = {"type": "comfyui", "url": server.url, "workflow": "sdxl"}
        text = json.dumps({"default_backend": "studio", "backends": {"studio": backend}})
        Path("imagen.yaml").write_text(text)
        yield server


_FEW = ("--size", "64x64", "--steps", "2", "--quiet")


@pytest.mark.usefixtures("server")
def test_again_regenerates_a_latent_batch_as_a_batch(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["generate", "a fox", *_FEW, "--count", "3", "--latent-batch", "-o", "fox.png"]
    assert run(line) == 0
    assert run(["again", "fox-2.png", "--quiet", "-o", "new.png"]) == 0
    output = capsys.readouterr().err
    assert "This was image 2 of a batch of 3, generated together: all 3 are regenerated." in output
    assert "The image is new-2.png.\n" in output
    assert _pixels("new-2.png") == _pixels("fox-2.png")


@pytest.mark.usefixtures("server")
def test_again_reports_a_changed_workflow_and_server(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["generate", "a fox", *_FEW, "--seed", "5", "-o", "fox.png"]) == 0
    sidecar = json.loads(Path("fox.png.json").read_text())
    sidecar["graph"]["8"]["inputs"]["denoise"] = 0.5
    sidecar["facts"]["engine"]["server_version"] = "0.1"
    Path("fox.png.json").write_text(json.dumps(sidecar))
    found = _again(capsys, "fox.png", "--seed", "6")
    assert [one["sentence"] for one in found["drift"]] == [
        "node 8 (KSampler 'Sample'), denoise: 0.5 then, 1.0 now",
        "the server's version: 0.1 then, 0.9.2 now",
    ]


@pytest.mark.usefixtures("server")
def test_again_runs_a_recorded_workflow_that_needs_no_prompt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IMAGEN_WORKFLOWS", "shelf")
    size = {"width": 64, "height": 64, "batch_size": 1, "color": "$<seed>"}
    saved = {"images": ["1", 0], "filename_prefix": "blue"}
    write_workflow(
        "blue",
        {
            "1": {"class_type": "EmptyImage", "inputs": size},
            "9": {"class_type": "SaveImage", "inputs": saved},
        },
        {"parameters": {"seed": {"type": "int"}}},
    )
    line = ["generate", "--workflow", "blue", "--seed", "255", "--quiet", "-o", "blue.png"]
    assert run(line) == 0
    assert _again(capsys, "blue.png")["again"]["identical"] == "file"


def test_again_compares_a_text_with_the_new_text(capsys: pytest.CaptureFixture[str]) -> None:
    with ComfyUI(extra_outputs=True) as server:
        backend = {"type": "comfyui", "url": server.url, "workflow": "sdxl"}
        Path("imagen.yaml").write_text(json.dumps({"backends": {"studio": backend}}))
        assert run(["generate", "a fox", *_FEW, "-b", "studio", "-o", "out"]) == 0
        (text,) = Path("out").glob("*.txt")
        found = _again(capsys, str(text), "-o", "new")["again"]
    assert (Path(found["path"]).suffix, found["identical"]) == (".txt", "file")


def test_again_compares_with_the_image_of_the_same_output_node(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundled = Path(__file__).parents[2] / "workflows"
    graph = json.loads((bundled / "sd15.json").read_text(encoding="utf-8"))
    (save,) = (node for node in graph.values() if node["class_type"] == "SaveImage")
    scale = {"upscale_method": "area", "width": 32, "height": 32, "crop": "disabled"}
    scaled = {"class_type": "ImageScale", "inputs": {**scale, "image": save["inputs"]["images"]}}
    second = {"class_type": "SaveImage", "inputs": {**save["inputs"], "images": ["901", 0]}}
    Path("two.json").write_text(json.dumps({**graph, "901": scaled, "902": second}))
    Path("two.yaml").write_bytes((bundled / "sd15.yaml").read_bytes())
    with ComfyUI() as server:
        workflow = str(Path("two.json").resolve())
        backend = {"type": "comfyui", "url": server.url, "workflow": workflow}
        Path("imagen.yaml").write_text(json.dumps({"backends": {"studio": backend}}))
        assert run(["generate", "a fox", *_FEW, "-b", "studio", "-o", "out"]) == 0
        images = sorted(Path("out").glob("*.png"))
        found = [_again(capsys, str(path), "-o", "new")["again"] for path in images]
    assert [each["identical"] for each in found] == ["pixels", "pixels"]


@pytest.mark.usefixtures("server")
def test_a_model_chosen_by_option_is_not_reported_as_drift(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["generate", "a fox", *_FEW, "--seed", "5", "-o", "fox.png"]) == 0
    other = "v1-5-pruned-emaonly-fp16.safetensors"
    found = _again(capsys, "fox.png", "--set", f"checkpoint={other}")
    assert (found["generations"][0]["facts"]["model"], found["drift"]) == (other, [])


def test_again_graph_sends_the_stored_graph(
    server: ComfyUI, capsys: pytest.CaptureFixture[str]
) -> None:
    comfyui("fox.png", width=64, height=64, steps=3, sampler="heun", cfg=2.5)
    found = _again(capsys, "fox.png", "--graph", "--seed", "8")
    (job,) = server.prompts
    assert (
        job["prompt"]["8"]["inputs"] | {"seed": 8, "sampler_name": "heun", "cfg": 2.5}
        == (job["prompt"]["8"]["inputs"])
    )
    assert found["generations"][0]["request"]["prompt"] == "a glass fox"
    assert found["drift"] == []


_STOLEN = "private.png"


def _naming_a_file_of_this_computer(**values: Any) -> dict[str, Any]:
    """The metadata of someone else's image that names a file of this computer."""
    Image.new("RGB", (64, 64), "red").save(_STOLEN)
    request = {"prompt": "x", "image": str(Path(_STOLEN).absolute()), "strength": 0.5, **values}
    size = {"width": 64, "height": 64, "seed": 1, "steps": 1}
    return {"imagen": 1, "backend": "studio", "request": request, "resolved": request | size}


@pytest.mark.parametrize(
    "arguments", [["again"], ["again", "--graph"], ["generate", "--from-json"]]
)
def test_again_does_not_send_local_files_that_only_the_record_names(
    arguments: list[str], server: ComfyUI, capsys: pytest.CaptureFixture[str]
) -> None:
    record = _naming_a_file_of_this_computer()
    record["graph"] = {
        "1": {"class_type": "LoadImage", "inputs": {"image": record["request"]["image"]}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    Path("odd.png.json").write_text(json.dumps(record))
    assert run([*arguments, "odd.png.json", "--quiet"]) != 0
    if "--graph" not in arguments:
        assert "image: the record names the file" in capsys.readouterr().err
    assert [seen.path for seen in server.requests if "upload" in seen.path] == []
    assert server.prompts == []


def test_again_does_not_send_local_files_that_only_the_library_names(
    server: ComfyUI, capsys: pytest.CaptureFixture[str]
) -> None:
    record = _naming_a_file_of_this_computer()
    png("album/odd.png", imagen=json.dumps(record))
    assert run(["library", "add", "album"]) == 0
    capsys.readouterr()
    assert run(["history", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["images"]
    assert run(["again", entry["id"], "--quiet"]) == 2
    assert "image: the record names the file 'private.png'" in capsys.readouterr().err
    assert server.prompts == []

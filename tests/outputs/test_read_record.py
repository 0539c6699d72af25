"""Reading how an image was made from the image or its sidecar."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.output_samples import (
    GRAPH,
    NOW,
    comfy_png,
    encode_sample,
    sample_request,
    sample_result,
    sample_settings,
    sample_ticket,
)

from imagen.core.result import Output
from imagen.errors import OutputError
from imagen.outputs import ImageRecord, SavedImage, read_full_record, read_record, save_outputs
from imagen.outputs.metadata import png

PICTURE = Path("fox.png")


def _saved(data: bytes, media_type: str = "image/png", **options: Any) -> SavedImage:
    (saved,) = save_outputs(
        sample_result(Output(data=data, media_type=media_type)),
        sample_ticket(),
        sample_settings(Path("outputs"), **options),
        asked=sample_request(),
        now=NOW,
        rescue=Path("rescued"),
    )
    return saved


def _written(data: bytes, path: Path = PICTURE) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("data", "graph"),
    [
        pytest.param(comfy_png(), GRAPH, id="PNG"),
        pytest.param(encode_sample("JPEG"), {}, id="JPEG"),
        pytest.param(encode_sample("WEBP"), {}, id="WebP"),
    ],
)
def test_an_image_says_how_it_was_made(data: bytes, graph: dict[str, Any]) -> None:
    found = read_record(_saved(data, sidecar=False).path)
    assert found == ImageRecord(
        source="imagen",
        backend="flux-local",
        request={"prompt": "A red fox, asleep", "steps": 50},
        resolved={
            "prompt": "A red fox, asleep",
            "width": 48,
            "height": 32,
            "seed": 7,
            "steps": 10,
            "cfg": 1.0,
            "sampler": "euler",
        },
        receipt={
            "prompt": {"outcome": "applied"},
            "steps": {"outcome": "clamped", "used": 10, "why": "at most 10"},
        },
        facts={
            "model": "flux1-schnell.safetensors",
            "models": ["flux1-schnell.safetensors", "ae.safetensors"],
        },
        graph=graph,
        file={"seed": 7, "index": 0},
    )


def test_a_sidecar_says_more_than_the_image() -> None:
    saved = _saved(comfy_png())
    assert saved.sidecar is not None
    found = read_record(saved.sidecar)
    assert found.source == "sidecar"
    assert found.facts["latency_seconds"] == 3.25
    assert found.graph == GRAPH
    assert found.file == {
        "file": "2025-11-21-083005-a-red-fox-asleep-7.png",
        "sha256": saved.sha256,
        "media_type": "image/png",
        "created": "2025-11-21T08:30:05+00:00",
        "seed": 7,
        "index": 0,
        "ticket": "3c4ad4a2-9d0a-4a5c-8b60-5f6d5be54b63",
    }


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        pytest.param(b"\0\0\0 ftypisom", "video/mp4", id="a video"),
        pytest.param(b'{"a": 1}', "application/json", id="JSON"),
        pytest.param(b"", "text/plain", id="an empty text"),
    ],
)
def test_a_file_without_metadata_is_described_by_its_sidecar(data: bytes, media_type: str) -> None:
    assert read_record(_saved(data, media_type).path).source == "sidecar"


def test_an_image_with_a_very_long_name_has_no_sidecar(tmp_path: Path) -> None:
    path = tmp_path / f"{'x' * 250}.png"
    Image.new("RGB", (4, 4)).save(path)
    with pytest.raises(OutputError, match="does not say how it was made"):
        read_record(path)


def test_an_image_without_texts_is_described_by_its_sidecar() -> None:
    assert read_record(_saved(encode_sample("PNG"), metadata=False).path).source == "sidecar"


def test_parameters_of_other_tools_are_read() -> None:
    text = "a cat\nNegative prompt: blurry\nSteps: 20, Seed: 3, Size: 48x32, Model: sd15"
    found = read_record(_written(png.write_texts(comfy_png(), {"parameters": text})[0]))
    assert found == ImageRecord(
        source="parameters",
        resolved={
            "prompt": "a cat",
            "negative": "blurry",
            "steps": 20,
            "seed": 3,
            "width": 48,
            "height": 32,
        },
        facts={"Model": "sd15"},
        graph=GRAPH,
    )


def test_a_comfyui_graph_is_read() -> None:
    assert read_record(_written(comfy_png())) == ImageRecord(source="prompt", graph=GRAPH)


def test_a_comfyui_graph_in_a_webp_is_read() -> None:
    exif = Image.Exif()
    exif[0x0110] = "prompt:" + json.dumps(GRAPH)
    assert read_record(_written(encode_sample("WEBP", exif=exif))) == ImageRecord(
        source="prompt", graph=GRAPH
    )


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param("no JSON", id="no JSON"),
        pytest.param("[1, 2]", id="a list"),
        pytest.param('{"imagen": "yes"}', id="of another tool"),
        pytest.param("[" * 100_000, id="nested without end"),
        pytest.param('{"seed": ' + "9" * 5000 + "}", id="a number without end"),
    ],
)
def test_a_text_named_imagen_of_another_program_is_ignored(entry: str) -> None:
    texts = {"imagen": entry, "parameters": "a cat"}
    assert (
        read_record(_written(png.write_texts(encode_sample("PNG"), texts)[0])).source
        == "parameters"
    )


def test_read_full_record_prefers_the_sidecar() -> None:
    saved = _saved(comfy_png())
    found = read_full_record(saved.path)
    assert found is not None
    assert (found.source, found.facts["latency_seconds"]) == ("sidecar", 3.25)


def test_read_full_record_ignores_the_sidecar_of_another_image() -> None:
    saved = _saved(comfy_png())
    saved.path.write_bytes(png.write_texts(encode_sample("PNG"), {"parameters": "a cat"})[0])
    found = read_full_record(saved.path)
    assert found is not None
    assert (found.source, found.resolved) == ("parameters", {"prompt": "a cat"})


def test_read_full_record_is_none_without_metadata() -> None:
    assert read_full_record(_written(encode_sample("PNG"))) is None


def test_a_record_of_the_wrong_shape_is_read_as_far_as_possible() -> None:
    entry = '{"imagen": 1, "backend": 5, "request": [], "facts": "x", "seed": 1}'
    found = read_record(_written(png.write_texts(encode_sample("PNG"), {"imagen": entry})[0]))
    assert found == ImageRecord(source="imagen", backend="5", file={"seed": 1})


def test_a_record_of_a_newer_imagen_is_an_error() -> None:
    path = _written(png.write_texts(encode_sample("PNG"), {"imagen": '{"imagen": 2}'})[0])
    with pytest.raises(OutputError) as caught:
        read_record(path)
    assert str(caught.value) == (
        "fox.png was written by a newer imagen: its format is 2, and this one reads up to 1.\n"
        "Update imagen."
    )


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encode_sample("PNG"), id="a PNG"),
        pytest.param(encode_sample("JPEG"), id="a JPEG"),
        pytest.param(encode_sample("WEBP"), id="a WebP"),
        pytest.param(encode_sample("GIF"), id="a GIF"),
        pytest.param(b"just text", id="a text"),
        pytest.param(b'{"8": {"class_type": "KSampler"}}', id="other JSON"),
        pytest.param(b'{"imagen": 1', id="JSON cut short"),
        pytest.param(b"", id="an empty file"),
    ],
)
def test_reading_a_file_without_metadata_is_an_error(data: bytes) -> None:
    with pytest.raises(OutputError) as caught:
        read_record(_written(data))
    assert str(caught.value) == (
        "fox.png does not say how it was made.\n"
        "imagen show reads PNG, JPEG, WebP and AVIF images, and the JSON files beside them."
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(comfy_png()[:-20], "the PNG is cut short", id="a PNG"),
        pytest.param(encode_sample("JPEG")[:-20], "the JPEG is cut short", id="a JPEG"),
        pytest.param(encode_sample("WEBP")[:-20], "the WebP is cut short", id="a WebP"),
    ],
)
def test_reading_a_truncated_image_is_an_error(data: bytes, words: str) -> None:
    with pytest.raises(OutputError, match=f"fox.png cannot be read: {words}"):
        read_record(_written(data))


def test_a_missing_file_suggests_the_nearest_name() -> None:
    _written(comfy_png(), Path("red-fox.png"))
    with pytest.raises(OutputError) as caught:
        read_record(Path("red-fx.png"))
    assert caught.value.message == "There is no file red-fx.png. Did you mean 'red-fox.png'?"


def test_a_file_in_a_missing_folder_is_an_error() -> None:
    with pytest.raises(OutputError, match=r"There is no file nowhere.fox\.png\."):
        read_record(Path("nowhere/fox.png"))


def test_reading_a_folder_is_an_error() -> None:
    Path("folder").mkdir()
    with pytest.raises(OutputError, match=r"folder cannot be read: "):
        read_record(Path("folder"))

"""Paths and GPS data never leave this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from support.output_samples import encode_sample, load_bytes, pixels
from support.secrets_in_images import exif, find_encodings, png_chunk

from imagen import generate, load_settings
from imagen.core.request import Request
from imagen.outputs import metadata, redact_file, redact_record

if TYPE_CHECKING:
    from imagen.outputs import RedactionPolicy


def _comfy(path: str) -> bytes:
    texts = PngInfo()
    texts.add_text("workflow", json.dumps({"nodes": [{"widgets_values": [path, "a fox"]}]}))
    return encode_sample("PNG", pnginfo=texts)


def test_paths_are_removed_from_a_workflow_in_a_png() -> None:
    told = redact_file(_comfy("/home/ann/photos/fox.png"), "full")
    workflow = metadata.read_texts(told, ("workflow",))["workflow"]
    assert workflow == '{"nodes":[{"widgets_values":["fox.png","a fox"]}]}'


def _comfy_exif(format: str) -> bytes:
    """As ComfyUI's nodes save images other than PNG."""
    block = Image.Exif()
    block[0x0110] = 'prompt:{"1":{"inputs":{"video":"/home/ann/fox.mp4"}}}'
    block[0x010F] = 'workflow:{"nodes":[{"widgets_values":["/home/ann/fox.mp4"]}]}'
    return encode_sample(format, exif=block)


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF"])
def test_paths_are_removed_from_a_workflow_in_other_formats(format: str) -> None:
    whole = _comfy_exif(format)
    assert b"/home/ann" in whole
    told = redact_file(whole, "full")
    assert find_encodings(told, "/home/ann") == []
    assert pixels(told) == pixels(whole)


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF"])
def test_a_workflow_is_kept_without_paths(format: str) -> None:
    texts = {"imagen": '{"prompt":"a fox"}', "parameters": "a fox"}
    whole, _ = metadata.embed(_comfy_exif(format), texts)
    told = redact_file(whole, "full")
    assert metadata.read_texts(told, ("imagen", "parameters", "prompt", "workflow")) == {
        **texts,
        "prompt": '{"1":{"inputs":{"video":"fox.mp4"}}}',
        "workflow": '{"nodes":[{"widgets_values":["fox.mp4"]}]}',
    }
    assert find_encodings(told, "/home/ann") == []


def test_removing_paths_adds_no_parameters() -> None:
    told = redact_file(_comfy("/home/ann/fox.png"), "full")
    assert metadata.read_texts(told, ("parameters",)) == {}


@pytest.mark.parametrize("depth", [990, 5000])
def test_a_workflow_nested_too_deep_is_removed(depth: int) -> None:
    texts = PngInfo()
    texts.add_text("workflow", '{"a":' + "[" * depth + '"/home/ann/a.png"' + "]" * depth + "}")
    told = redact_file(encode_sample("PNG", pnginfo=texts), "full")
    assert metadata.read_texts(told, ("workflow",)) == {"workflow": "{}"}


def test_gps_is_removed_even_if_a_text_is_damaged() -> None:
    whole = encode_sample("PNG", exif=exif(place=True))
    damaged = png_chunk(b"zTXt", b"workflow\0\0no zlib")
    told = redact_file(whole[:-12] + damaged + whole[-12:], "full")
    assert (b"GPS!" in told, damaged in told) == (False, True)


@pytest.mark.parametrize("policy", ["full", "no_prompt", "none"])
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_gps_is_removed_from_every_format(format: str, policy: RedactionPolicy) -> None:
    whole = encode_sample(format, exif=exif(orientation=6, place=True))
    told = redact_file(whole, policy)
    assert load_bytes(whole).getexif().get_ifd(0x8825)[1] == "N"
    assert load_bytes(told).getexif().get_ifd(0x8825) == {}
    assert (b"GPS!" in told, b"2025:11:21" in told) == (False, False)
    assert load_bytes(told).getexif()[0x0112] == 6
    assert pixels(told) == pixels(whole)


_PLACED_XMP = b'<rdf:Description exif:GPSLatitude="48,51.4N"/>'


@pytest.mark.parametrize("policy", ["full", "no_prompt", "none"])
@pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF"])
def test_gps_is_removed_from_xmp(format: str, policy: RedactionPolicy) -> None:
    told = redact_file(encode_sample(format, xmp=_PLACED_XMP, exif=exif("zyxomma")), policy)
    assert b"GPSLatitude" not in told
    assert (b"zyxomma" in told) == (policy == "full")
    assert load_bytes(told).size == (48, 32)


def test_gps_is_removed_from_a_second_image_in_the_file() -> None:
    second = encode_sample("JPEG", exif=exif(place=True))
    assert redact_file(encode_sample("JPEG") + second, "full") == encode_sample("JPEG")


def test_generating_from_an_input_with_gps_gives_images_without_gps() -> None:
    Path("in.jpg").write_bytes(encode_sample("JPEG", exif=exif("zyxomma", place=True)))
    request = Request(prompt="a fox", image="in.jpg", strength=0.1)
    (made,) = generate(request, load_settings(), backend="mock")
    data = made.saved[0].path.read_bytes()
    assert load_bytes(data).getexif().get_ifd(0x8825) == {}
    assert (b"GPS" in data, b"zyxomma" in data) == (False, False)


def test_upscaling_an_input_with_gps_gives_an_image_without_gps() -> None:
    Path("in.jpg").write_bytes(
        encode_sample("JPEG", exif=exif("zyxomma", place=True), comment="zyxomma")
    )
    request = Request.of({"image": "in.jpg", "upscale": {"factor": 2, "method": "lanczos"}})
    (made,) = generate(request, load_settings(), backend="mock")
    data = made.saved[0].path.read_bytes()
    assert load_bytes(data).size == (96, 64)
    assert (b"GPS" in data, b"zyxomma" in data) == (False, False)


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"graph": {"1": {"image": "/srv/in/fox.png"}}}, {"graph": {"1": {"image": "fox.png"}}}),
        ({"graph": [r"C:\Users\ann\fox.png"]}, {"graph": ["fox.png"]}),
        ({"extra": {"a": "~/den/fox.png"}}, {"extra": {"a": "fox.png"}}),
        ({"extra": {"a": "file:///home/ann/fox.png"}}, {"extra": {"a": "fox.png"}}),
        ({"prompt": "/imagine/a/fox"}, {"prompt": "/imagine/a/fox"}),
        ({"model": "flux/schnell.gguf"}, {"model": "flux/schnell.gguf"}),
        (
            {"warnings": ["'/home/ann/fox.png' was cut; see https://example.org/a/b."]},
            {"warnings": ["'fox.png' was cut; see https://example.org/a/b."]},
        ),
    ],
)
def test_bare_name_gives_the_file_name(record: dict[str, Any], told: dict[str, Any]) -> None:
    assert redact_record(record, "full") == told

"""Conversion between formats: pixels, profile, orientation and texts."""

from __future__ import annotations

import json
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageCms, features
from PIL.PngImagePlugin import PngInfo
from support.output_samples import (
    GRAPH,
    TEXTS,
    comfy_png,
    encode_sample,
    load_bytes,
    pixels,
    sample_image,
    user_comment,
)
from support.secrets_in_images import exif, find_encodings, write_secret, xmp

from imagen.errors import OutputError
from imagen.outputs import metadata
from imagen.outputs.convert import convert_image

if TYPE_CHECKING:
    from imagen.outputs.metadata import Kind

KINDS: tuple[Kind, ...] = ("png", "jpeg", "webp", "avif")
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY = SRGB[:16] + b"GRAY" + SRGB[20:]


def _png(image: Image.Image, **options: object) -> bytes:
    data = BytesIO()
    image.save(data, "PNG", **options)
    return data.getvalue()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("before", KINDS)
def test_convert_keeps_every_text_between_all_formats(before: Kind, kind: Kind) -> None:
    texts = {**TEXTS, "prompt": json.dumps(GRAPH), "workflow": '{"nodes":["狐"]}'}
    source, _ = metadata.embed(convert_image(comfy_png(), before).data, texts)
    made = convert_image(source, kind)
    assert metadata.kind(made.data) == kind
    assert metadata.read_texts(made.data, (*texts,)) == texts
    assert made.remarks == ()


@pytest.mark.parametrize("kind", KINDS)
def test_convert_keeps_the_settings_of_other_programs(kind: Kind) -> None:
    info = PngInfo()
    info.add_text("invokeai_metadata", '{"positive_prompt": "a fox"}')
    made = convert_image(encode_sample("PNG", pnginfo=info), kind)
    assert metadata.read_texts(made.data) == {"invokeai_metadata": '{"positive_prompt": "a fox"}'}


@pytest.mark.parametrize("kind", ["jpeg", "webp", "avif"])
def test_convert_writes_comment_and_graph_where_other_programs_look(kind: Kind) -> None:
    source, _ = metadata.embed(comfy_png(), TEXTS)
    made = convert_image(source, kind).data
    assert user_comment(made) == b"UNICODE\0" + TEXTS["parameters"].encode("utf-16-be")
    assert load_bytes(made).getexif()[0x0110] == f"prompt:{json.dumps(GRAPH)}"


def test_convert_keeps_a_graph_too_large_for_exif() -> None:
    graph = json.dumps({"nodes": ["x" * 70_000]})
    source, _ = metadata.embed(comfy_png(), {**TEXTS, "workflow": graph})
    assert metadata.read_texts(convert_image(source, "jpeg").data, ("workflow",)) == {
        "workflow": graph
    }


def test_convert_to_webp_with_quality_100_is_lossless() -> None:
    noise = Image.merge("RGB", [Image.effect_noise((40, 30), 90) for _ in "rgb"])
    assert pixels(convert_image(_png(noise), "webp", 100).data) == noise.tobytes()


@pytest.mark.parametrize("kind", ["jpeg", "webp", "avif"])
def test_convert_with_lower_quality_gives_a_smaller_file(kind: Kind) -> None:
    source = _png(Image.effect_noise((64, 64), 90).convert("RGB"))
    assert len(convert_image(source, kind, 20).data) < len(convert_image(source, kind).data) * 0.7


@pytest.mark.parametrize("kind", KINDS)
def test_convert_keeps_profile_xmp_and_orientation(kind: Kind) -> None:
    block = exif("Ensign", orientation=6)
    source = encode_sample("JPEG", exif=block, xmp=xmp("a fox"), icc_profile=SRGB)
    made = load_bytes(convert_image(source, kind).data)
    assert made.info["icc_profile"] == SRGB
    assert made.getexif()[0x0112] == 6
    assert made.getexif()[0x010F] == "Ensign"
    assert b"a fox" in str(made.info.get("xmp") or made.info["XML:com.adobe.xmp"]).encode()


def test_convert_omits_a_grey_profile_in_a_colour_format() -> None:
    made = convert_image(_png(sample_image("L"), icc_profile=GREY), "webp")
    assert "icc_profile" not in load_bytes(made.data).info
    assert made.remarks == ("Its colour profile does not fit the colours of WebP.",)


@pytest.mark.parametrize("kind", KINDS)
def test_convert_without_metadata_keeps_only_the_orientation(kind: Kind) -> None:
    source = write_secret("jpeg", "zyxomma")
    made = convert_image(source, kind, keeps_metadata=False).data
    assert find_encodings(made, "zyxomma") == []
    turned = encode_sample("JPEG", exif=exif("zyxomma", orientation=6))
    after = load_bytes(convert_image(turned, kind, keeps_metadata=False).data)
    assert after.getexif()[0x0112] == 6


def test_convert_to_jpeg_replaces_transparency_with_white_and_says_so() -> None:
    clear = Image.new("RGBA", (16, 16), (200, 0, 0, 0))
    made = convert_image(_png(clear), "jpeg")
    assert load_bytes(made.data).getpixel((8, 8)) == (255, 255, 255)
    assert made.remarks == ("Transparent areas became white, since JPEG has no transparency.",)


def test_convert_does_not_mention_an_opaque_alpha_channel() -> None:
    assert convert_image(_png(sample_image("RGBA")), "jpeg").remarks == ()


@pytest.mark.parametrize("kind", ["png", "webp", "avif"])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_convert_keeps_transparency_if_the_format_has_it(mode: str, kind: Kind) -> None:
    clear = Image.new("RGBA", (16, 16), (200, 0, 0, 0)).convert(mode)
    source = BytesIO()
    clear.save(source, "WEBP" if mode != "P" else "GIF", lossless=True, transparency=0)
    made = load_bytes(convert_image(source.getvalue(), kind).data).convert("RGBA")
    assert made.getchannel("A").getextrema() == (0, 0)


@pytest.mark.parametrize("kind", ["png", "webp", "avif"])
def test_convert_keeps_a_transparent_shade_of_grey(kind: Kind) -> None:
    source = BytesIO()
    Image.new("L", (16, 16), 7).save(source, "PNG", transparency=7)
    made = load_bytes(convert_image(source.getvalue(), kind).data)
    assert made.convert("RGBA").getchannel("A").getextrema() == (0, 0)


def test_convert_reduces_16_bits_to_8_and_says_so() -> None:
    deep = Image.new("I;16", (16, 16), 0x8080)
    made = convert_image(_png(deep), "webp", 100)
    assert load_bytes(made.data).getpixel((0, 0)) == (128, 128, 128)
    assert made.remarks == ("Its 16 bits per channel became 8 in WebP.",)


def test_convert_to_png_keeps_16_bits_of_grey() -> None:
    source = BytesIO()
    Image.new("I;16", (16, 16), 0x8081).save(source, "TIFF")
    assert load_bytes(convert_image(source.getvalue(), "png").data).getpixel((0, 0)) == 0x8081


@pytest.mark.parametrize("kind", KINDS)
def test_convert_turns_cmyk_into_rgb(kind: Kind) -> None:
    made = load_bytes(convert_image(encode_sample("JPEG", mode="CMYK"), kind).data)
    assert made.mode == ("CMYK" if kind == "jpeg" else "RGB")


def test_convert_refuses_an_image_too_large_for_webp() -> None:
    with pytest.raises(OutputError, match="16384 × 1 pixels, but a side of WebP has at most 16383"):
        convert_image(_png(Image.new("L", (16384, 1))), "webp")


def test_convert_refuses_an_animation() -> None:
    with pytest.raises(OutputError, match="animation"):
        convert_image(write_secret("apng", "a fox"), "webp")


def test_convert_refuses_a_file_that_is_not_an_image() -> None:
    with pytest.raises(OutputError, match="It is not an image that imagen can read"):
        convert_image(b"<svg/>", "png")


def test_convert_refuses_a_damaged_image() -> None:
    with pytest.raises(OutputError, match="cannot be converted to WebP"):
        convert_image(encode_sample("JPEG")[:-200], "webp")


def test_convert_reports_a_missing_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda _: False)
    with pytest.raises(OutputError, match="The installed Pillow cannot write AVIF images"):
        convert_image(encode_sample("PNG"), "avif")

"""Texts in WebP files, read back by Pillow."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image
from support.output_samples import (
    TEXTS,
    encode_sample,
    load_bytes,
    pixels,
    sample_image,
    user_comment,
)

from imagen.errors import OutputError
from imagen.outputs.metadata import webp

TEXT = TEXTS["parameters"]


def _with_exif() -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "Ensign"
    return encode_sample("WEBP", exif=exif, xmp=b"<x/>", icc_profile=b"profile")


def _animated() -> bytes:
    second = sample_image().rotate(180)
    return encode_sample("WEBP", save_all=True, append_images=[second], duration=100)


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(encode_sample("WEBP"), id="lossy"),
        pytest.param(encode_sample("WEBP", lossless=True), id="lossless"),
        pytest.param(encode_sample("WEBP", mode="LA", lossless=True), id="lossless with alpha"),
        pytest.param(encode_sample("WEBP", mode="LA"), id="lossy with alpha"),
        pytest.param(_with_exif(), id="extended"),
        pytest.param(_animated(), id="animated"),
        pytest.param(encode_sample("WEBP") + b"trailing", id="with bytes behind its end"),
    ],
)
def test_pillow_reads_webp_texts_and_the_same_pixels(before: bytes) -> None:
    after, problem = webp.write_texts(before, TEXTS)
    assert problem == ""
    assert user_comment(after) == b"UNICODE\0" + TEXT.encode("utf-16-be")
    assert webp.read_texts(after) == TEXTS
    assert webp.size(after) == (48, 32)
    assert (load_bytes(after).mode, load_bytes(after).size) == (load_bytes(before).mode, (48, 32))
    assert pixels(after) == pixels(before)


def test_the_extended_webp_header_announces_transparency() -> None:
    clear = Image.new("RGBA", (48, 32), (10, 20, 30, 40))
    data = _lossless(clear)
    after, _ = webp.write_texts(data, TEXTS)
    assert data[12:16] == b"VP8L"
    assert after[12:16] == b"VP8X"
    assert after[20] == 0x18
    assert load_bytes(after).getpixel((0, 0)) == (10, 20, 30, 40)


def _lossless(image: Image.Image) -> bytes:
    from io import BytesIO

    data = BytesIO()
    image.save(data, "WEBP", lossless=True, exact=True)
    return data.getvalue()


def test_writing_texts_keeps_exif_and_other_chunks_of_a_webp() -> None:
    after, _ = webp.write_texts(_with_exif(), TEXTS)
    assert load_bytes(after).getexif()[0x010F] == "Ensign"
    assert load_bytes(after).info["xmp"] == b"<x/>"
    assert load_bytes(after).info["icc_profile"] == b"profile"


def test_writing_texts_keeps_every_frame_of_a_webp() -> None:
    after, _ = webp.write_texts(_animated(), TEXTS)
    assert getattr(load_bytes(after), "n_frames", 1) == 2


def test_texts_of_imagen_are_replaced() -> None:
    once, _ = webp.write_texts(encode_sample("WEBP"), {"imagen": "old", "parameters": "old"})
    again, _ = webp.write_texts(once, TEXTS)
    assert webp.read_texts(again) == TEXTS
    assert again.count(b"IMGN") == 1
    assert again.count(b"EXIF") == 1


def test_long_texts_fit_into_a_webp() -> None:
    texts = {"imagen": "雪" * 70_000, "parameters": "狐" * 70_000}
    data, problem = webp.write_texts(encode_sample("WEBP"), texts)
    assert problem == ""
    assert webp.read_texts(data) == texts


def test_comfyuis_texts_in_an_animated_webp_are_read() -> None:
    exif = Image.Exif()
    exif[0x0110] = 'prompt:{"8": {}}'
    exif[0x010F] = 'workflow:{"nodes": []}'
    data = encode_sample("WEBP", exif=exif)
    assert webp.read_texts(data) == {"prompt": '{"8": {}}', "workflow": '{"nodes": []}'}
    assert webp.read_texts(webp.write_texts(data, TEXTS)[0])["prompt"] == '{"8": {}}'


def test_damaged_exif_is_kept_as_it_is() -> None:
    before = encode_sample("WEBP", exif=b"garbage that is no TIFF")
    data, problem = webp.write_texts(before, TEXTS)
    assert problem == (
        "`parameters` was not written into the image: the EXIF block is damaged: it has no header."
    )
    assert b"garbage that is no TIFF" in data
    assert b"IMGN" in data


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="lossy"),
        pytest.param({"lossless": True}, id="lossless"),
        pytest.param({"exif": b"Exif\0\0MM\0*\0\0\0\0"}, id="extended"),
    ],
)
def test_the_size_of_a_webp_is_read_from_its_header(options: dict[str, Any]) -> None:
    assert webp.size(encode_sample("WEBP", **options)) == (48, 32)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(encode_sample("WEBP")[:-10], "cut short", id="cut in the pixels"),
        pytest.param(encode_sample("WEBP")[:12], "cut short", id="twelve bytes"),
        pytest.param(b"RIFF\x04\0\0\0WEBP", "no header", id="no chunk at all"),
        pytest.param(b"RIFF\x0c\0\0\0WEBPVP8 \xff\xff\xff\xff", "leads out", id="a chunk of 4 GB"),
        pytest.param(
            b"RIFF\x10\0\0\0WEBPVP8 \x04\0\0\0abcd", "no header", id="no start of an image"
        ),
        pytest.param(
            b"RIFF\x16\0\0\0WEBPVP8 \x0a\0\0\0abc\x9d\x01\x2a\0\0\0\0",
            "no header",
            id="an image of no size",
        ),
        pytest.param(
            b"RIFF\x10\0\0\0WEBPVP8X\x04\0\0\0abcd", "no header", id="an extended header in half"
        ),
    ],
)
def test_a_damaged_file_is_an_error(data: bytes, words: str) -> None:
    with pytest.raises(OutputError, match=words):
        webp.write_texts(data, TEXTS)


def test_texts_too_large_for_a_webp_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "imagen.outputs.metadata.webp._LARGEST_FILE", len(encode_sample("WEBP")) + 100
    )
    with pytest.raises(OutputError, match="a WebP cannot hold that much text"):
        webp.write_texts(encode_sample("WEBP"), {"imagen": "x" * 200, "parameters": ""})

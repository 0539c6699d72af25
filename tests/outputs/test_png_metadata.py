"""Texts in PNG files: written without decoding, and read with checks."""

from __future__ import annotations

import json
import zlib

import pytest
from PIL.PngImagePlugin import PngInfo
from support.output_samples import GRAPH, TEXTS, comfy_png, encode_sample, load_bytes, pixels

from imagen.errors import OutputError
from imagen.outputs.metadata import png

WANTED = ("imagen", "parameters", "prompt")
_HEADER_END = 33


def _chunk(kind: bytes, body: bytes) -> bytes:
    check = zlib.crc32(kind + body).to_bytes(4, "big")
    return len(body).to_bytes(4, "big") + kind + body + check


def _with_chunk(kind: bytes, body: bytes) -> bytes:
    data = encode_sample("PNG")
    return data[:_HEADER_END] + _chunk(kind, body) + data[_HEADER_END:]


def test_pillow_reads_png_texts() -> None:
    info = load_bytes(png.write_texts(comfy_png(), TEXTS)[0]).info
    assert info["imagen"] == '{"imagen":1}'
    assert info["parameters"] == "a fox\nSteps: 4, Seed: 7, Size: 48x32"


def test_writing_texts_keeps_comfyuis_graph() -> None:
    info = load_bytes(png.write_texts(comfy_png(), TEXTS)[0]).info
    assert json.loads(info["prompt"]) == GRAPH


def test_writing_texts_changes_nothing_else_in_a_png() -> None:
    before = comfy_png() + b"trailing"
    after = png.write_texts(before, TEXTS)[0]
    assert after.startswith(before[:_HEADER_END])
    assert after.endswith(before[_HEADER_END:])
    assert pixels(after) == pixels(before)


def test_png_texts_use_itxt_only_if_latin_1_is_not_enough() -> None:
    data = png.write_texts(encode_sample("PNG"), {"imagen": "Füchse", "parameters": "雪狐 🦊"})[0]
    assert data[_HEADER_END + 4 : _HEADER_END + 8] == b"tEXt"
    assert b"iTXtparameters\0" in data
    assert load_bytes(data).info["imagen"] == "Füchse"
    assert load_bytes(data).info["parameters"] == "雪狐 🦊"


def test_writing_texts_replaces_texts_of_the_same_names() -> None:
    once = png.write_texts(comfy_png(), {"imagen": "old", "parameters": "old 雪"})[0]
    assert png.write_texts(once, TEXTS)[0] == png.write_texts(comfy_png(), TEXTS)[0]


def test_a_prompt_of_100_kb_is_read_back() -> None:
    prompt = '🦊 "quoted"\n' * 8000
    data = png.write_texts(encode_sample("PNG"), {"parameters": prompt})[0]
    assert load_bytes(data).info["parameters"] == prompt
    assert png.read_texts(data, WANTED) == {"parameters": prompt}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        pytest.param(b"tEXt", b"prompt\0a f\xfcchs", id="tEXt"),
        pytest.param(b"zTXt", b"prompt\0\0" + zlib.compress(b"a f\xfcchs"), id="zTXt"),
        pytest.param(b"iTXt", b"prompt\0\0\0de\0x\0a f\xc3\xbcchs", id="iTXt"),
        pytest.param(
            b"iTXt", b"prompt\0\1\0\0\0" + zlib.compress(b"a f\xc3\xbcchs"), id="packed iTXt"
        ),
    ],
)
def test_every_kind_of_png_text_chunk_is_read(kind: bytes, body: bytes) -> None:
    assert png.read_texts(_with_chunk(kind, body), WANTED) == {"prompt": "a füchs"}


def test_png_texts_after_the_pixels_are_read() -> None:
    data = encode_sample("PNG")
    assert png.read_texts(data[:-12] + _chunk(b"tEXt", b"prompt\0x") + data[-12:], WANTED) == {
        "prompt": "x"
    }


def test_compressed_png_texts_are_read() -> None:
    texts = PngInfo()
    texts.add_text("parameters", "a fox", zip=True)
    assert png.read_texts(encode_sample("PNG", pnginfo=texts), WANTED) == {"parameters": "a fox"}


def test_the_first_of_two_png_texts_of_one_name_counts() -> None:
    once = _with_chunk(b"tEXt", b"prompt\0second")
    data = once[:_HEADER_END] + _chunk(b"tEXt", b"prompt\0first") + once[_HEADER_END:]
    assert png.read_texts(data, WANTED) == {"prompt": "first"}


def test_the_size_of_a_png_is_read_from_its_header() -> None:
    assert png.size(encode_sample("PNG")) == (48, 32)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(encode_sample("PNG")[:-20], "cut short", id="cut in the pixels"),
        pytest.param(encode_sample("PNG")[:-12], "cut short", id="without its end"),
        pytest.param(encode_sample("PNG")[:8], "cut short", id="the signature alone"),
        pytest.param(encode_sample("PNG")[:20], "cut short", id="cut in the header"),
        pytest.param(png.SIGNATURE + _chunk(b"IDAT", b"x"), "its header", id="no header"),
        pytest.param(
            encode_sample("PNG")[:_HEADER_END] + b"\xff\xff\xff\xfftEXtprompt\0x",
            "cut short",
            id="a length of 4 GB",
        ),
        pytest.param(
            _with_chunk(b"tEXt", b"prompt\0fox").replace(b"fox", b"cat"), "checksum", id="altered"
        ),
        pytest.param(_with_chunk(b"zTXt", b"prompt\0\0fox"), "decompressed", id="no deflate"),
        pytest.param(
            _with_chunk(b"zTXt", b"prompt\0\0" + zlib.compress(b"fox")[:-2]),
            "cut short",
            id="deflate cut short",
        ),
        pytest.param(
            _with_chunk(b"zTXt", b"prompt\0\0" + zlib.compress(b"0" * (17 * 2**20))),
            "larger than 16 MB",
            id="a bomb",
        ),
        pytest.param(
            _with_chunk(b"iTXt", b"prompt\0\1\0\0\0" + zlib.compress(b"0" * (17 * 2**20))),
            "larger than 16 MB",
            id="an international bomb",
        ),
        pytest.param(_with_chunk(b"iTXt", b"prompt\0\0\0en"), "no beginning", id="iTXt in half"),
        pytest.param(_with_chunk(b"iTXt", b"prompt\0"), "no beginning", id="iTXt of nothing"),
    ],
)
def test_a_damaged_file_is_an_error(data: bytes, words: str) -> None:
    with pytest.raises(OutputError, match=words):
        png.read_texts(data, WANTED)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"no null at all", id="no keyword"),
        pytest.param(b"k" * 200 + b"\0x", id="a keyword too long"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_a_png_text_without_a_keyword_is_kept(body: bytes) -> None:
    data = _with_chunk(b"tEXt", body)
    assert png.read_texts(data, WANTED) == {}
    assert _chunk(b"tEXt", body) in png.write_texts(data, TEXTS)[0]

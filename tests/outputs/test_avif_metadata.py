"""Texts in AVIF files: written, read back and removed."""

from __future__ import annotations

import pytest
from PIL import Image
from support.output_samples import TEXTS, encode_sample, load_bytes, pixels
from support.secrets_in_images import exif, xmp

from imagen.errors import OutputError
from imagen.outputs import metadata
from imagen.outputs.metadata import avif

PLAIN = encode_sample("AVIF")


def test_an_avif_is_recognized_by_its_first_bytes() -> None:
    assert metadata.kind(PLAIN[:16]) == "avif"
    assert metadata.size(PLAIN) == (48, 32)


def test_avif_texts_are_read_back_and_the_pixels_stay() -> None:
    after, problem = metadata.embed(PLAIN, TEXTS)
    assert problem == ""
    assert metadata.read_texts(after) == TEXTS
    assert pixels(after) == pixels(PLAIN)


def test_texts_of_imagen_are_replaced() -> None:
    once, _ = avif.write_texts(PLAIN, {"imagen": "old", "parameters": "old"})
    assert avif.write_texts(once, TEXTS) == avif.write_texts(PLAIN, TEXTS)


def test_texts_with_any_character_are_read_back() -> None:
    texts = {"imagen": '{"a": "🦊 狐 \\ud83d"}', "parameters": "a 🦊\n{}"}
    assert avif.read_texts(avif.write_texts(PLAIN, texts)[0]) == texts


def test_comments_and_graphs_of_other_programs_are_read() -> None:
    block = exif("a fox")
    block[0x0110] = 'prompt:{"1":{}}'
    block[0x010F] = 'workflow:{"nodes":[]}'
    assert avif.read_texts(encode_sample("AVIF", exif=block)) == {
        "parameters": "a fox",
        "prompt": '{"1":{}}',
        "workflow": '{"nodes":[]}',
    }


def test_the_last_box_of_an_avif_may_have_no_size() -> None:
    start = PLAIN.index(b"mdat") - 4
    endless = PLAIN[:start] + bytes(4) + PLAIN[start + 4 :]
    after, _ = avif.write_texts(endless, TEXTS)
    assert avif.read_texts(after) == TEXTS
    assert pixels(after) == pixels(PLAIN)


def test_strip_gps_keeps_the_camera() -> None:
    placed = encode_sample("AVIF", exif=exif("Ensign", place=True), xmp=xmp("GPS 48N"))
    after = avif.strip_gps(placed)
    assert load_bytes(after).getexif()[0x010F] == "Ensign"
    assert load_bytes(after).getexif().get_ifd(0x8825) == {}
    assert b"48N" not in after


def test_the_size_of_an_avif_is_not_that_of_a_tile() -> None:
    wide = Image.new("RGB", (300, 2))
    from io import BytesIO

    data = BytesIO()
    wide.save(data, "AVIF")
    assert avif.size(data.getvalue()) == (300, 2)


@pytest.mark.parametrize("at", [9, 40, 200, len(PLAIN) - 1])
def test_a_truncated_avif_is_an_error(at: int) -> None:
    with pytest.raises(OutputError, match="AVIF"):
        avif.read_texts(PLAIN[:at])


def test_a_truncated_avif_item_entry_is_an_error() -> None:
    entry = b"\0\0\0\x08infe"
    items = b"\0\0\0\x16iinf" + bytes(6) + entry
    data = b"\0\0\0\x10ftypavif" + bytes(4) + b"\0\0\0\x22meta" + bytes(4) + items
    with pytest.raises(OutputError, match="cut short"):
        avif.read_texts(data)


def test_stripping_an_animated_avif_is_an_error() -> None:
    second = load_bytes(PLAIN).rotate(180)
    moving = encode_sample("AVIF", save_all=True, append_images=[second], duration=99)
    with pytest.raises(OutputError, match="animation"):
        avif.strip_metadata(moving)

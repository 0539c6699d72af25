"""Texts in JPEG files, read back by Pillow."""

from __future__ import annotations

import pytest
from PIL import Image
from support.output_samples import TEXTS, encode_sample, load_bytes, pixels, user_comment

from imagen.errors import OutputError
from imagen.outputs.metadata import jpeg

TEXT = TEXTS["parameters"]


def _with_exif() -> bytes:
    """As a camera writes it: maker, orientation, exposure and a profile."""
    exif = Image.Exif()
    exif[0x010F] = "Ensign"
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0x829A] = 0.25
    exif.get_ifd(0x8825)[0x0001] = "N"
    return encode_sample("JPEG", exif=exif, icc_profile=b"profile", comment=b"a comment")


def test_pillow_reads_jpeg_parameters_as_a_user_comment() -> None:
    data, problem = jpeg.write_texts(encode_sample("JPEG"), TEXTS)
    assert user_comment(data) == b"UNICODE\0" + TEXT.encode("utf-16-be")
    assert problem == ""


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(encode_sample("JPEG"), id="plain"),
        pytest.param(encode_sample("JPEG", mode="CMYK"), id="without a JFIF header"),
        pytest.param(encode_sample("JPEG", progressive=True), id="progressive"),
        pytest.param(_with_exif(), id="with EXIF"),
        pytest.param(encode_sample("JPEG") + b"trailing", id="with bytes behind its end"),
    ],
)
def test_writing_texts_keeps_the_pixels_of_a_jpeg(before: bytes) -> None:
    after, _ = jpeg.write_texts(before, TEXTS)
    scan = before.index(b"\xff\xda")
    assert after.endswith(before[scan:])
    assert pixels(after) == pixels(before)
    assert jpeg.read_texts(after) == TEXTS


def test_the_jfif_header_of_a_jpeg_stays_first() -> None:
    before = encode_sample("JPEG")
    after, _ = jpeg.write_texts(before, TEXTS)
    assert after[:20] == before[:20]


def test_writing_texts_keeps_existing_exif() -> None:
    after, _ = jpeg.write_texts(_with_exif(), TEXTS)
    exif = load_bytes(after).getexif()
    assert exif[0x010F] == "Ensign"
    assert exif[0x0112] == 6
    assert exif.get_ifd(0x8769)[0x829A] == 0.25
    assert exif.get_ifd(0x8825)[0x0001] == "N"
    assert load_bytes(after).info["icc_profile"] == b"profile"
    assert load_bytes(after).info["comment"] == b"a comment"
    assert user_comment(after) == b"UNICODE\0" + TEXT.encode("utf-16-be")


def test_texts_of_imagen_are_replaced() -> None:
    once, _ = jpeg.write_texts(encode_sample("JPEG"), {"imagen": "old", "parameters": "old"})
    again, _ = jpeg.write_texts(once, TEXTS)
    assert jpeg.read_texts(again) == TEXTS
    assert again.count(b"imagen\0") == 1


def test_a_record_of_200_kb_uses_several_segments() -> None:
    texts = {"imagen": "雪" * 70_000, "parameters": "a fox"}
    data, problem = jpeg.write_texts(encode_sample("JPEG"), texts)
    assert problem == ""
    assert data.count(b"imagen\0") == 4
    assert jpeg.read_texts(data) == texts
    assert pixels(data) == pixels(encode_sample("JPEG"))


def test_parameters_too_long_for_a_jpeg_give_a_warning() -> None:
    data, problem = jpeg.write_texts(_with_exif(), {"imagen": "{}", "parameters": "x" * 40_000})
    assert problem.startswith(
        "`parameters` was not written into the image: a JPEG holds at most 64 kB"
    )
    assert jpeg.read_texts(data) == {"imagen": "{}"}
    assert load_bytes(data).getexif()[0x010F] == "Ensign"


def test_damaged_exif_is_kept_as_it_is() -> None:
    before = encode_sample("JPEG", exif=b"Exif\0\0garbage that is no TIFF")
    data, problem = jpeg.write_texts(before, TEXTS)
    assert problem == (
        "`parameters` was not written into the image: the EXIF block is damaged: it has no header."
    )
    assert b"Exif\0\0garbage that is no TIFF" in data


def test_a_record_of_17_mb_is_refused() -> None:
    with pytest.raises(OutputError, match="cannot hold that much"):
        jpeg.write_texts(encode_sample("JPEG"), {"imagen": "x" * (17 * 2**20), "parameters": ""})


def test_padded_jpeg_markers_are_read() -> None:
    data = encode_sample("JPEG")
    assert jpeg.size(data[:2] + b"\xff\xff" + data[2:]) == (48, 32)


def test_the_size_of_a_jpeg_is_read_from_its_frame() -> None:
    assert jpeg.size(encode_sample("JPEG", progressive=True)) == (48, 32)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(encode_sample("JPEG")[:-50], "cut short", id="cut in the pixels"),
        pytest.param(encode_sample("JPEG")[:100], "cut short", id="cut in the headers"),
        pytest.param(b"\xff\xd8\xff", "cut short", id="three bytes"),
        pytest.param(b"\xff\xd8\xff\xe0\xff\xff12", "cut short", id="a length too large"),
        pytest.param(b"\xff\xd8\xff\xe0\x00\x00\xff\xe0", "damaged", id="a length of nothing"),
        pytest.param(b"\xff\xd8\xff\xe0\x00\x02no marker", "damaged", id="no marker"),
    ],
)
def test_a_damaged_file_is_an_error(data: bytes, words: str) -> None:
    with pytest.raises(OutputError, match=words):
        jpeg.read_texts(data)


def test_a_jpeg_without_a_frame_has_no_size() -> None:
    with pytest.raises(OutputError, match="no frame"):
        jpeg.size(b"\xff\xd8\xff\xda\x00\x02\xff\xd9")

"""The user comment of an EXIF block."""

from __future__ import annotations

import struct

import pytest
from PIL import Image

from imagen.errors import OutputError
from imagen.outputs.metadata import exif


def _little_endian() -> bytes:
    """A block with a maker and two directories, the second of a thumbnail."""
    main = struct.pack("<HHHIII", 1, 0x010F, 2, 7, 50, 26)
    thumbnail = struct.pack("<HHHIHHI", 1, 0x0103, 3, 1, 6, 0, 0)
    return b"II*\0" + struct.pack("<I", 8) + main + thumbnail + b"\0" * 6 + b"Ensign\0"


def _with_raw_comment(comment: bytes) -> bytes:
    block = Image.Exif()
    block.get_ifd(0x8769)[0x9286] = comment
    return block.tobytes().removeprefix(b"Exif\0\0")


def _pillow(tiff: bytes) -> Image.Exif:
    block = Image.Exif()
    block.load(b"Exif\0\0" + tiff)
    return block


def test_pillow_reads_a_new_exif_block() -> None:
    block = _pillow(exif.write_comment(b"", "雪 🦊"))
    assert block.get_ifd(0x8769) == {
        0x9000: b"0232",
        0x9286: b"UNICODE\0" + "雪 🦊".encode("utf-16-be"),
    }


def test_write_comment_moves_no_existing_data() -> None:
    before = _little_endian()
    after = exif.write_comment(before, "a fox")
    assert after[8 : len(before)] == before[8:]
    assert _pillow(after)[0x010F] == "Ensign"
    assert exif.read_texts(after) == {"parameters": "a fox"}


def test_write_comment_keeps_the_thumbnail_directory() -> None:
    main = struct.unpack_from("<I", exif.write_comment(_little_endian(), "a fox"), 4)[0]
    after = exif.write_comment(_little_endian(), "a fox")
    (count,) = struct.unpack_from("<H", after, main)
    assert struct.unpack_from("<I", after, main + 2 + count * 12)[0] == 26


def test_write_comment_replaces_a_comment() -> None:
    once = exif.write_comment(b"", "old")
    assert exif.read_texts(exif.write_comment(once, "new")) == {"parameters": "new"}


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"UNICODE\0" + "Füchse: 4".encode("utf-16-be"), id="UTF-16, big end first"),
        pytest.param(b"UNICODE\0" + "Füchse: 4".encode("utf-16-le"), id="UTF-16, little end first"),
        pytest.param(b"UNICODE\0" + "Füchse: 4".encode("utf-16"), id="UTF-16 with a mark"),
        pytest.param(b"ASCII\0\0\0" + "Füchse: 4".encode(), id="ASCII that is UTF-8"),
        pytest.param(b"\0" * 8 + "Füchse: 4".encode(), id="undefined"),
        pytest.param("Füchse: 4".encode() + b"\0\0", id="no encoding"),
    ],
)
def test_comments_are_read_in_every_common_encoding(raw: bytes) -> None:
    assert exif.read_texts(_with_raw_comment(raw)) == {"parameters": "Füchse: 4"}


@pytest.mark.parametrize(
    "tiff",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"MM\0*\0\0", id="half a header"),
        pytest.param(b"XX\0*\0\0\0\x08", id="no byte order"),
        pytest.param(b"MM\0*\xff\xff\xff\xff", id="a directory far out"),
        pytest.param(b"MM\0*\0\0\0\x08\xff\xff" + b"\0" * 40, id="65535 entries"),
    ],
)
def test_a_damaged_exif_block_is_an_error(tiff: bytes) -> None:
    with pytest.raises(OutputError, match="the EXIF block is damaged"):
        exif.read_texts(tiff)


def test_a_comment_with_a_wrong_length_ends_with_the_file() -> None:
    block = exif.write_comment(b"", "a fox")
    lying = block.replace(struct.pack(">I", 18), struct.pack(">I", 2**31))
    assert exif.read_texts(lying)["parameters"].startswith("a fox")


def test_a_full_exif_block_is_an_error() -> None:
    tags = sorted(set(range(0x10000)) - {0x8769})
    entries = b"".join(struct.pack(">HHII", tag, 1, 1, 0) for tag in tags)
    block = b"MM\0*" + struct.pack(">IH", 8, len(tags)) + entries + b"\0" * 4
    with pytest.raises(OutputError, match="the EXIF block is full"):
        exif.write_comment(block, "a fox")

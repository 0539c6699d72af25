"""Which characters a font has, and which face is taken for them."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from PIL import ImageFont

from imagen.comparison.coverage import NONE, read
from imagen.comparison.faces import FontSet

if TYPE_CHECKING:
    from pathlib import Path


def _font(subtable: bytes, *, platform: int = 3, encoding: int = 1) -> bytes:
    """A font file that holds nothing but a `cmap` table with one subtable."""
    cmap = struct.pack(">HHHHI", 0, 1, platform, encoding, 12) + subtable
    start = 12 + 16
    directory = struct.pack(">4sIII", b"cmap", 0, start, len(cmap))
    return b"\x00\x01\x00\x00" + struct.pack(">HHHH", 1, 0, 0, 0) + directory + cmap


def _segments() -> bytes:
    """Format 4: `A` to `C` by a delta, `a` and `c` but not `b` by an array."""
    head = struct.pack(">HHHHHHH", 4, 0, 0, 6, 0, 0, 0)
    ends = struct.pack(">HHHH", 67, 99, 0xFFFF, 0)
    starts = struct.pack(">HHH", 65, 97, 0xFFFF)
    deltas = struct.pack(">HHH", 0, 0, 1)
    offsets = struct.pack(">HHH", 0, 4, 0)
    return head + ends + starts + deltas + offsets + struct.pack(">HHH", 7, 0, 9)


def _has(font: bytes, characters: str) -> list[bool]:
    coverage = read(BytesIO(font))
    return [coverage.has(character) for character in characters]


def test_segments_are_read_with_their_arrays_of_glyphs() -> None:
    assert _has(_font(_segments()), "@ACDabcd") == [
        *(False, True, True, False),
        *(True, False, True, False),
    ]


def test_groups_of_all_of_unicode_are_read() -> None:
    groups = struct.pack(">HHIII", 12, 0, 28, 0, 1) + struct.pack(">III", 0x1F98A, 0x1F98C, 5)
    assert _has(_font(groups, encoding=10), "🦉🦊🦌🦍") == [False, True, True, False]


def test_a_trimmed_array_is_read() -> None:
    array = struct.pack(">HHHHH", 6, 0, 0, 65, 3) + struct.pack(">HHH", 1, 0, 2)
    assert _has(_font(array), "ABCD") == [True, False, True, False]


def test_the_first_font_of_a_collection_is_read() -> None:
    font = _font(struct.pack(">HHHHHH", 6, 0, 0, 65, 1, 3))
    moved = font[:12] + struct.pack(">4sIII", b"cmap", 0, 28 + 16, len(font) - 28) + font[28:]
    head = b"ttcf" + struct.pack(">HHII", 1, 0, 1, 16)
    assert _has(head + moved, "AB") == [True, False]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no font", id="nonsense"),
        pytest.param(b"\x00\x01\x00\x00\x00\x09", id="cut in the directory"),
        pytest.param(_font(_segments())[:60], id="cut in the table"),
        pytest.param(_font(struct.pack(">HHIII", 13, 0, 28, 0, 0)), id="a sign for everything"),
    ],
)
def test_what_is_no_font_covers_nothing(data: bytes) -> None:
    assert read(BytesIO(data)) == NONE


def test_the_face_of_pillow_has_english() -> None:
    faces = FontSet((), shaping=False)
    assert faces.covering("A") is faces.own


def test_a_character_that_nobody_has_has_no_face(tmp_path: Path) -> None:
    assert FontSet((tmp_path, tmp_path / "gone"), shaping=False).covering("中") is None


def test_a_font_of_the_system_is_taken_for_what_pillow_s_lacks(tmp_path: Path) -> None:
    font = ImageFont.load_default(20)
    assert isinstance(font, ImageFont.FreeTypeFont)
    assert isinstance(font.path, BytesIO)
    data = font.path.getvalue()
    # Its own `cmap` gives way to one that has a single Chinese character.
    at = data.index(b"cmap", 12)
    cmap = struct.pack(">HHHHI", 0, 1, 3, 1, 12) + struct.pack(">6H", 6, 12, 0, 0x4E2D, 1, 3)
    entry = struct.pack(">4sIII", b"cmap", 0, len(data), len(cmap))
    (tmp_path / "Chinese.ttf").write_bytes(data[:at] + entry + data[at + 16 :] + cmap)
    (tmp_path / "Aaa-broken.ttf").write_bytes(_font(struct.pack(">6H", 6, 12, 0, 0x4E2D, 1, 3)))
    faces = FontSet((tmp_path,), shaping=False)
    face = faces.covering("中")
    assert face is not None
    assert face is not faces.own
    assert face.at(14).getlength("中") > 0

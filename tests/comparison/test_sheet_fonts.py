"""Which font a contact sheet uses for a character."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.ttLib import TTCollection, TTFont
from fontTools.ttLib.tables._g_l_y_f import Glyph

from imagen.comparison.sheet.fonts import FontSet

if TYPE_CHECKING:
    from pathlib import Path


def _build_font(path: Path, characters: str) -> Path:
    """A font with an empty glyph for each of these characters."""
    builder = FontBuilder(1000, isTTF=True)
    names = {ord(character): f"u{ord(character):X}" for character in characters}
    order = [".notdef", *names.values()]
    builder.setupGlyphOrder(order)
    builder.setupCharacterMap(names)
    builder.setupGlyf({name: Glyph() for name in order})
    builder.setupHorizontalMetrics(dict.fromkeys(order, (600, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Test", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return path


def _has(folder: Path, characters: str) -> list[bool]:
    """For each character, whether a font in the folder has it."""
    fonts = FontSet((folder,), shaping=False)
    return [fonts.find(character) is not None for character in characters]


def test_the_font_of_pillow_is_used_for_english() -> None:
    fonts = FontSet((), shaping=False)
    assert fonts.find("A") is fonts.own


def test_the_font_of_pillow_has_the_characters_that_are_listed() -> None:
    fonts = FontSet((), shaping=False)
    missing = fonts.own.at(20).getmask("\ufffe").getbbox()
    listed = [c for c in map(chr, range(0x21, 0x2123)) if fonts.own.has(c)]
    assert len(listed) > 100
    assert [c for c in listed if fonts.own.at(20).getmask(c).getbbox() in (None, missing)] == []


def test_a_character_without_a_font_is_not_found(tmp_path: Path) -> None:
    assert FontSet((tmp_path, tmp_path / "gone"), shaping=False).find("中") is None


def test_a_system_font_is_used_for_other_characters(tmp_path: Path) -> None:
    _build_font(tmp_path / "Chinese.ttf", "中🦊")
    fonts = FontSet((tmp_path,), shaping=False)
    font = fonts.find("中")
    assert font is not None
    assert font is not fonts.own
    assert font.at(14).getlength("中") > 0
    assert _has(tmp_path, "中🦊文") == [True, True, False]


def test_the_first_font_of_a_collection_is_used(tmp_path: Path) -> None:
    collection = TTCollection()
    for n, characters in enumerate(("中", "文")):
        collection.fonts.append(TTFont(_build_font(tmp_path / f"{n}", characters)))
    collection.save(tmp_path / "Both.ttc")
    assert _has(tmp_path, "中文") == [True, False]


def test_a_placeholder_font_is_not_used(tmp_path: Path) -> None:
    _build_font(tmp_path / "LastResort.ttf", "中")
    assert _has(tmp_path, "中") == [False]


@pytest.mark.parametrize("size", [0, 4, 12, 60, 200, 500], ids=lambda size: f"{size} bytes")
def test_a_broken_font_is_ignored(size: int, tmp_path: Path) -> None:
    whole = _build_font(tmp_path / "whole", "中").read_bytes()
    (tmp_path / "Broken.ttf").write_bytes(whole[:size])
    (tmp_path / "Text.ttf").write_bytes(b"this is not a font")
    assert _has(tmp_path, "中") == [False]

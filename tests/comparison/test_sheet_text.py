"""Text in any script: line breaks, missing characters and direction."""

from __future__ import annotations

import pytest

from imagen.comparison.sheet.fonts import FontSet
from imagen.comparison.sheet.text import (
    EMPTY,
    TextMeasure,
    clusters,
    drawn_text,
    fit_text,
    is_rtl,
    line_height,
    show_control_characters,
    split_pieces,
)

_FONTS = FontSet((), shaping=False)
_HEBREW = "\u05d0\u05d1\u05d2"


def _lines(text: str, width: int = 100, height: int = 400) -> list[str]:
    block = fit_text(text, _FONTS, width=width, height=height, sizes=[20], elsewhere="see there")
    return list(block.lines)


def test_lines_break_between_words() -> None:
    assert _lines("the quick brown fox") == ["the quick", "brown fox"]


def test_a_word_wider_than_a_line_breaks_within() -> None:
    assert "".join(_lines("x" * 40)) == "x" * 40


def test_no_line_is_wider_than_the_width() -> None:
    measure = TextMeasure(_FONTS, 20)
    widths = [measure.width(line) for line in _lines("a quick fox and w" + "w" * 30 + " jumps")]
    assert max(widths) <= 100


def test_line_breaks_in_the_text_are_kept() -> None:
    assert _lines("one\n\ntwo\r\nthree") == ["one", "", "two", "three"]


def test_chinese_breaks_between_any_two_characters() -> None:
    measure = TextMeasure(_FONTS, 20)
    assert len(measure.first_lines("中" * 10, measure.width("中中中"), 99)) == 4


def test_text_gets_the_largest_size_that_fits() -> None:
    block = fit_text("a fox", _FONTS, width=300, height=40, sizes=[40, 26, 12], elsewhere="")
    assert block.size == 26
    assert block.height == line_height(26)


def test_a_shortened_text_says_where_the_whole_text_is() -> None:
    text = "begin " + "word " * 2000 + "the end"
    shown = " ".join(_lines(text, width=300, height=200))
    assert shown.startswith("begin word")
    assert shown.endswith("the end")
    assert "characters left out; see there …]" in shown


def test_a_shortened_text_counts_the_missing_characters() -> None:
    shown = " ".join(_lines("x" * 5000, width=300, height=200))
    left_out = int(shown.split("[… ")[1].split(" ")[0].replace(",", ""))
    assert shown.count("x") - "characters left out; see there".count("x") + left_out == 5000


def test_an_empty_text_has_no_lines() -> None:
    assert fit_text("\n\n", _FONTS, width=100, height=100, sizes=[20], elsewhere="") == EMPTY


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("a\x07b\x1b[31m", "a\\x07b\\x1b[31m", id="control"),
        pytest.param("a\u202eb", "a\\u202eb", id="an overriding direction"),
        pytest.param("\ud800", "\\ud800", id="half a character"),
        pytest.param("\U000e0041", "\\Ue0041", id="a tag"),
        pytest.param("a\tb", "a    b", id="tab"),
        pytest.param("e\u0301", "é", id="an accent apart"),
        pytest.param("👩\u200d👧", "👩\u200d👧", id="a joiner stays"),
    ],
)
def test_control_characters_are_shown_as_escapes(text: str, shown: str) -> None:
    assert show_control_characters(text) == shown


def test_marks_and_joined_characters_stay_together() -> None:
    assert list(clusters("a\u0323b👩\u200d👧👍🏽")) == ["a\u0323", "b", "👩\u200d👧", "👍🏽"]


@pytest.mark.parametrize(
    ("text", "rtl"),
    [
        pytest.param("a fox", False, id="English"),
        pytest.param(_HEBREW, True, id="Hebrew"),
        pytest.param(f"12 ({_HEBREW}) fox", True, id="numbers first"),
        pytest.param("12 !", False, id="no letters"),
        pytest.param("", False, id="nothing"),
    ],
)
def test_the_first_letter_determines_the_direction_of_a_line(text: str, rtl: bool) -> None:
    assert is_rtl(text) is rtl


def test_a_hebrew_word_in_english_is_reversed_in_its_place() -> None:
    found = split_pieces(f"a {_HEBREW} b", _FONTS, rtl=False)
    assert [(piece.text, piece.rtl) for piece in found] == [
        ("a ", False),
        ("\u05d2", True),
        ("\u05d1", True),
        ("\u05d0", True),
        (" b", False),
    ]


def test_an_english_word_in_hebrew_is_left_of_the_text_before_it() -> None:
    found = split_pieces(f"{_HEBREW} fox", _FONTS, rtl=True)
    assert found[0].text == "fox"
    assert found[-1].text == "\u05d0"


def test_a_character_without_a_font_is_a_piece_of_its_own() -> None:
    found = split_pieces("a中b", _FONTS, rtl=False)
    assert [(piece.text, piece.font is None) for piece in found] == [
        ("a", False),
        ("中", True),
        ("b", False),
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param(f"{_HEBREW} 12", "12 גבא", id="a number after Hebrew"),
        pytest.param(f"{_HEBREW} 1.25 x", "x 1.25 גבא", id="a decimal number"),
        pytest.param(f"12 {_HEBREW}", "גבא 12", id="a number before Hebrew"),
        pytest.param(f"{_HEBREW} ({_HEBREW})", "(גבא) גבא", id="brackets"),
    ],
)
def test_numbers_and_brackets_in_hebrew_are_readable(text: str, shown: str) -> None:
    pieces = split_pieces(text, _FONTS, rtl=True)
    assert "".join(drawn_text(piece, _FONTS)[0] for piece in pieces) == shown


def test_a_number_in_hebrew_in_english_is_not_reversed() -> None:
    pieces = split_pieces(f"fox {_HEBREW} 12 red", _FONTS, rtl=False)
    assert "".join(drawn_text(piece, _FONTS)[0] for piece in pieces) == "fox 12 גבא red"

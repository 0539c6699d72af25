"""Lines of any script: where they break, what is shown for what can't be, which way they run."""

from __future__ import annotations

import pytest

from imagen.comparison.faces import FontSet
from imagen.comparison.typesetting import (
    EMPTY,
    Measure,
    base_is_rtl,
    clusters,
    fit,
    line_height,
    show_control_characters,
    split_pieces,
)

_FACES = FontSet((), shaping=False)
_HEBREW = "\u05d0\u05d1\u05d2"


def _lines(text: str, width: int = 100, height: int = 400) -> list[str]:
    block = fit(text, _FACES, width=width, height=height, sizes=[20], elsewhere="see elsewhere")
    return list(block.lines)


def test_lines_break_between_words() -> None:
    assert _lines("the quick brown fox") == ["the quick", "brown fox"]


def test_a_word_wider_than_a_line_breaks_within() -> None:
    assert "".join(_lines("x" * 40)) == "x" * 40


def test_no_line_is_wider_than_asked() -> None:
    measure = Measure(_FACES, 20)
    widths = [measure.of(line) for line in _lines("a quick fox and w" + "w" * 30 + " jumps")]
    assert max(widths) <= 100


def test_the_lines_of_the_text_stay_lines() -> None:
    assert _lines("one\n\ntwo\r\nthree") == ["one", "", "two", "three"]


def test_chinese_breaks_between_any_two_characters() -> None:
    measure = Measure(_FACES, 20)
    assert len(measure.first_lines("中" * 10, measure.of("中中中"), 99)) == 4


def test_the_largest_size_that_fits_is_taken() -> None:
    block = fit("a fox", _FACES, width=300, height=40, sizes=[40, 26, 12], elsewhere="")
    assert block.size == 26
    assert block.height == line_height(26)


def test_a_text_too_long_says_how_much_is_left_out_and_where_it_stands() -> None:
    text = "begin " + "word " * 2000 + "the end"
    shown = " ".join(_lines(text, width=300, height=200))
    assert shown.startswith("begin word")
    assert shown.endswith("the end")
    assert "characters left out; see elsewhere …]" in shown


def test_the_count_of_what_is_left_out_is_right() -> None:
    shown = " ".join(_lines("x" * 5000, width=300, height=200))
    left_out = int(shown.split("[… ")[1].split(" ")[0].replace(",", ""))
    assert shown.count("x") - "characters left out; see elsewhere".count("x") + left_out == 5000


def test_nothing_is_no_line() -> None:
    assert fit("\n\n", _FACES, width=100, height=100, sizes=[20], elsewhere="") == EMPTY


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
def test_what_would_steer_is_shown(text: str, shown: str) -> None:
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
def test_the_first_letter_says_which_way_a_line_runs(text: str, rtl: bool) -> None:
    assert base_is_rtl(text) is rtl


def test_a_right_to_left_word_in_english_stays_in_its_place() -> None:
    found = split_pieces(f"a {_HEBREW} b", _FACES, rtl=False)
    assert [(piece.text, piece.rtl) for piece in found] == [
        ("a ", False),
        ("\u05d2", True),
        ("\u05d1", True),
        ("\u05d0", True),
        (" b", False),
    ]


def test_an_english_word_in_hebrew_stands_to_the_left_of_what_comes_before_it() -> None:
    found = split_pieces(f"{_HEBREW} fox", _FACES, rtl=True)
    assert found[0].text == "fox"
    assert found[-1].text == "\u05d0"


def test_what_no_face_has_is_a_piece_without_a_face() -> None:
    found = split_pieces("a中b", _FACES, rtl=False)
    assert [(piece.text, piece.face is None) for piece in found] == [
        ("a", False),
        ("中", True),
        ("b", False),
    ]

"""Other people's text is safe on a terminal, and slips of the pen are named."""

from __future__ import annotations

import pytest

from imagen.text import (
    did_you_mean,
    is_variable_name,
    nearest,
    one_line,
    printable,
    shorten_words,
    took,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("plain", "plain", id="plain text stays"),
        pytest.param("a\x1b[31mred\x1b[0m", "a[31mred[0m", id="escapes lose their escape"),
        pytest.param("bell\x07 null\x00 back\x08", "bell null back", id="controls go"),
        pytest.param("tab\tand\nline", "tab\tand\nline", id="tabs and lines stay"),
        pytest.param("\u202eevil", "evil", id="overriding direction goes"),
        pytest.param("a\u200db", "a\u200db", id="joiners of ordinary writing stay"),
        pytest.param("猫 🎨 שלום", "猫 🎨 שלום", id="every script stays"),
        pytest.param("\ud800x", "x", id="half of a pair goes"),
    ],
)
def test_printable_text_cannot_steer_a_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_one_line_joins_lines_and_says_where_it_ends() -> None:
    assert one_line("a\n  b\tc", limit=10) == "a b c"
    assert one_line("abcdefghijkl", limit=5) == "abcd…"


def test_the_nearest_word_ignores_case() -> None:
    assert nearest("EULER_A", ["euler", "euler_ancestral", "heun"]) == "euler"


def test_no_word_is_near_to_something_else() -> None:
    assert nearest("xyz", ["euler", "heun"]) is None
    assert did_you_mean("xyz", ["euler"]) == ""


def test_did_you_mean_is_a_sentence_that_follows_one() -> None:
    assert did_you_mean("eulr", ["euler"]) == " Did you mean 'euler'?"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0412, "0.04 s"), (2.649, "2.6 s"), (59.94, "59.9 s"), (125.4, "2 min 5 s")],
)
def test_a_duration_is_as_exact_as_anyone_wants(seconds: float, shown: str) -> None:
    assert took(seconds) == shown


@pytest.mark.parametrize(
    ("text", "is_name"),
    [
        pytest.param("STUDIO_TOKEN_2", True, id="a name"),
        pytest.param("_X", True, id="an underscore first"),
        pytest.param("X" * 64, True, id="the longest"),
        pytest.param("X" * 65, False, id="too long"),
        pytest.param("9f86d081884c7d65", False, id="hexadecimal"),
        pytest.param("f86d081884c7d659", False, id="hexadecimal that begins with a letter"),
        pytest.param("2ND", False, id="a digit first"),
        pytest.param("STUDIO-TOKEN", False, id="a hyphen"),
        pytest.param("STUDIO\n", False, id="a line's end"),
        pytest.param("ÄÖ", False, id="beyond ASCII"),
        pytest.param("", False, id="nothing"),
    ],
)
def test_the_name_of_a_variable_is_told_from_a_secret(text: str, is_name: bool) -> None:
    assert is_variable_name(text) is is_name


@pytest.mark.parametrize(
    ("text", "length"),
    [
        pytest.param("x" * 500, 500, id="as long as may be"),
        pytest.param("the file " + "x" * 501 + ": gone", 9 + 501 + 5, id="a long word"),
        pytest.param("ab " * 3000, 501, id="a long line"),
        pytest.param("a b\n" * 3000, 12_000, id="many lines"),
    ],
)
def test_a_long_word_or_line_loses_its_middle(text: str, length: int) -> None:
    shown = shorten_words(text)
    assert len(shown) == length
    assert (shown[:9], shown[-4:]) == (text[:9], text[-4:])

"""Other people's text is safe on a terminal, and slips of the pen are named."""

from __future__ import annotations

import pytest

from imagen.core.text import (
    did_you_mean,
    format_duration,
    is_variable_name,
    nearest,
    one_line,
    printable,
    shorten_words,
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


def test_one_line_joins_lines_and_marks_the_cut() -> None:
    assert one_line("a\n  b\tc", limit=10) == "a b c"
    assert one_line("abcdefghijkl", limit=5) == "abcd…"


def test_nearest_ignores_case() -> None:
    assert nearest("EULER_A", ["euler", "euler_ancestral", "heun"]) == "euler"


def test_nearest_is_none_for_a_different_word() -> None:
    assert nearest("xyz", ["euler", "heun"]) is None
    assert did_you_mean("xyz", ["euler"]) == ""


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        pytest.param("stepz", "steps", "steps", id="a wrong letter"),
        pytest.param("sede", "seed", "seed", id="swapped letters"),
        pytest.param("dry_run", "dry-run", "dry-run", id="another separator"),
        pytest.param("dpmpp_2m_sde", "dpm++2m_sde", "dpm++2m_sde", id="++ is pp"),
        pytest.param("num-inference-steps", "steps", "steps", id="a word of it"),
        pytest.param("flux1", "flux1-schnell", "flux1-schnell", id="its beginning"),
        pytest.param("model", "models", "models", id="its beginning, and a letter"),
        pytest.param("fxo.png", "fox.png", "fox.png", id="a file"),
        pytest.param("dream.safetensors", "night.safetensors", None, id="alike in their ending"),
        pytest.param("b.safetensors", "a.safetensors", None, id="alike in nothing else"),
        pytest.param("--format", "--forget", None, id="format"),
        pytest.param("--stop", "--top", None, id="stop"),
        pytest.param("--batch", "--watch", None, id="batch"),
        pytest.param("--last", "--list", None, id="last"),
        pytest.param("--draw", "--raw", None, id="draw"),
        pytest.param("--find", "--kind", None, id="find"),
        pytest.param("resize", "resume", None, id="resize"),
        pytest.param("slow", "show", None, id="slow"),
        pytest.param("date", "rate", None, id="date"),
        pytest.param("to", "top", None, id="two letters"),
        pytest.param("x", "xy", None, id="one letter"),
        pytest.param("", "a", None, id="nothing"),
        pytest.param("…", "a", None, id="no letter"),
    ],
)
def test_nearest_proposes_only_likely_words(word: str, known: str, meant: str | None) -> None:
    assert nearest(word, [known]) == meant


def test_nearest_prefers_the_fewest_errors() -> None:
    assert nearest("dpmpp2n", ["dpm2", "dpmpp_2m_sde", "dpmpp_2m"]) == "dpmpp_2m"


def test_did_you_mean_is_a_following_sentence() -> None:
    assert did_you_mean("eulr", ["euler"]) == " Did you mean 'euler'?"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0412, "0.04 s"), (2.649, "2.6 s"), (59.94, "59.9 s"), (125.4, "2 min 5 s")],
)
def test_format_duration_rounds_by_length(seconds: float, shown: str) -> None:
    assert format_duration(seconds) == shown


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
def test_variable_name_is_distinguished_from_a_secret(text: str, is_name: bool) -> None:
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
def test_shorten_words_removes_the_middle(text: str, length: int) -> None:
    shown = shorten_words(text)
    assert len(shown) == length
    assert (shown[:9], shown[-4:]) == (text[:9], text[-4:])

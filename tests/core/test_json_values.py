"""JSON from outside is parsed within limits."""

from __future__ import annotations

import pytest

from imagen.core.json_values import parse_json


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("{", "is not valid JSON: Expecting property name enclosed in double quotes at line 1, "),
        ("", "is not valid JSON: Expecting value at line 1, column 1"),
        (b"\xff\xfe{", "is not UTF-8 text"),
        ("[" * 101 + "]" * 101, "is nested more than 100 levels deep"),
        ("[" * 90_000, "is nested more than 100 levels deep"),
        ('{"a":' * 101 + "1" + "}" * 101, "is nested more than 100 levels deep"),
        ("[" + "1," * 1_000_000 + "1]", "holds more than 1,000,000 values"),
        ("[NaN]", "holds NaN, which JSON has no number for"),
        ("[-Infinity]", "holds -Infinity, which JSON has no number for"),
        ("1e999", "holds the number 1e999, which is too large"),
        ("9" * 400, "holds the number 99999999999999999999…, which is too large"),
        ("9" * 5000, "holds the number 99999999999999999999…, which is too large"),
    ],
)
def test_parse_json_explains_what_is_wrong(text: str | bytes, phrase: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_json(text)
    assert str(caught.value).startswith(phrase)


def test_too_large_text_is_refused_before_parsing() -> None:
    with pytest.raises(ValueError, match=r"^is larger than 2 MB$"):
        parse_json("x" * (2 * 1024**2 + 1), max_bytes=2 * 1024**2)


@pytest.mark.parametrize("text", ["[" * 100 + "]" * 100, '{"a":' * 100 + "1" + "}" * 100])
def test_deepest_permitted_nesting_is_read(text: str) -> None:
    assert parse_json(text)


def test_lone_surrogates_are_replaced_and_pairs_are_kept() -> None:
    text = r'{"a\ud800": ["\udfff", "\ud83e\udd8a", 1, null]}'
    assert parse_json(text) == {"a\ufffd": ["\ufffd", "\U0001f98a", 1, None]}


def test_a_lone_surrogate_that_is_not_escaped_is_replaced() -> None:
    assert parse_json('["\ud800"]') == ["\ufffd"]


def test_the_largest_seed_keeps_every_digit() -> None:
    assert parse_json(b"\xef\xbb\xbf[18446744073709551615]") == [2**64 - 1]


def test_a_node_catalog_may_hold_infinity_and_large_integers() -> None:
    text = f"[Infinity, {10**30}, 1e999, {'9' * 400}]"
    assert parse_json(text, strict_numbers=False) == [
        float("inf"),
        10**30,
        float("inf"),
        float("inf"),
    ]

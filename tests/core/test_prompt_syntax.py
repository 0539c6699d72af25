"""Which syntax a prompt holds, and which text only looks like it."""

from __future__ import annotations

import pytest

from imagen.core.prompt_syntax import LoraTag, find_unread, lora_tags


@pytest.mark.parametrize(
    ("text", "example"),
    [
        ("a (fog:1.5), night", "(fog:1.5)"),
        ("a (thick fog : .8 )", "(thick fog : .8 )"),
        ("(a (red) barn:1.2)", "(a (red) barn:1.2)"),
        ("((fog:1.3))", "(fog:1.3)"),
        ("(fog:-1)", "(fog:-1)"),
        ("(2 foxes:2)", "(2 foxes:2)"),
        ("(room 5:1.4)", "(room 5:1.4)"),
        ("a {red|blue} barn", "{red|blue}"),
        ("{a|{b|c}} barn", "{b|c}"),
        ("<lora:ink:0.8> a fox", "<lora:ink:0.8>"),
        ("a fox <lora:styles/ink v2>", "<lora:styles/ink v2>"),
    ],
)
def test_find_unread_finds_syntax(text: str, example: str) -> None:
    assert find_unread(text, ()) == [example]


@pytest.mark.parametrize(
    "text",
    [
        "a fox (red, small) in snow",
        "a sign (16:9) at (10:30), John (3:16)",
        r"a smile \(fog:1.5\)",
        "hello :) and (see: below)",
        "(Room:101)",
        "(:1.5)",
        "fog:1.5)",
        "(fog:1.5",
        "(http://localhost:8188)",
        "the set {a, b} and a | b",
        r"a \{red|blue} barn",
        '{"subject": "a fox | a dog", "style": "ink"}',
        "{'colour': 'red|blue'}",
        "f(x) = {x}",
        "<lora> <b:1> <lora:>",
        "I <3 {} () []",
        "",
    ],
)
def test_ordinary_text_has_no_syntax(text: str) -> None:
    assert find_unread(text, ()) == []


def test_find_unread_gives_the_first_example_of_each_syntax() -> None:
    text = "(a:1.1) (b:1.2) {c|d} {e|f} <lora:g> <lora:h>"
    assert find_unread(text, ()) == ["(a:1.1)", "{c|d}", "<lora:g>"]
    assert find_unread(text, {"weights"}) == ["{c|d}", "<lora:g>"]
    assert find_unread(text, ("weights", "choices", "loras")) == []


def test_long_example_is_shortened() -> None:
    assert find_unread(f"({'x' * 100}:1.5)", ()) == ["(" + "x" * 38 + "…"]


@pytest.mark.parametrize(
    ("text", "name", "strength"),
    [
        ("<lora:ink:0.8>", "ink", 0.8),
        ("<lyco:ink:0.8>", "ink", 0.8),
        ("<lora:ink>", "ink", 1.0),
        ("<lora:ink:-1>", "ink", -1.0),
        ("<lora: styles/ink v2 :.5>", "styles/ink v2", 0.5),
        ("<lora:ink:0.8:0.8>", "ink", 0.8),
        ("<lora:ink:0.8:0.6>", "ink", None),
        ("<lora:ink:strong>", "ink", None),
        ("<lora:ink:>", "ink", None),
        ("<lora:ink:te=0.5:unet=1>", "ink", None),
    ],
)
def test_lora_tag_has_a_name_and_one_strength(text: str, name: str, strength: float | None) -> None:
    weights = text.strip("<>").partition(":")[2].partition(":")[2]
    assert lora_tags(f"a {text} fox") == [LoraTag(text, name, strength, weights)]

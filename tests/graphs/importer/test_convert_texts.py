"""Texts become what the editor sends: comments, choices and placeholders."""

from __future__ import annotations

from datetime import datetime

import pytest

from imagen.graphs.importer.convert import draw_choices, fill_placeholders, strip_comments

NOW = datetime(2026, 3, 4, 5, 6, 7)
WIDGETS: dict[tuple[str, str], object] = {
    ("KSampler", "seed"): 7,
    ("KSampler", "cfg"): 5.5,
    ("KSampler", "denoise"): 1.0,
    ("KSampler", "tiled"): True,
    ("KSampler", "sampler_name"): "dpm/2:a*",
    ("KSampler", "nothing"): None,
}


@pytest.mark.parametrize(
    ("text", "stripped"),
    [
        ("a /* b */ c", "a  c"),
        ("a // b", "a "),
        ("a // b\nc", "a \nc"),
        ("a // b\r\nc", "a \r\nc"),
        ("a /* b\nc */ d", "a  d"),
        ("a /* b", "a /* b"),
        ("a /* b // c", "a /* b "),
        ("a // b /* c\nd */ e", "a \nd */ e"),
        ("a /*/ b */ c", "a  c"),
        ("/* a *//* b */", ""),
        ("see https://example.org/x", "see https:"),
        ("1/2", "1/2"),
    ],
)
def test_comments_are_stripped_as_in_the_editor(text: str, stripped: str) -> None:
    assert strip_comments(text) == stripped


@pytest.mark.parametrize(
    ("text", "drawn", "choices"),
    [
        ("a {red|blue} fox", "a red fox", 1),
        ("a {red|blue} {fox|cat}", "a red fox", 2),
        ("{a {b|c}|d {e|f}}", "a b", 3),
        ("{|x}y", "y", 1),
        ("{a}", "a", 1),
        ("a {b|c", "a b", 1),
        ("a | b } c", "a | b } c", 0),
        (r"\{a\|b\}", "{a|b}", 0),
        (r"{a\|b|c}", "a|b", 1),
        (r"{a|b\}c}d", "ad", 1),
        (r"(x:1.2) \(y\)", r"(x:1.2) \(y\)", 0),
        ("a\\", "a\\", 0),
        pytest.param("{" * 9000 + "x|y" + "}" * 9000, "x", 9000, id="deeply nested"),
    ],
)
def test_first_of_each_choice_is_drawn(text: str, drawn: str, choices: int) -> None:
    assert draw_choices(text) == (drawn, choices)


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("%date:yyyy-MM-dd%", "2026-03-04"),
        ("%date:hhmmss%/%date:d.M.yy%", "050607/4"),
        ("%date:d-M-yy yyy%", "4-3-26 yyy"),
        ("%KSampler.seed%_%KSampler.cfg%_%KSampler.denoise%", "7_5.5_1"),
        ("%KSampler.tiled%%KSampler.nothing%", "true"),
        ("%KSampler.sampler_name%", "dpm_2_a_"),
        ("%Other.seed%_%KSampler.other%", "%Other.seed%_%KSampler.other%"),
        ("%width%x%height%_%year%", "%width%x%height%_%year%"),
        ("100% sure", "100% sure"),
        ("50%%", "50%%"),
    ],
)
def test_placeholders_are_filled_in_as_in_the_editor(text: str, filled: str) -> None:
    def find(node: str, widget: str) -> object:
        return WIDGETS[node, widget]

    assert fill_placeholders(text, find, NOW) == filled

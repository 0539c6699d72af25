"""File names from templates."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from imagen.config import OutputSettings
from imagen.core.request import Request
from imagen.errors import ConfigError
from imagen.outputs import check_output_settings
from imagen.outputs.naming import (
    input_name,
    numbered_names,
    render_name,
    slugify,
    template_fault,
)

VALUES = {
    "date": "2025-11-21",
    "time": "083005",
    "slug": "a-red-fox",
    "input": "Fox {seed}",
    "seed": "7",
    "backend": "flux-local",
    "ext": "png",
    "index": "0",
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        pytest.param(
            "{date}-{time}-{slug}-{seed}",
            ("2025-11-21-083005-a-red-fox-7.png",),
            id="the default",
        ),
        pytest.param("{backend}/{index}", ("flux-local", "0.png"), id="a folder"),
        pytest.param("a\\b/{slug}", ("a", "b", "a-red-fox.png"), id="both kinds of separators"),
        pytest.param("{slug}.{ext}", ("a-red-fox.png",), id="its own extension"),
        pytest.param("{slug}.png", ("a-red-fox.png",), id="the extension in letters"),
        pytest.param("{slug}.jpg", ("a-red-fox.jpg.png",), id="another extension in letters"),
        pytest.param("{ext}/{slug}", ("png", "a-red-fox.png"), id="the extension as a folder"),
        pytest.param("{mood}-{slug}", ("{mood}-a-red-fox.png",), id="an unknown placeholder"),
        pytest.param("{input}-2x", ("Fox {seed}-2x.png",), id="an input with braces"),
        pytest.param("{{slug}}", ("{a-red-fox}.png",), id="doubled braces"),
        pytest.param("con/{slug}", ("_con", "a-red-fox.png"), id="a device as a folder"),
        pytest.param("Nul.{slug}", ("_Nul.a-red-fox.png",), id="a device with an extension"),
        pytest.param("a. /{slug}", ("a", "a-red-fox.png"), id="a folder with a trailing dot"),
        pytest.param("./a//{slug}", ("a", "a-red-fox.png"), id="empty folders"),
        pytest.param("v1.5-{slug}", ("v1.5-a-red-fox.png",), id="a dot within"),
    ],
)
def test_render_name_gives_folders_and_a_name(template: str, expected: tuple[str, ...]) -> None:
    assert render_name(template, VALUES) == expected


def test_render_name_does_not_fill_placeholders_in_values() -> None:
    assert render_name("{slug}", VALUES | {"slug": "{seed}"}) == ("{seed}.png",)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        pytest.param("../{slug}", "contains '..'", id="the folder above"),
        pytest.param("a/../../{slug}", "contains '..'", id="the folder above, within"),
        pytest.param("a\\..\\{slug}", "contains '..'", id="the folder above, on Windows"),
        pytest.param("a/.. /{slug}", "contains '..'", id="the folder above, with a blank"),
        pytest.param("..", "contains '..'", id="the folder above, alone"),
        pytest.param("/tmp/{slug}", "is an absolute path", id="an absolute path"),
        pytest.param("\\\\server\\share\\x", "is an absolute path", id="a share"),
        pytest.param("C:\\{slug}", "is an absolute path", id="a drive"),
        pytest.param("c:{slug}", "is an absolute path", id="a drive's own folder"),
        pytest.param("{slug}:stream", "contains ':'", id="a hidden stream"),
        pytest.param("{slug}\0", "contains '\\x00'", id="a null character"),
        pytest.param("{slug}\n", "contains '\\n'", id="a line break"),
        pytest.param("{slug}\ud800", "contains '\\ud800'", id="half a character"),
        pytest.param("what?", "contains '?'", id="a question mark"),
        pytest.param("", "has no file name", id="nothing"),
        pytest.param("a/", "has no file name", id="a folder alone"),
        pytest.param("a/...", "has no file name", id="dots alone"),
    ],
)
def test_an_invalid_name_template_is_an_error(template: str, words: str) -> None:
    assert words in template_fault(template)


def test_check_output_settings_refuses_an_invalid_template() -> None:
    with pytest.raises(ConfigError) as caught:
        check_output_settings(OutputSettings(name="../{slug}"))
    assert str(caught.value) == (
        "output.name '../{slug}' contains '..', which leads out of the output directory.\n"
        "It must be the name of a file below output.directory."
    )


def test_check_output_settings_accepts_a_valid_template() -> None:
    check_output_settings(OutputSettings(directory=Path("x"), name="{backend}/{date}-{slug}"))
    assert template_fault("{backend}/{date}-{slug}") == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("A red fox, asleep!", "a-red-fox-asleep", id="words"),
        pytest.param("../../etc/passwd", "etc-passwd", id="a path"),
        pytest.param("C:\\x|y*?", "c-x-y", id="what Windows forbids"),
        pytest.param("", "untitled", id="nothing"),
        pytest.param("🦊❤️1️⃣", "1", id="emoji and their selectors"),
        pytest.param("🦊", "untitled", id="emoji alone"),
        pytest.param("Füchse in Öl", "füchse-in-öl", id="umlauts"),
        pytest.param("Fu\u0308chse", "füchse", id="a mark apart from its letter"),
        pytest.param("雪中的狐狸", "雪中的狐狸", id="Chinese"),
        pytest.param("बर्फ़ में लोमड़ी", "बर्फ़-में-लोमड़ी", id="Hindi with its vowel signs"),
        pytest.param("ثعلب أحمر", "ثعلب-أحمر", id="Arabic"),
        pytest.param("ｆｏｘ ①", "fox-1", id="wide letters"),
        pytest.param("a\u202eb\x00c\ud800d", "a-b-c-d", id="control characters"),
        pytest.param("...", "untitled", id="dots"),
        pytest.param("{seed}", "seed", id="a placeholder"),
    ],
)
def test_slugs_have_words_in_any_script(text: str, expected: str) -> None:
    assert slugify(text) == expected


def test_long_slugs_end_with_a_whole_word() -> None:
    assert slugify("word " * 100_000) == "-".join(["word"] * 8)


def test_long_words_are_cut_between_characters() -> None:
    assert slugify("雪" * 500) == "雪" * 40


def test_long_names_leave_room_for_a_number_and_the_sidecar() -> None:
    assert render_name("x" * 500, VALUES) == ("x" * 200 + ".png",)


def test_names_are_numbered_before_their_extension() -> None:
    assert list(islice(numbered_names("fox.png"), 3)) == ["fox.png", "fox-2.png", "fox-3.png"]


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"image": "photos/Fox 1.v2.jpg", "prompt": "a fox"}, "Fox 1.v2"),
        ({"image": "C:\\photos\\fox.jpg"}, "fox"),
        ({"image": "blob:0123abcd/fox.png"}, "fox"),
        ({"references": ["a/b.png", "c.png"]}, "b"),
        ({"controls": [{"kind": "canny", "image": "edges.png"}]}, "edges"),
        ({"image": "what?:now\n.png"}, "what__now_"),
        ({"image": "...png"}, "noinput"),
        ({"prompt": "a fox"}, "noinput"),
    ],
)
def test_the_name_of_the_input_is_kept_as_files_allow(values: dict[str, Any], name: str) -> None:
    assert input_name(Request.of(values)) == name

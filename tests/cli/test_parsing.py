"""Values of the command line."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

import pytest

from imagen.cli.parsing import (
    parse_assignment,
    parse_control,
    parse_lora,
    parse_scalar,
    read_prompt,
)
from imagen.errors import RequestError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("8", 8),
        ("0.5", 0.5),
        ('"8"', "8"),
        ("'true'", "true"),
        ('"a fox" in snow', '"a fox" in snow'),
        ("true", True),
        ("", ""),
        ("null", "null"),
        ("2024-01-01", "2024-01-01"),
        ("2024-13-01", "2024-13-01"),
        ("9" * 5000, "9" * 5000),
        ("a: b: c", "a: b: c"),
        ("18446744073709551615", 2**64 - 1),
        ("flux1-schnell.safetensors", "flux1-schnell.safetensors"),
        ("[1, 2]", [1, 2]),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_scalar_keeps_its_type(text: str, read: Any) -> None:
    assert (parse_scalar(text), type(parse_scalar(text))) == (read, type(read))


def test_an_assignment_may_contain_equals_signs() -> None:
    assert parse_assignment("prompt_2=a=b") == ("prompt_2", "a=b")


@pytest.mark.parametrize("text", ["steps", "=5", ""])
def test_an_invalid_assignment_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="Write it as name=value"):
        parse_assignment(text)


def test_a_prompt_is_read_from_a_file(tmp_path: Path) -> None:
    text = 'quotes " and\nlines, 猫 🎨 שלום ' + "x" * 100_000
    (tmp_path / "p.txt").write_text(text + "\n", encoding="utf-8")
    assert read_prompt(f"@{tmp_path / 'p.txt'}") == text


def test_a_prompt_is_read_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("a fox 🦊\n".encode())))
    assert read_prompt("-") == "a fox 🦊"


def test_a_missing_prompt_file_is_named() -> None:
    with pytest.raises(RequestError, match=r"Cannot read the prompt file nowhere.txt: No such"):
        read_prompt("@nowhere.txt")


def test_a_binary_prompt_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(RequestError, match="is not text in UTF-8 or UTF-16"):
        read_prompt(f"@{tmp_path / 'p.png'}")


@pytest.mark.parametrize(
    ("data", "prompt"),
    [(b"a\r\nb\r\n", "a\r\nb"), (b"a\n\n", "a\n"), (b"a", "a"), (b"\xef\xbb\xbfa\n", "a")],
    ids=["of Windows", "an empty line stays", "no end", "a mark before it"],
)
def test_only_the_last_line_break_of_a_prompt_file_is_removed(
    tmp_path: Path, data: bytes, prompt: str
) -> None:
    (tmp_path / "p.txt").write_bytes(data)
    assert read_prompt(f"@{tmp_path / 'p.txt'}") == prompt


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-8"])
def test_the_encoding_of_a_prompt_file_is_detected(
    codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PowerShell's `>` and Notepad write them."""
    data = "\ufeffa fox 🦊, 猫\r\n".encode(codec)
    (tmp_path / "p.txt").write_bytes(data)
    assert read_prompt(f"@{tmp_path / 'p.txt'}") == "a fox 🦊, 猫"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert read_prompt("-") == "a fox 🦊, 猫"


def test_a_truncated_utf_16_prompt_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_bytes(b"\xff\xfea\x00b")
    with pytest.raises(RequestError, match="is not text in UTF-8 or UTF-16: truncated data"):
        read_prompt(f"@{tmp_path / 'p.txt'}")


def test_an_empty_prompt_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text(" \n")
    with pytest.raises(RequestError, match="is empty"):
        read_prompt(f"@{tmp_path / 'p.txt'}")


@pytest.mark.parametrize("text", ["negative=no", "negative=1", "sampler=2024"])
def test_text_parameters_stay_text(text: str) -> None:
    assert parse_assignment(text)[1] == text.partition("=")[2]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x=&a [*a]", "The value '&a [*a]' is nested in itself, or more than 60 levels deep."),
        ("x=" + "[" * 2000, "is nested in itself, or more than 60 levels deep."),
        ("x=" + "[" * 400 + "]" * 400, "is nested in itself, or more than 60 levels deep."),
        ("x=[&a [" + "x," * 400 + "], &b [" + "*a," * 400 + "]]", "more than 100,000 values"),
    ],
    ids=["itself", "open", "deep", "aliases"],
)
def test_an_endless_value_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_assignment(text)
    assert sentence in caught.value.message


def test_a_date_in_a_list_is_text() -> None:
    assert parse_assignment("x=[2024-01-01, 2024-13-45]") == ("x", ["2024-01-01", "2024-13-45"])


@pytest.mark.parametrize("text", ["x=.inf", "x=[.nan]"])
def test_a_value_that_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="the value cannot be written as JSON"):
        parse_assignment(text)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("canny:edges.png", {"kind": "canny", "image": "edges.png"}),
        ("canny:edges.png:0.8", {"kind": "canny", "image": "edges.png", "strength": 0.8}),
        (
            "canny:edges.png:.5:0.1-1",
            {"kind": "canny", "image": "edges.png", "strength": 0.5, "start": 0.1, "end": 1.0},
        ),
        (
            "depth:d.png:0-0.5",
            {"kind": "depth", "image": "d.png", "start": 0.0, "end": 0.5},
        ),
        (r"canny:C:\x.png:0.8", {"kind": "canny", "image": r"C:\x.png", "strength": 0.8}),
        (r"canny:C:\x.png", {"kind": "canny", "image": r"C:\x.png"}),
        (r"pose:\\nas\a b.png", {"kind": "pose", "image": r"\\nas\a b.png"}),
        ("pose:/a/b:c.png:2", {"kind": "pose", "image": "/a/b:c.png", "strength": 2.0}),
        ("pose:x.png:-1", {"kind": "pose", "image": "x.png", "strength": -1.0}),
        ("pose:0.5", {"kind": "pose", "image": "0.5"}),
        ("pose:x.png:strong", {"kind": "pose", "image": "x.png:strong"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_control_image_is_a_kind_a_file_and_numbers(text: str, read: dict[str, Any]) -> None:
    assert parse_control(text) == read


@pytest.mark.parametrize("text", ["canny", "canny:", ":x.png", r"C:\x.png", "/a/x.png:0.8", ""])
def test_an_invalid_control_image_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match=r"is not a control image\. Write it as kind:file"):
        parse_control(text)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("ink", {"name": "ink"}),
        ("ink:0.8", {"name": "ink", "strength": 0.8}),
        ("ink.safetensors:-1.5", {"name": "ink.safetensors", "strength": -1.5}),
        (r"C:\loras\ink.safetensors:1", {"name": r"C:\loras\ink.safetensors", "strength": 1.0}),
        (r"C:\loras\ink.safetensors", {"name": r"C:\loras\ink.safetensors"}),
        ("style/ink v1.5", {"name": "style/ink v1.5"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_lora_is_a_name_and_a_strength(text: str, read: dict[str, Any]) -> None:
    assert parse_lora(text) == read


@pytest.mark.parametrize("text", ["", ":0.8", ":"])
def test_a_lora_without_a_name_is_refused(text: str) -> None:
    with pytest.raises(
        RequestError, match=r"does not name a LoRA\. Write it as name or name:strength"
    ):
        parse_lora(text)

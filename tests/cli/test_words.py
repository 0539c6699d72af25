"""What is typed, as values."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

import pytest

from imagen.cli.parsing import assignment, control, lora, prompt_text, scalar
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
def test_a_value_keeps_its_type(text: str, read: Any) -> None:
    assert (scalar(text), type(scalar(text))) == (read, type(read))


def test_an_assignment_may_hold_further_equals_signs() -> None:
    assert assignment("prompt_2=a=b") == ("prompt_2", "a=b")


@pytest.mark.parametrize("text", ["steps", "=5", ""])
def test_what_is_no_assignment_is_said_so(text: str) -> None:
    with pytest.raises(RequestError, match="Write it as name=value"):
        assignment(text)


def test_a_prompt_is_read_from_a_file(tmp_path: Path) -> None:
    text = 'quotes " and\nlines, 猫 🎨 שלום ' + "x" * 100_000
    (tmp_path / "p.txt").write_text(text + "\n", encoding="utf-8")
    assert prompt_text(f"@{tmp_path / 'p.txt'}") == text


def test_a_prompt_is_read_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("a fox 🦊\n".encode())))
    assert prompt_text("-") == "a fox 🦊"


def test_a_prompts_file_that_is_not_there_is_named() -> None:
    with pytest.raises(RequestError, match=r"The prompt's file nowhere.txt can't be read: No such"):
        prompt_text("@nowhere.txt")


def test_a_prompt_that_is_no_text_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(RequestError, match="is not text in UTF-8 or UTF-16"):
        prompt_text(f"@{tmp_path / 'p.png'}")


@pytest.mark.parametrize(
    ("data", "prompt"),
    [(b"a\r\nb\r\n", "a\r\nb"), (b"a\n\n", "a\n"), (b"a", "a"), (b"\xef\xbb\xbfa\n", "a")],
    ids=["of Windows", "an empty line stays", "no end", "a mark before it"],
)
def test_only_the_end_of_the_last_line_is_not_the_prompts(
    tmp_path: Path, data: bytes, prompt: str
) -> None:
    (tmp_path / "p.txt").write_bytes(data)
    assert prompt_text(f"@{tmp_path / 'p.txt'}") == prompt


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-8"])
def test_the_encoding_of_a_prompt_is_that_of_its_first_bytes(
    codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PowerShell's `>` and Notepad write them."""
    data = "\ufeffa fox 🦊, 猫\r\n".encode(codec)
    (tmp_path / "p.txt").write_bytes(data)
    assert prompt_text(f"@{tmp_path / 'p.txt'}") == "a fox 🦊, 猫"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert prompt_text("-") == "a fox 🦊, 猫"


def test_a_prompt_in_utf_16_that_is_cut_short_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_bytes(b"\xff\xfea\x00b")
    with pytest.raises(RequestError, match="is not text in UTF-8 or UTF-16: truncated data"):
        prompt_text(f"@{tmp_path / 'p.txt'}")


def test_an_empty_prompt_of_a_file_is_a_mistake_somewhere(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text(" \n")
    with pytest.raises(RequestError, match="is empty"):
        prompt_text(f"@{tmp_path / 'p.txt'}")


@pytest.mark.parametrize("text", ["negative=no", "negative=1", "sampler=2024"])
def test_a_text_may_look_like_something_else(text: str) -> None:
    assert assignment(text)[1] == text.partition("=")[2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x=&a [*a]", "The value '&a [*a]' is nested in itself, or more than 60 levels deep."),
        ("x=" + "[" * 2000, "is nested in itself, or more than 60 levels deep."),
        ("x=" + "[" * 400 + "]" * 400, "is nested in itself, or more than 60 levels deep."),
        ("x=[&a [" + "x," * 400 + "], &b [" + "*a," * 400 + "]]", "more than 100,000 values"),
    ],
    ids=["itself", "open", "deep", "aliases"],
)
def test_a_value_without_end_is_refused(text: str, said: str) -> None:
    with pytest.raises(RequestError) as caught:
        assignment(text)
    assert said in caught.value.message


def test_a_date_in_a_list_is_a_text() -> None:
    assert assignment("x=[2024-01-01, 2024-13-45]") == ("x", ["2024-01-01", "2024-13-45"])


@pytest.mark.parametrize("text", ["x=.inf", "x=[.nan]"])
def test_a_value_that_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="this value holds itself, or what is no JSON"):
        assignment(text)


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
def test_a_control_picture_is_a_kind_a_file_and_numbers(text: str, read: dict[str, Any]) -> None:
    assert control(text) == read


@pytest.mark.parametrize("text", ["canny", "canny:", ":x.png", r"C:\x.png", "/a/x.png:0.8", ""])
def test_what_is_no_control_picture_is_said_so(text: str) -> None:
    with pytest.raises(RequestError, match=r"is no control picture\. Write it as kind:file"):
        control(text)


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
    assert lora(text) == read


@pytest.mark.parametrize("text", ["", ":0.8", ":"])
def test_a_lora_without_a_name_is_said_so(text: str) -> None:
    with pytest.raises(RequestError, match=r"names no LoRA\. Write it as name or name:strength"):
        lora(text)

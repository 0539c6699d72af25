"""The flags of a request."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

import pytest

from imagen.cli.options import assignment, prompt_text, scalar
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
    with pytest.raises(RequestError, match="is not UTF-8 text"):
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


def test_an_empty_prompt_of_a_file_is_a_mistake_somewhere(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text(" \n")
    with pytest.raises(RequestError, match="is empty"):
        prompt_text(f"@{tmp_path / 'p.txt'}")


@pytest.mark.parametrize("text", ["negative=no", "negative=1", "sampler=2024"])
def test_a_text_may_look_like_something_else(text: str) -> None:
    assert assignment(text)[1] == text.partition("=")[2]


def test_a_value_that_holds_itself_is_refused() -> None:
    with pytest.raises(RequestError, match="this value holds itself"):
        assignment("x=&a [*a]")

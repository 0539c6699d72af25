"""What is typed on the command line, as values: scalars, texts, control pictures, LoRAs."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from imagen.core.text import decode_text, one_line
from imagen.errors import RequestError

TEXTS = frozenset(
    (
        "prompt",
        "negative",
        "prompt_2",
        "negative_2",
        "sampler",
        "scheduler",
        "style",
        "aspect",
        "model",
        "image",
        "mask",
        "preprocess",
    )
)
"""Parameters whose values are text, even where they look like numbers."""

_NUMBER = r"([+-]?(?:\d{1,9}(?:\.\d{0,9})?|\.\d{1,9}))"
# A kind has two letters at least, so that the C of C:\fox.png is none.
_CONTROL = re.compile(rf"([^:/\\]{{2,}}):(.+?)(?::{_NUMBER})?(?::{_NUMBER}-{_NUMBER})?", re.DOTALL)
_LORA = re.compile(rf"([^:].*?)(?::{_NUMBER})?", re.DOTALL)


def assignment(text: str) -> tuple[str, Any]:
    """`steps=8` as ("steps", 8): the value is read as YAML reads a scalar.

    Raises RequestError for what is no assignment.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise RequestError(f"{text!r} is not an assignment. Write it as name=value.")
    return name.strip(), value if name.strip() in TEXTS else plain(f"--set {name}", scalar(value))


def plain(flag: str, value: Any) -> Any:
    """The value, where it can be written as JSON; raises RequestError where it can't."""
    try:
        json.dumps(value, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise RequestError(f"{flag}: this value holds itself, or what is no JSON.") from error
    return value


def scalar(text: str) -> Any:
    """8 for `8`, 0.5 for `0.5`, True for `true`, and the text `8` for `"8"`; else as it stands.

    Raises RequestError for what is too large.
    """
    from yaml import YAMLError

    from imagen.core.yaml_values import parse_yaml

    try:
        value = parse_yaml(text)
    except YAMLError:  # a brace that is never closed, a number of 5000 digits
        return text
    except ValueError as error:
        raise RequestError(f"The value {one_line(text, limit=40)!r} {error}.") from error
    quoted = isinstance(value, str) and text.strip()[:1] in ("'", '"')
    return value if quoted or isinstance(value, int | float | list | dict) else text


def control(text: str) -> dict[str, Any]:
    """`canny:edges.png:0.8:0-0.5` as a control picture's kind, image, strength, start and end.

    Strength, and start and end, may be left out. Raises RequestError for what is none.
    """
    found = _CONTROL.fullmatch(text)
    if found is None:
        raise RequestError(
            f"--control {text!r} is no control picture. Write it as kind:file, kind:file:strength "
            "or kind:file:strength:start-end, such as canny:edges.png:0.8:0-0.5."
        )
    kind, image, strength, start, end = found.groups()
    image = os.path.expanduser(image)
    _refuse_words(text, image)
    numbers = {"strength": strength, "start": start, "end": end}
    given = {name: float(number) for name, number in numbers.items() if number is not None}
    return {"kind": kind, "image": image, **given}


def _refuse_words(text: str, image: str) -> None:
    """What follows a file that is there should have been a number."""
    file, _, rest = image.rpartition(":")
    if file and os.path.isfile(file) and not os.path.isfile(image):
        raise RequestError(f"--control {text!r}: {rest!r} is no strength of {file}, such as 0.8.")


def lora(text: str) -> dict[str, Any]:
    """`ink:0.8` as a LoRA's name and strength; raises RequestError for what names none."""
    found = _LORA.fullmatch(text)
    if found is None:
        raise RequestError(
            f"--lora {text!r} names no LoRA. Write it as name or name:strength, such as ink:0.8."
        )
    name, strength = found.groups()
    named = {"name": os.path.expanduser(name)}
    return named | ({} if strength is None else {"strength": float(strength)})


def prompt_values(argument: str | None) -> dict[str, str]:
    """The prompt that was typed, as values of a request; an empty one counts as none.

    It usually comes from a variable of a script that is not set.
    """
    return {"prompt": prompt_text(argument)} if argument and argument.strip() else {}


def prompt_text(argument: str) -> str:
    """The prompt: as it stands, of standard input for `-`, of a file for `@file`.

    Raises RequestError for a file that is not text in UTF-8 or UTF-16.
    """
    if argument == "-":
        return _whole(standard_input(), "standard input")
    if not argument.startswith("@"):
        return argument
    path = Path(os.path.expanduser(argument[1:]))
    try:
        return _whole(path.read_bytes(), str(path))
    except (OSError, ValueError) as error:
        raise RequestError(
            f"The prompt's file {path} can't be read: {getattr(error, 'strerror', error)}.",
            remedy="To begin a prompt with @, give it on standard input: imagen generate -",
        ) from error


def standard_input() -> bytes:
    """All of it; nothing where there is none."""
    return sys.stdin.buffer.read() if sys.stdin is not None else b""


def _whole(data: bytes, where: str) -> str:
    """All of the text but the end of its last line; an empty one is a mistake somewhere."""
    text = _decoded(data, where)
    if not text.strip():
        raise RequestError(f"The prompt in {where} is empty.")
    return text.removesuffix("\n").removesuffix("\r")


def _decoded(data: bytes, where: str) -> str:
    try:
        return decode_text(data)
    except UnicodeDecodeError as error:
        raise RequestError(
            f"The prompt in {where} is not text in UTF-8 or UTF-16: {error.reason}.",
            remedy="Save it as UTF-8.",
        ) from error

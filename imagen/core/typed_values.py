"""Values of a request as people type them: assignments, numbers, control images and LoRAs."""

from __future__ import annotations

import json
import os
import re

from imagen.core.text import one_line
from imagen.errors import RequestError

TEXT_PARAMETERS = frozenset(
    (
        *("prompt", "negative", "prompt_2", "negative_2", "sampler", "scheduler", "style"),
        *("aspect", "model", "image", "mask", "preprocess"),
    )
)
"""Parameters whose values are text even if they look like numbers."""
_NUMBER = r"([+-]?(?:\d{1,9}(?:\.\d{0,9})?|\.\d{1,9}))"
# The kind has at least two letters, so that the drive of C:\fox.png is not taken for one.
_CONTROL = re.compile(rf"([^:/\\]{{2,}}):(.+?)(?::{_NUMBER})?(?::{_NUMBER}-{_NUMBER})?", re.DOTALL)
_LORA = re.compile(rf"([^:].*?)(?::{_NUMBER})?", re.DOTALL)


def parse_assignment(text: str) -> tuple[str, object]:
    """`steps=8` as ("steps", 8); the value is read as a YAML scalar. Raises RequestError."""
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals or not name:
        raise RequestError(f"{text!r} is not an assignment. Write it as name=value.")
    if name in TEXT_PARAMETERS:
        return name, value
    return name, require_json(f"--set {name}", parse_scalar(value))


def parse_scalar(text: str) -> object:
    """8 for `8`, 0.5 for `0.5`, True for `true`, "8" for `"8"`; any other text is unchanged.

    Raises RequestError for a value that is too large.
    """
    from yaml import YAMLError

    from imagen.core.yaml_values import parse_yaml

    try:
        value = parse_yaml(text)
    except YAMLError:  # an unclosed brace, a number of 5000 digits
        return text
    except ValueError as error:
        raise RequestError(f"The value {one_line(text, limit=40)!r} {error}.") from error
    is_quoted = isinstance(value, str) and text.strip()[:1] in ("'", '"')
    return value if is_quoted or isinstance(value, int | float | list | dict) else text


def require_json(option: str, value: object) -> object:
    """The value, if it can be written as JSON; raises RequestError otherwise."""
    try:
        json.dumps(value, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise RequestError(f"{option}: the value cannot be written as JSON.") from error
    return value


def parse_control(text: str, option: str = "--control") -> dict[str, object]:
    """`canny:edges.png:0.8:0-0.5` as kind, image, strength, start and end.

    Strength, and start and end, are optional. Raises RequestError.
    """
    match = _CONTROL.fullmatch(text)
    if match is None:
        raise RequestError(
            f"{option} {text!r} is not a control image. Write it as kind:file, kind:file:strength "
            "or kind:file:strength:start-end, such as canny:edges.png:0.8:0-0.5."
        )
    kind, image, strength, start, end = match.groups()
    image = os.path.expanduser(image)
    file, _, rest = image.rpartition(":")
    if file and os.path.isfile(file) and not os.path.isfile(image):
        raise RequestError(
            f"{option} {text!r}: {rest!r} is not a valid strength for {file}. "
            "Write it as a number, such as 0.8."
        )
    numbers = {"strength": strength, "start": start, "end": end}
    given = {name: float(number) for name, number in numbers.items() if number is not None}
    return {"kind": kind, "image": image, **given}


def parse_lora(text: str, option: str = "--lora") -> dict[str, object]:
    """`ink:0.8` as the name and the strength of a LoRA; raises RequestError without a name."""
    match = _LORA.fullmatch(text)
    if match is None:
        raise RequestError(
            f"{option} {text!r} does not name a LoRA. Write it as name or name:strength, such as "
            "ink:0.8."
        )
    name, strength = match.groups()
    given: dict[str, object] = {"name": os.path.expanduser(name)}
    return given if strength is None else given | {"strength": float(strength)}

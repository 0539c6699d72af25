"""Prompt syntax that only some engines read: `(fog:1.5)`, `{red|blue}`, `<lora:ink:0.8>`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from imagen.core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

Syntax = Literal["weights", "choices", "loras"]
TEXTS = ("prompt", "negative", "prompt_2", "negative_2")
"""The parameters of a request that may contain such syntax."""

_NUMBER = r"[+-]?(?:\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})"
_LORA = re.compile(r"<(?:lora|lyco):([^<>:]+)(?::([^<>]*))?>")
_LORA_WEIGHTS = re.compile(rf"\s*({_NUMBER})\s*(?::\s*({_NUMBER})\s*)?")
_BRACES = re.compile(r"(?<!\\)\{([^{}]*)\}")
_JSON_KEY = re.compile(r"[\"']\s{0,9}:")
_WEIGHT = re.compile(rf"(.):\s{{0,3}}({_NUMBER})\s{{0,3}}", re.DOTALL)
_LONGEST_WEIGHT = 26
"""The most characters of a match of `_WEIGHT`."""
_LARGEST_WEIGHT = 10
"""`(Room:101)` is not a weight."""
_SHOWN = 40


class LoraTag(NamedTuple):
    """A LoRA that a prompt names."""

    text: str
    """The tag as written: `<lora:ink:0.8>`."""
    name: str
    strength: float | None
    """None if it is not a single number: a request has one strength for a LoRA."""
    weights: str
    """As written; "" if the tag has none."""


def lora_tags(text: str) -> list[LoraTag]:
    """The LoRA tags in a prompt, in order."""
    return [LoraTag(m[0], m[1].strip(), _strength(m[2]), m[2] or "") for m in _LORA.finditer(text)]


def _strength(weights: str | None) -> float | None:
    if weights is None:
        return 1.0
    numbers = _LORA_WEIGHTS.fullmatch(weights)
    if numbers is None or (numbers[2] is not None and float(numbers[1]) != float(numbers[2])):
        return None
    return float(numbers[1])


def find_unread(text: str, read: Collection[Syntax]) -> list[str]:
    """An example of each syntax in a prompt that an engine does not read; it reads only `read`."""
    choices = (  # `{red|blue}`, unless it is JSON
        braces[0]
        for braces in _BRACES.finditer(text)
        if "|" in braces[1] and not _JSON_KEY.search(braces[1])
    )
    examples: list[tuple[Syntax, str | None]] = [
        ("weights", next(_weights(text), None)),
        ("choices", next(choices, None)),
        ("loras", next((tag.text for tag in lora_tags(text)), None)),
    ]
    return [
        one_line(example, limit=_SHOWN)
        for syntax, example in examples
        if example is not None and syntax not in read
    ]


def _weights(text: str) -> Iterator[str]:
    """`(fog:1.5)`; not `(16:9)`, `(at 10:30)` or what is escaped: `\\(fog:1.5\\)`."""
    opened: list[int] = []
    is_escaped = False
    for index, character in enumerate(text):
        if is_escaped:
            is_escaped = False
        elif character == "\\":
            is_escaped = True
        elif character == "(":
            opened.append(index)
        elif character == ")" and opened:
            start = opened.pop() + 1
            if _ends_in_weight(text, start, index):
                yield text[start - 1 : index + 1]


def _ends_in_weight(text: str, start: int, end: int) -> bool:
    colon = text.rfind(":", max(start, end - _LONGEST_WEIGHT), end)
    found = _WEIGHT.fullmatch(text, colon - 1, end) if colon > start else None
    if found is None or abs(float(found[2])) > _LARGEST_WEIGHT:
        return False
    is_ratio_or_time = found[1].isdigit() and "." not in found[2]
    return not is_ratio_or_time

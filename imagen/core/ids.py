"""Ids of generations: recognised, and shortened for people."""

from __future__ import annotations

import re

ID = re.compile(r"([0-9a-f][0-9a-f-]{2,35})(?:\.(\d{1,4}))?", re.IGNORECASE)
"""A beginning of an id, and which image of its generation: `5b6c8e5e`, `5b6c8e5e.2`."""
_LAST = re.compile(r"last(?:~(\d{1,6}))?", re.IGNORECASE)
_SHORT = 8


def is_id(word: str) -> bool:
    """Whether a word looks like an id, or is `last`; such an id may not exist."""
    return bool(ID.fullmatch(word.strip()) or _LAST.fullmatch(word.strip()))


def count_back(word: str) -> int | None:
    """0 for `last`, the newest, and 2 for `last~2`, the third newest; None for any other word."""
    match = _LAST.fullmatch(word.strip())
    return None if match is None else int(match[1] or 0)


def short_id(generation: str, number: int) -> str:
    """The id of an image for people: `5b6c8e5e`, and `5b6c8e5e.2` for the second of a batch."""
    return generation[:_SHORT] + (f".{number + 1}" if number else "")


def image_uid(generation: str, number: int) -> str:
    """The id of an image for programs, which is unique: `<generation>.<number from 1>`."""
    return f"{generation}.{number + 1}"

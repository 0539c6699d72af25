"""What people write for the id of an image, a generation or a job: its beginning, or `last`."""

from __future__ import annotations

import re

ID = re.compile(r"([0-9a-f][0-9a-f-]{2,35})(?:\.(\d{1,4}))?", re.IGNORECASE)
"""A beginning of an id, and which image of its generation: `5b6c8e5e`, `5b6c8e5e.2`."""
_SHORT = 8
_LAST = re.compile(r"last(?:~(\d{1,6}))?", re.IGNORECASE)


def is_id(word: str) -> bool:
    """Whether a word has the form of an id, whatever has it."""
    return bool(ID.fullmatch(word.strip()) or _LAST.fullmatch(word.strip()))


def count_back(word: str) -> int | None:
    """0 for `last`, the newest, and 2 for `last~2`, two before it; None for any other word."""
    match = _LAST.fullmatch(word.strip())
    return None if match is None else int(match[1] or 0)


def short_id(generation: str, number: int) -> str:
    """What people call an image: `5b6c8e5e`, and `5b6c8e5e.2` for the second of a batch."""
    return generation[:_SHORT] + (f".{number + 1}" if number else "")

"""Texts, paths and JSON in the form that both databases can hold."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_HALVES = range(0xD800, 0xE000)
"""Halves of surrogate pairs: Python puts what is no UTF-8 in a file's name into these."""
_AWAY = 0x100000
"""Added to such a half, it is a character for private use, which any database takes."""
_NO_CHARACTER = "\ufffd"


def storable(text: str) -> str:
    """Without NUL, for which PostgreSQL has no place, and without halves of characters."""
    return whole(text).replace("\0", "")


def whole(text: str) -> str:
    """With a sign where there is half a character, which no encoding has."""
    return "".join(_NO_CHARACTER if ord(c) in _HALVES else c for c in text)


def stored_path(path: Path) -> str:
    """A path as it is kept; `path_of` gives it back, whatever bytes its name is made of."""
    text = os.path.abspath(path)
    return "".join(chr(ord(c) + _AWAY) if ord(c) in _HALVES else c for c in text)


def path_of(text: str) -> Path:
    """The path that was kept as this text."""
    return Path("".join(chr(ord(c) - _AWAY) if ord(c) - _AWAY in _HALVES else c for c in text))


def as_json(value: Any) -> Any:
    """A value that JSON can hold: engines tell NaN, and halves of characters."""
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, Mapping):
        return {whole(str(key)): as_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

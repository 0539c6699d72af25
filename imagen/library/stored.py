"""Texts, paths and JSON in the form that both databases can hold."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from imagen.core.text import bare_address

_HALF = re.compile("[\ud800-\udfff]")
"""Halves of surrogate pairs: Python puts what is no UTF-8 in a file's name into these."""
_AWAY = 0x100000
"""Added to such a half, it is a character for private use, which any database takes."""
_HALF_AWAY = re.compile("[\U0010d800-\U0010dfff]")
_NO_CHARACTER = "\ufffd"


def storable(text: str) -> str:
    """Without NUL, for which PostgreSQL has no place, and without halves of characters."""
    return whole(text).replace("\0", "")


def whole(text: str) -> str:
    """With a sign where there is half a character, which no encoding has."""
    return _HALF.sub(_NO_CHARACTER, text)


def stored_path(path: Path) -> str:
    """A path as it is kept; `path_of` gives it back, whatever bytes its name is made of."""
    text = os.path.abspath(path)
    return _HALF.sub(lambda half: chr(ord(half[0]) + _AWAY), text)


def path_of(text: str) -> Path:
    """The path that was kept as this text."""
    return Path(_HALF_AWAY.sub(lambda half: chr(ord(half[0]) - _AWAY), text))


def stored_address(url: str) -> str:
    """A webhook's address as the library keeps it: it tells webhooks apart, and holds no secret."""
    return f"{bare_address(url)}#{sha256(url.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def as_json(value: Any) -> Any:
    """A value that JSON can hold: engines tell NaN, and halves of characters."""
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, Mapping):
        return {whole(str(key)): as_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""Takes out of what is told elsewhere what no database keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def storable(value: Any) -> Any:
    """JSON that PostgreSQL takes: no NUL, no half of a surrogate pair, no number that is none."""
    if isinstance(value, Mapping):
        return {storable(str(key)): storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    is_none = isinstance(value, float) and value - value != 0
    return None if is_none else value

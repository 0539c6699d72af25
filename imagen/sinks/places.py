"""Takes out of what is told elsewhere where files lie here, and what no database keeps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FOLDERS = re.compile(r"""(?<![\w/:.])(?:~|[A-Za-z]:)?[\\/](?:[^\s\\/'"<>|]+[\\/])+(?=[^\s\\/])""")


def without_folders(sentence: str) -> str:
    """A sentence with the bare names of files for their paths."""
    return _FOLDERS.sub("", sentence.replace(str(Path.home()), "~"))


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

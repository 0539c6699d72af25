"""What an adapter has learnt of its engine, kept as JSON for when it can't or needn't ask."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from imagen.core.filesystem import make_private_folder, remove_parts, write_whole
from imagen.core.json_values import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def read_learned(path: Path | None) -> dict[str, Any]:
    """What was noted; empty where that is nothing, or nothing that can be read."""
    try:
        said = parse_json(path.read_bytes()) if path else {}
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def write_learned(path: Path | None, said: Mapping[str, Any]) -> None:
    """Note it, whole or not at all: what can't be noted costs a question, and nothing else."""
    if path is None:
        return
    with suppress(OSError):
        make_private_folder(path.parent)
        remove_parts(path.parent)
        write_whole(path, json.dumps(said).encode(), is_private=True)

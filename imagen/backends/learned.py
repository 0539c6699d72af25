"""What an engine told us, cached as JSON for when it cannot or need not be asked."""

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
    """The cached values; empty where there are none that can be read."""
    try:
        values = parse_json(path.read_bytes()) if path else {}
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def write_learned(path: Path | None, values: Mapping[str, object]) -> None:
    """Cache these values. A failure is ignored: it only costs another request."""
    if path is None:
        return
    with suppress(OSError):
        make_private_folder(path.parent)
        remove_parts(path.parent)
        write_whole(path, json.dumps(values).encode(), is_private=True)

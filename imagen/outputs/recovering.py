"""Finds a picture that was saved before, by its sidecar."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from imagen.core.json_values import parse_json
from imagen.outputs import metadata
from imagen.outputs.save import SavedImage

if TYPE_CHECKING:
    from pathlib import Path


def find_saved(sidecar: Path, *, ticket: str) -> tuple[SavedImage, dict[str, Any]] | None:
    """The picture of this sidecar, and the facts of its run.

    None where it is no sidecar, tells of another ticket, or the picture is not as it was saved.
    """
    path = sidecar.with_name(sidecar.name.removesuffix(".json"))
    try:
        told = parse_json(sidecar.read_bytes(), strict_numbers=False)
        if not isinstance(told, dict) or told.get("ticket") != ticket:
            return None
        data = path.read_bytes()
    except (OSError, ValueError):
        return None
    digest = sha256(data).hexdigest()
    facts = told.get("facts")
    if told.get("sha256") != digest or not isinstance(facts, dict):
        return None
    width, height = metadata.size(data)
    seed, index = told.get("seed"), told.get("index")
    saved = SavedImage(
        path=path,
        sidecar=sidecar,
        index=index if isinstance(index, int) else 0,
        media_type=str(told.get("media_type")),
        width=width,
        height=height,
        seed=seed if isinstance(seed, int) else None,
        sha256=digest,
    )
    return saved, facts

"""Several texts as the one that a format of few words has room for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from imagen.core.json_values import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

_START = '{"texts":'


def bundle_texts(texts: Mapping[str, str]) -> str:
    """The text `imagen` as it is where it is alone, else all of them as JSON."""
    if texts.keys() <= {"imagen"}:
        return texts.get("imagen", "")
    return _START + json.dumps(dict(texts), ensure_ascii=False) + "}"


def split_bundle(text: str) -> dict[str, str]:
    """The texts by name, as they were packed."""
    try:
        found = parse_json(text, strict_numbers=False) if text.startswith(_START) else None
    except ValueError:
        found = None
    texts = found.get("texts") if isinstance(found, dict) else None
    if not isinstance(texts, dict):
        return {"imagen": text}
    return {name: value for name, value in texts.items() if isinstance(value, str)}

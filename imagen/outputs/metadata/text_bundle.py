"""Several texts as one, for formats that have room for one text of imagen's own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from imagen.core.json_values import as_mapping, parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

_START = '{"texts":'


def bundle_texts(texts: Mapping[str, str]) -> str:
    """The text `imagen` as it is if it is the only one, else all of them as JSON."""
    if texts.keys() <= {"imagen"}:
        return texts.get("imagen", "")
    return _START + json.dumps(dict(texts), ensure_ascii=False) + "}"


def split_bundle(text: str) -> dict[str, str]:
    """The texts of a bundle, by name."""
    if not text.startswith(_START):
        return {"imagen": text}
    try:
        texts = as_mapping(parse_json(text, strict_numbers=False)).get("texts")
    except ValueError:
        texts = None
    if not isinstance(texts, dict):
        return {"imagen": text}
    return {name: value for name, value in texts.items() if isinstance(value, str)}

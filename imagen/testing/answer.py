"""One answer of a stand-in of somebody's HTTP service."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer; `missing` bytes at its end are announced but not sent."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    missing: int = 0
    is_cut: bool = False
    """The connection ends instead of answering."""


CUT = Answer(is_cut=True)


def as_json(value: Any, status: int = 200, **headers: str) -> Answer:
    """`headers` are written with underscores."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(
        status=status,
        body=json.dumps(value).encode(),
        headers={"Content-Type": "application/json"} | named,
    )

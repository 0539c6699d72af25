"""Choose an upscaler file by its family: `realesrgan` or `esrgan`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

FAMILIES = ("realesrgan", "esrgan")
_REAL_ESRGAN = "realesr"
_ESRGAN = ("esrgan", "ultrasharp", "remacri", "nmkd", "siax", "foolhardy", "lollypop")
"""Parts of the names of files with ESRGAN's architecture, most of them other trainings."""
_FOR_DRAWINGS = ("anime", "comic", "cartoon")
_FACTOR = re.compile(r"(?:^|[^0-9])(?:x([1-8])|([1-8])x)(?![0-9])")


def is_family(method: str) -> bool:
    """Whether a method names a family rather than a file."""
    return _letters(method) in FAMILIES


def choose_upscaler(method: str, names: Iterable[str], factor: float) -> str | None:
    """The upscaler of this family among the names, or None.

    Of several, one for photographs is preferred, then one of this factor, then the first by name.
    Real-ESRGAN counts as ESRGAN if there is nothing closer.
    """
    family = _letters(method)
    if family not in FAMILIES:
        return None

    def rank(name: str) -> tuple[bool, bool, bool, str]:
        plain, found = _letters(name), _FACTOR.search(name.lower())
        own_factor = int(found[1] or found[2]) if found else 4
        is_substitute = family == "esrgan" and _REAL_ESRGAN in plain
        is_for_drawings = any(word in plain for word in _FOR_DRAWINGS)
        return is_substitute, is_for_drawings, own_factor != factor, plain

    parts = (_REAL_ESRGAN,) if family == "realesrgan" else (_REAL_ESRGAN, *_ESRGAN)
    candidates = [name for name in names if any(part in _letters(name) for part in parts)]
    return min(candidates, key=rank, default=None)


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))

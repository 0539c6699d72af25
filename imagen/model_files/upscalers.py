"""Families of upscalers: `realesrgan` and `esrgan` choose an installed file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

FAMILIES = ("realesrgan", "esrgan")
_OF_ESRGAN = ("esrgan", "ultrasharp", "remacri", "nmkd", "siax", "foolhardy", "lollypop")
"""What the names of files with ESRGAN's architecture contain, most of them other trainings."""
_OF_REAL_ESRGAN = "realesr"
_DRAWN = ("anime", "comic", "cartoon")
"""For drawings; photographs come out worse."""
_FACTOR = re.compile(r"(?:^|[^0-9])(?:x([1-8])|([1-8])x)(?![0-9])")


def is_family(method: str) -> bool:
    return _plain(method) in FAMILIES


def choose_upscaler(method: str, names: Iterable[str], factor: float) -> str | None:
    """The upscaler of this family among the names; None if there is none, or it is not a family.

    Of several, one for photographs, then one of the asked factor, then the first by name.
    Real-ESRGAN counts as ESRGAN where there is nothing nearer.
    """
    if not is_family(method):
        return None
    family = _plain(method)
    found = [name for name in names if _is_of(family, _plain(name))]
    return min(found, key=lambda name: _rank(family, name, factor)) if found else None


def _is_of(family: str, name: str) -> bool:
    return _OF_REAL_ESRGAN in name or (family == "esrgan" and any(w in name for w in _OF_ESRGAN))


def _rank(family: str, name: str, factor: float) -> tuple[bool, bool, bool, str]:
    plain, own = _plain(name), _FACTOR.search(name.lower())
    times = int(own[1] or own[2]) if own else 4
    is_farther = family == "esrgan" and _OF_REAL_ESRGAN in plain
    return is_farther, any(word in plain for word in _DRAWN), times != factor, plain


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))

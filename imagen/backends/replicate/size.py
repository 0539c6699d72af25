"""How a model is told the size: by its sides, by an aspect ratio, or not at all."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagen.backends.replicate.names import AREAS, CUSTOM, SIDES, SIZE_SELECTORS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.backends.replicate.schema import Input

_AREA = re.compile(r"([\d.]+)\s*(MP|K)?", re.IGNORECASE)
_RATIO = re.compile(r"(\d+(?:\.\d+)?)\s*[:x]\s*(\d+(?:\.\d+)?)")
_LONGEST = 40
"""Characters of a choice that may be a size."""
_KILO = 1024
_UNSEEN = 0.03
"""Ratios that differ by so much (in their logarithms) look alike."""
_LIKE = math.log(2)
"""So do numbers of pixels that differ by less."""


@dataclass(frozen=True, slots=True)
class Size:
    """The inputs of one model that decide the size."""

    sides: tuple[str, ...] = ()
    """`width` and `height`, where the model takes pixels."""
    selector: str = ""
    """The input that must be `custom` for the sides to count."""
    ratio: str = ""
    """The input with a list of ratios, or of sizes, where it takes no pixels."""
    ratios: tuple[str, ...] = ()
    area: str = ""
    """The input with a list of numbers of pixels, beside the ratio."""
    areas: tuple[str, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether a size can be asked for."""
        return bool(self.sides or self.ratio)

    @property
    def is_exact(self) -> bool:
        """Whether the picture has the very size that is asked for, whatever else is."""
        return bool(self.sides) and not self.selector

    def of(self, width: int, height: int) -> dict[str, Any]:
        """The inputs for a picture of about this size."""
        if self.sides:
            chosen = {self.selector: CUSTOM} if self.selector else {}
            return chosen | dict(zip(SIDES, (width, height), strict=True))
        told = {self.ratio: _nearest_ratio(self.ratios, width / height)}
        if self.area:
            told[self.area] = _nearest_area(self.areas, width * height)
        return told

    def is_off(self, width: int, height: int) -> bool:
        """Whether no ratio that the model has is the one of this size, as far as anyone sees.

        Or none of its numbers of pixels, where it has a choice of them.
        """
        if self.sides:
            return False
        nearest = ratio_of(_nearest_ratio(self.ratios, width / height)) or 1.0
        is_other = abs(math.log(nearest * height / width)) > _UNSEEN
        return is_other or self._is_far(width * height)

    def _is_far(self, wanted: float) -> bool:
        nearest = pixels_of(_nearest_area(self.areas, wanted)) if self.area else None
        return nearest is not None and abs(math.log(nearest / wanted)) > _LIKE


def read_size(inputs: Mapping[str, Input]) -> Size:
    """Which of these inputs decide the size."""
    choices = {
        name: tuple(c for c in found.choices if isinstance(c, str))
        for name, found in inputs.items()
    }
    if all(side in inputs and inputs[side].type == "int" for side in SIDES):
        selectors = (name for name in SIZE_SELECTORS if CUSTOM in choices.get(name, ()))
        return Size(sides=SIDES, selector=next(selectors, ""))
    ratio = next((n for n in SIZE_SELECTORS if any(map(ratio_of, choices.get(n, ())))), "")
    if not ratio:
        return Size()
    areas = (n for n in AREAS if n != ratio and any(map(pixels_of, choices.get(n, ()))))
    area = next(areas, "")
    return Size(ratio=ratio, ratios=choices[ratio], area=area, areas=choices.get(area, ()))


def ratio_of(choice: str) -> float | None:
    """`16:9` or `1344x768` as a number; None for what is no ratio (`match_input_image`)."""
    match = _RATIO.fullmatch(choice) if len(choice) <= _LONGEST else None
    if match is None or not float(match[1]) or not float(match[2]):
        return None
    return float(match[1]) / float(match[2])


def pixels_of(choice: str) -> float | None:
    """`0.25`, `1 MP` or `2K` as a number of pixels; None for what is none."""
    match = _AREA.fullmatch(choice) if len(choice) <= _LONGEST else None
    if match is None:
        return None
    try:
        number = float(match[1])
    except ValueError:
        return None
    is_side = (match[2] or "").upper() == "K"
    return ((number * _KILO) ** 2 if is_side else number * 1e6) or None


def _nearest_ratio(choices: tuple[str, ...], wanted: float) -> str:
    known = {choice: ratio for choice in choices if (ratio := ratio_of(choice)) is not None}
    return min(known, key=lambda choice: abs(math.log(known[choice] / wanted)))


def _nearest_area(choices: tuple[str, ...], wanted: float) -> str:
    known = {choice: pixels for choice in choices if (pixels := pixels_of(choice)) is not None}
    return min(known, key=lambda choice: abs(math.log(known[choice] / wanted)))

"""How large to draw: from the size asked for, the picture's own, and what a backend takes."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, NamedTuple

from imagen.core.capabilities import ParameterOutcome
from imagen.core.request import USUAL_SIDE, read_aspect

if TYPE_CHECKING:
    from imagen.core.capabilities import Capabilities, Parameter, Receipt
    from imagen.core.request import Request

_LEAST = 16
"""The least side of a request."""
_FEW = 8
"""Pixels that nobody misses."""
_FINE = 10_000
"""The height of a shape whose width holds a ratio finely enough."""
_MOST_TIMES = 4
"""A picture of more than so many times the pixels that a backend draws by default is reduced."""


class ImageSize(NamedTuple):
    """Pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width} × {self.height}"

    def times(self, factor: float) -> ImageSize:
        return ImageSize(max(1, round(self.width * factor)), max(1, round(self.height * factor)))

    @property
    def pixels(self) -> int:
        return self.width * self.height


@dataclass(frozen=True, slots=True)
class SizeRules:
    """The sizes that a backend can draw."""

    width: Parameter
    height: Parameter
    largest: ImageSize
    """What the configured limits allow."""

    def fitted(self, size: ImageSize) -> ImageSize:
        """The nearest size that the backend takes, of about the same shape."""
        shrunk = size.times(min(1.0, self._share(self.most, size)))
        return ImageSize(
            _drawable(self.width.fit("width", shrunk.width), self.width, self.most.width),
            _drawable(self.height.fit("height", shrunk.height), self.height, self.most.height),
        )

    def own(self, size: ImageSize) -> ImageSize:
        """For a picture of this size, where none is asked for: its own, if that is no giant's."""
        return self.fitted(size.times(min(1.0, self._tamed(size))))

    def shaped(self, size: ImageSize) -> ImageSize:
        """A picture's shape, at about the number of pixels that the backend draws by default."""
        usual = self._usual
        return self.fitted(size.times(sqrt(usual / size.pixels)) if usual else size)

    def of_aspect(self, ratio: float) -> ImageSize:
        """A size of this width to height, of about the pixels that the backend draws by default."""
        high = sqrt((self._usual or USUAL_SIDE**2) / ratio)
        sides = (max(_LEAST, round(side / _FEW) * _FEW) for side in (high * ratio, high))
        return self.fitted(ImageSize(*sides))

    def asked(self, width: int | None, height: int | None, size: ImageSize) -> ImageSize:
        """The size asked for; where only one side is, the other as the picture's shape has it."""
        wide = width or round((height or 0) * size.width / size.height)
        high = height or round((width or 0) * size.height / size.width)
        return ImageSize(
            self.width.fit("width", max(wide, _LEAST)),
            self.height.fit("height", max(high, _LEAST)),
        )

    @property
    def step(self) -> int:
        """Within so many pixels a size is as good as asked: a backend's own steps may be longer."""
        longest = max(self.width.multiple_of or 1, self.height.multiple_of or 1, _FEW)
        return min(longest, 2 * _FEW)

    @property
    def most(self) -> ImageSize:
        """The largest that both the backend and the limits allow."""
        wide, high = self.width.max, self.height.max
        return ImageSize(
            min(self.largest.width, self.largest.width if wide is None else int(wide)),
            min(self.largest.height, self.largest.height if high is None else int(high)),
        )

    @property
    def _usual(self) -> int:
        """The number of pixels drawn by default; 0 where that is not known."""
        wide, high = self.width.default, self.height.default
        return wide * high if isinstance(wide, int) and isinstance(high, int) else 0

    def _tamed(self, size: ImageSize) -> float:
        return sqrt(_MOST_TIMES * self._usual / size.pixels) if self._usual else 1.0

    def _share(self, most: ImageSize, size: ImageSize) -> float:
        return min(most.width / size.width, most.height / size.height)


def resolve_aspect(
    request: Request, capabilities: Capabilities, largest: tuple[int, int]
) -> tuple[Request, Receipt]:
    """The request with a width and a height in place of its aspect, and the receipt of that.

    A backend with an aspect of its own gets it as it is.
    """
    if request.aspect is None or "aspect" in capabilities.parameters:
        return request, {}
    frame = find_size_rules(capabilities, largest)
    if frame is None:
        why = capabilities.without.get("width") or "this backend takes no size"
        dropped = ParameterOutcome(outcome="dropped", asked=request.aspect, why=why)
        return request.with_values({"aspect": None}), {"aspect": dropped}
    ratio = read_aspect(request.aspect)
    if request.width or request.height:
        shape = ImageSize(round(ratio * _FINE), _FINE)
        size = frame.asked(request.width, request.height, shape)
    else:
        size = frame.of_aspect(ratio)
    used = {"width": size.width, "height": size.height}
    receipt = {"aspect": ParameterOutcome(outcome="mapped", asked=request.aspect, used=used)}
    return request.with_values(used), receipt


def find_size_rules(capabilities: Capabilities, largest: tuple[int, int]) -> SizeRules | None:
    """The frame of a backend; None where it takes no size."""
    width = capabilities.parameters.get("width")
    height = capabilities.parameters.get("height")
    if width is None or height is None:
        return None
    return SizeRules(width, height, ImageSize(*largest))


def _drawable(side: int, parameter: Parameter, most: int) -> int:
    """A side that was rounded up beyond the limit is rounded down instead."""
    multiple = parameter.multiple_of or 1
    return max(side, _LEAST) if side <= most else max(multiple, most // multiple * multiple)

"""Outpainting as inpainting: the picture on a larger canvas, and a mask of what is new."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from PIL import Image, ImageFilter

from imagen.core.request import Outpaint
from imagen.inputs.masks import feathered

if TYPE_CHECKING:
    from imagen.inputs.sizes import ImageSize, SizeRules

FEATHER = 24
"""Pixels over which the new fades into the old, where none are asked."""
_NOISE = 0.08
_FEW = 15
"""As many pixels of a picture are given up to be drawable."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """Where the picture lies on the larger one."""

    kept: tuple[int, int, int, int]
    """What of the picture is kept: left, top, right, bottom."""
    sides: Outpaint
    """What is added, rounded up so that a backend can draw the whole."""

    @property
    def size(self) -> tuple[int, int]:
        left, top, right, bottom = self.kept
        sides = self.sides
        return (
            right - left + sides.left + sides.right,
            bottom - top + sides.top + sides.bottom,
        )


def canvas(size: ImageSize, asked: Outpaint, frame: SizeRules | None) -> Canvas:
    """The canvas for a picture of this size.

    Where nothing was to be added, the picture loses a few pixels to be drawable; where it would
    lose many, a little is added there too.
    """
    across, down = (frame.width.multiple_of, frame.height.multiple_of) if frame else (1, 1)
    left, right, x, width = _along(size.width, asked.left, asked.right, across or 1)
    top, bottom, y, height = _along(size.height, asked.top, asked.bottom, down or 1)
    sides = Outpaint(left=left, top=top, right=right, bottom=bottom)
    return Canvas((x, y, x + width, y + height), sides)


def _along(side: int, before: int, after: int, multiple: int) -> tuple[int, int, int, int]:
    """What is added before and after, and where what is kept begins, and how much that is."""
    more = -(side + before + after) % multiple
    if not (before or after):
        spare = side % multiple
        if spare > _FEW or spare == side:
            return more // 2, more - more // 2, 0, side
        return 0, 0, spare // 2, side - spare
    return (before, after + more, 0, side) if after else (before + more, after, 0, side)


def extend_image(image: Image.Image, canvas: Canvas) -> Image.Image:
    """The picture on its canvas; beyond it its edges go on, blurred, with a little noise."""
    left, top, right, bottom = canvas.kept
    sides = canvas.sides
    at = (sides.left - left, sides.top - top)  # what is not kept is beyond the canvas
    whole = Image.new("RGB", canvas.size)
    whole.paste(image, at)
    _continue(whole, (sides.left, sides.top), (right - left, bottom - top))
    blur = max(8, max(sides.left, sides.top, sides.right, sides.bottom) // 8)
    ground = Image.blend(whole.filter(ImageFilter.GaussianBlur(blur)), _noise(whole.size), _NOISE)
    ground.paste(image, at)
    return ground


def build_mask(canvas: Canvas, feather: int, inner: Image.Image | None = None) -> Image.Image:
    """White beyond the picture, fading into it; and where `inner`, a mask of its own, is white."""
    mask = Image.new("L", canvas.size, 255)
    left, top, right, bottom = canvas.kept
    kept = Image.new("L", (right, bottom)) if inner is None else inner
    mask.paste(kept, (canvas.sides.left - left, canvas.sides.top - top))
    return feathered(mask, feather)


def _continue(whole: Image.Image, at: tuple[int, int], size: tuple[int, int]) -> None:
    """Stretch the picture's outermost lines to the canvas's edges: across, then up and down."""
    (x, y), (wide, high) = at, size
    right, bottom = x + wide, y + high
    for line, place in (
        ((x, y, x + 1, bottom), (0, y, x, bottom)),
        ((right - 1, y, right, bottom), (right, y, whole.width, bottom)),
        ((0, y, whole.width, y + 1), (0, 0, whole.width, y)),
        ((0, bottom - 1, whole.width, bottom), (0, bottom, whole.width, whole.height)),
    ):
        area = (place[2] - place[0], place[3] - place[1])
        if min(area) > 0:
            whole.paste(whole.crop(line).resize(area), place[:2])


def _noise(size: tuple[int, int]) -> Image.Image:
    """Colourful noise, the same for the same size: what is made ready must not change."""
    return Image.frombytes("RGB", size, Random(0).randbytes(size[0] * size[1] * 3))

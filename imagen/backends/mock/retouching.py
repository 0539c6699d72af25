"""What the mock does to pictures: simple filters that stand for an engine's models."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFilter, ImageOps

if TYPE_CHECKING:
    from collections.abc import Callable

_EDGE = 40
"""How steep a slope of brightness counts as an edge."""
_BONES: tuple[tuple[tuple[float, float], tuple[float, float]], ...] = (
    ((0.50, 0.22), (0.50, 0.55)),
    ((0.50, 0.28), (0.36, 0.38)),
    ((0.36, 0.38), (0.30, 0.52)),
    ((0.50, 0.28), (0.64, 0.38)),
    ((0.64, 0.38), (0.70, 0.52)),
    ((0.50, 0.55), (0.42, 0.74)),
    ((0.42, 0.74), (0.40, 0.94)),
    ((0.50, 0.55), (0.58, 0.74)),
    ((0.58, 0.74), (0.60, 0.94)),
)
"""A figure that stands, by shares of the width and the height."""


def restored(image: Image.Image, fidelity: float) -> Image.Image:
    """Slightly smoothed; at a fidelity of 1 not at all."""
    return Image.blend(image.filter(ImageFilter.SMOOTH_MORE), image, fidelity)


def tinted(image: Image.Image, name: str, strength: float) -> Image.Image:
    """With a breath of the colour that this name stands for; at a strength of 0 as it was."""
    colour = tuple(sha256(name.encode("utf-8", "replace")).digest()[:3])
    share = min(abs(strength), 1.0) * 0.3
    return Image.blend(image, Image.new("RGB", image.size, colour), share)


def drawn_over(image: Image.Image, lines: Image.Image, share: float) -> Image.Image:
    """With what is bright in `lines` drawn over it in white, as far as `share` goes."""
    mask = lines.point([round(shade * share) for shade in range(256)])
    return Image.composite(Image.new("RGB", image.size, "white"), image, mask)


def preprocessed(image: Image.Image, kind: str) -> Image.Image:
    """The control picture of this kind; RGB."""
    return _KINDS[kind](image.convert("L")).convert("RGB")


def _canny(grey: Image.Image) -> Image.Image:
    edges = grey.filter(ImageFilter.FIND_EDGES).point([255 * (v > _EDGE) for v in range(256)])
    return _with_black_border(edges)


def _with_black_border(edges: Image.Image) -> Image.Image:
    """The filter leaves the outermost pixels as they were, which are no edges."""
    inner = (1, 1, max(1, edges.width - 1), max(1, edges.height - 1))
    bare = Image.new("L", edges.size)
    bare.paste(edges.crop(inner), inner[:2])
    return bare


def _depth(grey: Image.Image) -> Image.Image:
    """What lies lower in a picture is nearer, as a rule."""
    near = Image.linear_gradient("L").resize(grey.size)
    return Image.blend(near, ImageOps.autocontrast(grey.filter(ImageFilter.GaussianBlur(4))), 0.4)


def _scribble(grey: Image.Image) -> Image.Image:
    return _canny(grey.filter(ImageFilter.GaussianBlur(2))).filter(ImageFilter.MaxFilter(5))


def _pose(grey: Image.Image) -> Image.Image:
    """A figure in the middle: the mock sees nobody."""
    figure = Image.new("L", grey.size)
    draw = ImageDraw.Draw(figure)
    width, height = grey.size
    thick = max(1, min(width, height) // 60)
    for start, end in _BONES:
        points = [(round(x * width), round(y * height)) for x, y in (start, end)]
        draw.line(points, fill=255, width=thick)
    reach = max(2, min(width, height) // 14)
    x, y = width // 2, round(height * 0.22) - reach
    draw.ellipse((x - reach, y - reach, x + reach, y + reach), outline=255, width=thick)
    return figure


_KINDS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "canny": _canny,
    "depth": _depth,
    "pose": _pose,
    "scribble": _scribble,
}

"""A handsome landscape from words and a number: what the mock and the simulator show."""

from __future__ import annotations

import math
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Iterator

Colour = tuple[int, int, int]

_MOST_RIDGES = 12
_SMOOTH_BELOW = 1600
"""Pictures smaller than this are drawn twice as large and reduced, for smooth edges."""


def paint(
    *,
    prompt: str,
    negative: str = "",
    seed: int = 0,
    width: int,
    height: int,
    steps: int = 20,
    variant: str = "",
) -> Image.Image:
    """An RGB picture, the same for the same arguments.

    The prompt and the variant choose the colours, the seed the course of the land. Each step adds
    a ridge, up to twelve. A negative turns the colours, and the full sun into a crescent.
    """
    hue = _share(prompt, variant) + (0.25 + _share(negative) / 2 if negative else 0.0)
    course = Random(_number(prompt, negative, str(seed), variant))
    scale = 2 if max(width, height) < _SMOOTH_BELOW else 1
    picture = _sky(width * scale, height * scale, hue)
    _sun(picture, course, hue, crescent=bool(negative))
    _land(picture, course, hue, ridges=max(1, min(steps, _MOST_RIDGES)))
    return picture.reduce(scale) if scale > 1 else picture


def _number(*words: str) -> int:
    return int.from_bytes(sha256("\0".join(words).encode("utf-8", "replace")).digest()[:8])


def _share(*words: str) -> float:
    return _number(*words) / 2**64


def _colour(hue: float, saturation: float, value: float) -> Colour:
    def channel(offset: float) -> int:
        k = (offset + hue * 6) % 6
        return round(255 * (value - value * saturation * max(0.0, min(k, 4 - k, 1.0))))

    return channel(5), channel(3), channel(1)


def _mix(a: Colour, b: Colour, share: float) -> Colour:
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def _sky(width: int, height: int, hue: float) -> Image.Image:
    zenith, horizon = _colour(hue, 0.55, 0.55), _colour(hue + 0.12, 0.25, 0.98)
    shade = Image.linear_gradient("L").resize((1, height)).resize((width, height))
    bands = ([round(a + (b - a) * i / 255) for i in range(256)] for a, b in _pairs(zenith, horizon))
    return Image.merge("RGB", [shade.point(band) for band in bands])


def _pairs(a: Colour, b: Colour) -> Iterator[tuple[int, int]]:
    return zip(a, b, strict=True)


def _sun(picture: Image.Image, course: Random, hue: float, *, crescent: bool) -> None:
    width, height = picture.size
    radius = max(2, round(min(width, height) * course.uniform(0.06, 0.12)))
    x = round(width * course.uniform(0.2, 0.8))
    y = round(height * course.uniform(0.12, 0.32))
    _glow(picture, (x, y), radius * 5, _colour(hue + 0.1, 0.2, 1.0))
    disc = Image.new("L", (radius * 2, radius * 2))
    ImageDraw.Draw(disc).ellipse((0, 0, radius * 2 - 1, radius * 2 - 1), fill=255)
    if crescent:
        bite = (-radius * 2 // 3, -radius // 3, radius * 4 // 3, radius * 5 // 3)
        ImageDraw.Draw(disc).ellipse(bite, fill=0)
    picture.paste(_colour(hue + 0.1, 0.1, 1.0), (x - radius, y - radius), disc)


def _glow(picture: Image.Image, centre: tuple[int, int], reach: int, colour: Colour) -> None:
    falling = [round(150 * (1 - min(i / 181, 1)) ** 2) for i in range(256)]
    halo = Image.radial_gradient("L").point(falling).resize((reach * 2, reach * 2))
    picture.paste(colour, (centre[0] - reach, centre[1] - reach), halo)


def _land(picture: Image.Image, course: Random, hue: float, *, ridges: int) -> None:
    width, height = picture.size
    far, near = _colour(hue + 0.08, 0.3, 0.8), _colour(hue - 0.06, 0.7, 0.16)
    roughness = course.uniform(0.6, 2.2)
    draw = ImageDraw.Draw(picture)
    for ridge in range(ridges):
        depth = (ridge + 1) / ridges
        top = height * (0.5 + 0.42 * depth * ridge / ridges)
        line = list(_ridge(course, width, top, height * 0.16 * (1.2 - depth / 2), roughness))
        draw.polygon([(0, height), *line, (width, height)], fill=_mix(far, near, depth))


def _ridge(
    course: Random, width: int, top: float, swing: float, roughness: float
) -> Iterator[tuple[float, float]]:
    waves = [
        (swing / order**1.2, order * course.uniform(0.7, 1.3) * roughness, course.uniform(0, 7))
        for order in (1, 2, 4, 9)
    ]
    for i in range(129):
        across = i / 128
        lift = sum(size * math.sin(turns * math.tau * across + at) for size, turns, at in waves)
        yield width * across, top - lift

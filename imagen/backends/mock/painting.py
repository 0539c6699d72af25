"""Paint images for the mock and the simulator: landscapes, and a filter for each task."""

from __future__ import annotations

import math
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from imagen.backends.mock.adapter import CHECKPOINTS, MASKED_STRENGTH, STRENGTH, UPSCALERS
from imagen.core.image_file import read_image_file
from imagen.core.request import USUAL_SIDE, Upscale

if TYPE_CHECKING:
    from imagen.core.request import Request

Colour = tuple[int, int, int]

_MAX_RIDGES = 12
_SMOOTH_BELOW = 1600
"""Images with shorter sides are painted at twice their size and reduced, for smooth edges."""
_EDGE_THRESHOLD = 40
_FIGURE: tuple[tuple[tuple[float, float], tuple[float, float]], ...] = (
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
"""The bones of a standing figure, as shares of width and height."""


def render_image(request: Request, look: str, index: int) -> Image.Image:
    """The image of this index in the batch, as RGB; the same for the same request."""
    if request.image is not None and request.task in ("preprocess", "restore", "upscale"):
        return _process(_read_rgb(request.image, "image"), request)
    seed = image_seed(request, index)
    image = _landscape(request, look, seed)
    if request.variation_strength:
        second = ((request.variation_seed or 0) + index) % 2**64
        image = Image.blend(image, _landscape(request, look, second), request.variation_strength)
    for reference in request.references:
        image = Image.blend(image, _read_fitted(reference, "references", image.size), 0.5)
    if request.image is not None:
        image = _blend_over_initial_image(image, request, request.image)
    for lora in request.loras:
        red, green, blue = sha256(lora.name.encode("utf-8", "replace")).digest()[:3]
        tint = Image.new("RGB", image.size, (red, green, blue))
        image = Image.blend(image, tint, min(abs(lora.strength), 1.0) * 0.3)
    for control in request.controls:
        lines = _read_fitted(control.image, "controls", image.size).convert("L")
        share = min(1.0, control.strength * max(0.0, control.end - control.start))
        mask = lines.point([round(shade * share) for shade in range(256)])
        image = Image.composite(Image.new("RGB", image.size, "white"), image, mask)
    return image


def image_seed(request: Request, index: int) -> int:
    """The seed of this index in the batch; 0 follows the greatest seed."""
    return ((request.seed or 0) + index) % 2**64


def _landscape(request: Request, look: str, seed: int) -> Image.Image:
    is_other_model = request.model not in (None, CHECKPOINTS[0])
    return paint(
        prompt=request.prompt or "",
        negative=request.negative or "",
        seed=seed,
        width=request.width or USUAL_SIDE,
        height=request.height or USUAL_SIDE,
        steps=request.steps or 1,
        variant=f"{look} {request.model}" if is_other_model else look,
    )


def _blend_over_initial_image(painted: Image.Image, request: Request, path: str) -> Image.Image:
    """The initial image with the painting over it, within the mask if there is one."""
    strength = STRENGTH if request.mask is None else MASKED_STRENGTH
    if request.references:
        strength = 0.5
    elif request.strength is not None:
        strength = request.strength
    initial = _read_fitted(path, "image", painted.size)
    blended = Image.blend(initial, painted, strength)
    if request.mask is None:
        return blended
    mask = read_image_file(request.mask, "mask").decode().convert("L").resize(painted.size)
    return Image.composite(blended, initial, mask)


def _process(image: Image.Image, request: Request) -> Image.Image:
    """The image restored, upscaled, or turned into a control image."""
    from PIL import ImageFilter, ImageOps

    if request.restore is not None:
        smooth = image.filter(ImageFilter.SMOOTH_MORE)
        return Image.blend(smooth, image, request.restore.fidelity)
    if request.preprocess is None:
        upscale = request.upscale or Upscale()
        times = UPSCALERS.get(upscale.method or "", 2)
        larger = image.resize((image.width * times, image.height * times), Image.Resampling.BICUBIC)
        size = round(image.width * upscale.factor), round(image.height * upscale.factor)
        return larger.resize(size, Image.Resampling.LANCZOS)
    grey = image.convert("L")
    if request.preprocess == "canny":
        control = _find_edges(grey)
    elif request.preprocess == "scribble":
        edges = _find_edges(grey.filter(ImageFilter.GaussianBlur(2)))
        control = edges.filter(ImageFilter.MaxFilter(5))
    elif request.preprocess == "depth":  # what is lower in an image usually is nearer
        near = Image.linear_gradient("L").resize(grey.size)
        blurred = grey.filter(ImageFilter.GaussianBlur(4))
        control = Image.blend(near, ImageOps.autocontrast(blurred), 0.4)
    else:
        control = _draw_figure(grey.size)
    return control.convert("RGB")


def _find_edges(grey: Image.Image) -> Image.Image:
    from PIL import ImageFilter

    edges = grey.filter(ImageFilter.FIND_EDGES)
    edges = edges.point([255 * (value > _EDGE_THRESHOLD) for value in range(256)])
    # The filter copies the outermost pixels, which are not edges.
    inner = (1, 1, max(1, edges.width - 1), max(1, edges.height - 1))
    result = Image.new("L", edges.size)
    result.paste(edges.crop(inner), inner[:2])
    return result


def _draw_figure(size: tuple[int, int]) -> Image.Image:
    """A standing figure in the middle, whatever the image shows."""
    figure, (width, height) = Image.new("L", size), size
    draw = ImageDraw.Draw(figure)
    thickness = max(1, min(width, height) // 60)
    for start, end in _FIGURE:
        points = [(round(x * width), round(y * height)) for x, y in (start, end)]
        draw.line(points, fill=255, width=thickness)
    radius = max(2, min(width, height) // 14)
    x, y = width // 2, round(height * 0.22) - radius
    head = (x - radius, y - radius, x + radius, y + radius)
    draw.ellipse(head, outline=255, width=thickness)
    return figure


def _read_rgb(path: str, parameter: str) -> Image.Image:
    return read_image_file(path, parameter).decode().convert("RGB")


def _read_fitted(path: str, parameter: str, size: tuple[int, int]) -> Image.Image:
    from PIL import ImageOps

    image = _read_rgb(path, parameter)
    return image if image.size == size else ImageOps.fit(image, size)


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
    """A landscape as RGB, the same for the same arguments.

    The prompt and the variant choose the colours, the seed the shape of the land. Each step adds
    a ridge, up to twelve. A negative prompt shifts the colours and makes the sun a crescent.
    """
    hue = _hash_words(prompt, variant) / 2**64
    if negative:
        hue += 0.25 + _hash_words(negative) / 2**64 / 2
    random = Random(_hash_words(prompt, negative, str(seed), variant))
    scale = 2 if max(width, height) < _SMOOTH_BELOW else 1
    zenith, horizon = _colour(hue, 0.55, 0.55), _colour(hue + 0.12, 0.25, 0.98)
    size = width * scale, height * scale
    shade = Image.linear_gradient("L").resize((1, size[1])).resize(size)
    bands = [
        [round(a + (b - a) * i / 255) for i in range(256)]
        for a, b in zip(zenith, horizon, strict=True)
    ]
    image = Image.merge("RGB", [shade.point(band) for band in bands])
    _paint_sun(image, random, hue, crescent=bool(negative))
    _paint_land(image, random, hue, ridges=max(1, min(steps, _MAX_RIDGES)))
    return image.reduce(scale) if scale > 1 else image


def _hash_words(*words: str) -> int:
    return int.from_bytes(sha256("\0".join(words).encode("utf-8", "replace")).digest()[:8])


def _colour(hue: float, saturation: float, value: float) -> Colour:
    def channel(offset: float) -> int:
        k = (offset + hue * 6) % 6
        return round(255 * (value - value * saturation * max(0.0, min(k, 4 - k, 1.0))))

    return channel(5), channel(3), channel(1)


def _paint_sun(image: Image.Image, random: Random, hue: float, *, crescent: bool) -> None:
    width, height = image.size
    radius = max(2, round(min(width, height) * random.uniform(0.06, 0.12)))
    x = round(width * random.uniform(0.2, 0.8))
    y = round(height * random.uniform(0.12, 0.32))
    falling = [round(150 * (1 - min(i / 181, 1)) ** 2) for i in range(256)]
    reach = radius * 5
    glow = Image.radial_gradient("L").point(falling).resize((reach * 2, reach * 2))
    image.paste(_colour(hue + 0.1, 0.2, 1.0), (x - reach, y - reach), glow)
    disc = Image.new("L", (radius * 2, radius * 2))
    ImageDraw.Draw(disc).ellipse((0, 0, radius * 2 - 1, radius * 2 - 1), fill=255)
    if crescent:
        bite = (-radius * 2 // 3, -radius // 3, radius * 4 // 3, radius * 5 // 3)
        ImageDraw.Draw(disc).ellipse(bite, fill=0)
    image.paste(_colour(hue + 0.1, 0.1, 1.0), (x - radius, y - radius), disc)


def _paint_land(image: Image.Image, random: Random, hue: float, *, ridges: int) -> None:
    width, height = image.size
    far, near = _colour(hue + 0.08, 0.3, 0.8), _colour(hue - 0.06, 0.7, 0.16)
    roughness = random.uniform(0.6, 2.2)
    draw = ImageDraw.Draw(image)
    for ridge in range(ridges):
        depth = (ridge + 1) / ridges
        top = height * (0.5 + 0.42 * depth * ridge / ridges)
        swing = height * 0.16 * (1.2 - depth / 2)
        waves = [
            (swing / order**1.2, order * random.uniform(0.7, 1.3) * roughness, random.uniform(0, 7))
            for order in (1, 2, 4, 9)
        ]
        line = [
            (
                width * i / 128,
                top
                - sum(
                    size * math.sin(turns * math.tau * i / 128 + at) for size, turns, at in waves
                ),
            )
            for i in range(129)
        ]
        red, green, blue = (round(a + (b - a) * depth) for a, b in zip(far, near, strict=True))
        draw.polygon([(0, height), *line, (width, height)], fill=(red, green, blue))

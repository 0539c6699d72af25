"""Outpainting as inpainting: the image on a larger canvas, and a mask of the new areas."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from PIL import Image, ImageFilter

from imagen.core.capabilities import ParameterOutcome
from imagen.core.request import Outpaint
from imagen.errors import RequestError
from imagen.inputs.decode import as_png_file, cover, encode_png
from imagen.inputs.init_image import feather, read_mask, warn_of_scaling
from imagen.inputs.sizes import ImageSize

if TYPE_CHECKING:
    from imagen.inputs.decode import DecodedImage
    from imagen.inputs.prepare import InputPreparation
    from imagen.inputs.sizes import SizeRules

FEATHER = 24
"""The default: pixels over which new areas fade into the image."""
_NOISE = 0.08
_MOST_TRIMMED = 15
"""Pixels of a side that may be cut off to reach a size that the backend can generate."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """Where the image goes on the larger canvas."""

    kept: tuple[int, int, int, int]
    """The part of the image that is kept: left, top, right, bottom."""
    sides: Outpaint
    """What is added, rounded up to a size that the backend can generate."""

    @property
    def size(self) -> tuple[int, int]:
        left, top, right, bottom = self.kept
        added = self.sides
        return (
            right - left + added.left + added.right,
            bottom - top + added.top + added.bottom,
        )


def prepare_outpainting(
    work: InputPreparation, file: DecodedImage, sides: Outpaint
) -> tuple[dict[str, object], ImageSize]:
    """The request's values for the image and the mask, and the size of the result.

    A backend with a parameter `outpaint` gets the image as it is.
    """
    request, rules = work.request, work.rules
    image = work.flatten(file, "image")
    inner = read_mask(work, request.mask, file.size) if request.mask else None
    if "outpaint" in work.capabilities.parameters:
        return {"image": work.store(file, image)}, _outer_size(ImageSize(*image.size), sides)
    if rules is not None:
        image = _make_room(work, file, image, sides, rules)
    size = ImageSize(*image.size)
    canvas = plan_canvas(size, sides, rules)
    asked, used = sides.model_dump(), canvas.sides.model_dump()
    work.receipt["outpaint"] = (
        ParameterOutcome(outcome="applied", asked=asked)
        if asked == used
        else ParameterOutcome(
            outcome="mapped",
            asked=asked,
            used=used,
            why="rounded up to a size that the backend can generate",
        )
    )
    if request.feather is not None:
        work.receipt["feather"] = ParameterOutcome(outcome="applied", asked=request.feather)
    for name, side in zip(("width", "height"), canvas.size, strict=True):
        if getattr(request, name) not in (None, side):
            work.receipt[name] = ParameterOutcome(
                outcome="mapped",
                asked=getattr(request, name),
                used=side,
                why="the image and the added sides determine the size",
            )
    left, top, right, bottom = canvas.kept
    kept = ImageSize(right - left, bottom - top)
    if rules is not None and size.width - kept.width + size.height - kept.height > _MOST_TRIMMED:
        work.warnings.append(f"image: {file.source.name} ({size}) was cropped to {kept}.")
    pixels = FEATHER if request.feather is None else request.feather
    mask = build_mask(canvas, pixels, inner and cover(inner, image.size))
    extended = as_png_file(extend_image(image, canvas), file.source.name)
    values: dict[str, object] = {
        "image": work.store_bytes(extended.data, extended.name),
        "mask": work.store_bytes(encode_png(mask), "mask.png"),
        "feather": None,
        "outpaint": sides if "outpaint" in work.capabilities.tasks else None,
    }
    return values, ImageSize(*canvas.size)


def _outer_size(size: ImageSize, sides: Outpaint) -> ImageSize:
    return ImageSize(size.width + sides.left + sides.right, size.height + sides.top + sides.bottom)


def _make_room(
    work: InputPreparation,
    file: DecodedImage,
    image: Image.Image,
    sides: Outpaint,
    rules: SizeRules,
) -> Image.Image:
    """Scale the image down if it and the added sides are larger than the backend can generate."""
    size = ImageSize(*image.size)
    across, down = sides.left + sides.right, sides.top + sides.bottom
    outer = rules.own(_outer_size(size, sides))
    if min(outer.width - across, outer.height - down) < 1:
        raise RequestError(
            f"outpaint: cannot add {across} × {down} pixels to an image of {size}: "
            f"the result may be at most {rules.most}.",
            remedy="Outpaint in several steps, adding less in each.",
        )
    factor = min((outer.width - across) / size.width, (outer.height - down) / size.height)
    if abs(factor - 1) * max(size) < 2 * rules.step:
        return image
    wanted = size.times(factor)
    warn_of_scaling(work, file, size, wanted)
    return cover(image, wanted)


def plan_canvas(size: ImageSize, sides: Outpaint, rules: SizeRules | None) -> Canvas:
    """The canvas for an image of this size.

    If nothing is added along an axis, the image loses a few pixels there to reach a size that the
    backend can generate; if it would lose many, a little is added instead.
    """
    across, down = (rules.width.multiple_of, rules.height.multiple_of) if rules else (1, 1)
    left, right, x, width = _plan_axis(size.width, sides.left, sides.right, across or 1)
    top, bottom, y, height = _plan_axis(size.height, sides.top, sides.bottom, down or 1)
    added = Outpaint(left=left, top=top, right=right, bottom=bottom)
    return Canvas((x, y, x + width, y + height), added)


def _plan_axis(side: int, before: int, after: int, multiple: int) -> tuple[int, int, int, int]:
    """Added before, added after, start of the kept part, its length."""
    missing = -(side + before + after) % multiple
    if before or after:
        return (before, after + missing, 0, side) if after else (before + missing, after, 0, side)
    excess = side % multiple
    if excess > _MOST_TRIMMED or excess == side:
        return missing // 2, missing - missing // 2, 0, side
    return 0, 0, excess // 2, side - excess


def extend_image(image: Image.Image, canvas: Canvas) -> Image.Image:
    """The image on its canvas; its edges continue beyond it, blurred, with a little noise."""
    left, top, right, bottom = canvas.kept
    sides = canvas.sides
    position = (sides.left - left, sides.top - top)  # trimmed pixels are outside the canvas
    extended = Image.new("RGB", canvas.size)
    extended.paste(image, position)
    # Stretch the outermost lines of the image to the edges: across, then up and down.
    x0, y0, (width, height) = sides.left, sides.top, canvas.size
    x1, y1 = x0 + right - left, y0 + bottom - top
    for line, target in (
        ((x0, y0, x0 + 1, y1), (0, y0, x0, y1)),
        ((x1 - 1, y0, x1, y1), (x1, y0, width, y1)),
        ((0, y0, width, y0 + 1), (0, 0, width, y0)),
        ((0, y1 - 1, width, y1), (0, y1, width, height)),
    ):
        area = (target[2] - target[0], target[3] - target[1])
        if min(area) > 0:
            extended.paste(extended.crop(line).resize(area), target[:2])
    blur = max(8, max(sides.left, sides.top, sides.right, sides.bottom) // 8)
    # The same noise for the same size, so that the same request gives the same file.
    noise = Image.frombytes("RGB", canvas.size, Random(0).randbytes(width * height * 3))
    result = Image.blend(extended.filter(ImageFilter.GaussianBlur(blur)), noise, _NOISE)
    result.paste(image, position)
    return result


def build_mask(
    canvas: Canvas, feather_pixels: int, inner: Image.Image | None = None
) -> Image.Image:
    """White outside the image, fading into it, and where `inner`, the image's mask, is white."""
    mask = Image.new("L", canvas.size, 255)
    left, top, right, bottom = canvas.kept
    kept = Image.new("L", (right, bottom)) if inner is None else inner
    mask.paste(kept, (canvas.sides.left - left, canvas.sides.top - top))
    return feather(mask, feather_pixels)

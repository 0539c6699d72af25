"""Outpainting, for backends that know inpainting only, and for those that know more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.core.capabilities import ParameterOutcome
from imagen.errors import RequestError
from imagen.inputs.decode import as_png_file, encode_png
from imagen.inputs.desk import covering
from imagen.inputs.init_image import mask_of, tell_of_scaling
from imagen.inputs.outpainting import FEATHER, build_mask, canvas, extend_image
from imagen.inputs.sizes import ImageSize

if TYPE_CHECKING:
    from PIL import Image

    from imagen.core.capabilities import Capabilities
    from imagen.core.request import Outpaint, Request
    from imagen.inputs.decode import DecodedImage
    from imagen.inputs.desk import InputPreparation
    from imagen.inputs.outpainting import Canvas
    from imagen.inputs.sizes import SizeRules


def outpainted(
    request: Request,
    file: DecodedImage,
    desk: InputPreparation,
    frame: SizeRules | None,
    capabilities: Capabilities,
) -> tuple[dict[str, Any], ImageSize]:
    """What stands in the request for the image and the mask, and the size of the whole.

    A backend with a parameter `outpaint` is given the image as it is.
    """
    asked = request.outpaint
    assert asked is not None
    image = desk.opaque(file, "image")
    inner = mask_of(request.mask, file, desk) if request.mask else None
    if "outpaint" in capabilities.parameters:
        return {"image": desk.keep(file, image)}, _whole(ImageSize(*image.size), asked)
    image = _reduced(file, image, asked, desk, frame)
    place = canvas(ImageSize(*image.size), asked, frame)
    _tell(request, place, desk)
    _tell_of_crop(ImageSize(*image.size), place, file, desk, frame)
    feather = FEATHER if request.feather is None else request.feather
    mask = build_mask(place, feather, inner and covering(inner, image.size))
    whole = as_png_file(extend_image(image, place), file.source.name)
    values = {
        "image": desk.shelve(whole.data, whole.name),
        "mask": desk.shelve(encode_png(mask), "mask.png"),
        "feather": None,
        "outpaint": asked if "outpaint" in capabilities.tasks else None,
    }
    return values, ImageSize(*place.size)


def _whole(size: ImageSize, sides: Outpaint) -> ImageSize:
    return ImageSize(
        size.width + sides.left + sides.right,
        size.height + sides.top + sides.bottom,
    )


def _reduced(
    file: DecodedImage,
    image: Image.Image,
    asked: Outpaint,
    desk: InputPreparation,
    frame: SizeRules | None,
) -> Image.Image:
    """The picture as large as leaves room for what is added to it."""
    if frame is None:
        return image
    size = ImageSize(*image.size)
    across, down = asked.left + asked.right, asked.top + asked.bottom
    whole = frame.own(_whole(size, asked))
    if min(whole.width - across, whole.height - down) < 1:
        raise RequestError(
            f"outpaint: {across} × {down} pixels more than the image's {size} are too many; "
            f"the whole may be {frame.most}.",
            remedy="Add less, in several goes.",
        )
    factor = min((whole.width - across) / size.width, (whole.height - down) / size.height)
    if abs(factor - 1) * max(size) < 2 * frame.step:
        return image
    wanted = size.times(factor)
    tell_of_scaling(file, size, wanted, desk, frame)
    return covering(image, wanted)


def _tell(request: Request, place: Canvas, desk: InputPreparation) -> None:
    """The receipt of all that is settled here."""
    asked = request.outpaint
    assert asked is not None
    sides, outpaint = place.sides.model_dump(), asked.model_dump()
    desk.receipt["outpaint"] = (
        ParameterOutcome(outcome="applied", asked=outpaint)
        if sides == outpaint
        else ParameterOutcome(
            outcome="mapped", asked=outpaint, used=sides, why="so that the whole can be drawn"
        )
    )
    if request.feather is not None:
        desk.receipt["feather"] = ParameterOutcome(outcome="applied", asked=request.feather)
    for name, used in zip(("width", "height"), place.size, strict=True):
        if getattr(request, name) not in (None, used):
            why = "the image and what is added to it settle the size"
            desk.receipt[name] = ParameterOutcome(
                outcome="mapped", asked=getattr(request, name), used=used, why=why
            )


def _tell_of_crop(
    size: ImageSize,
    place: Canvas,
    file: DecodedImage,
    desk: InputPreparation,
    frame: SizeRules | None,
) -> None:
    left, top, right, bottom = place.kept
    kept = ImageSize(right - left, bottom - top)
    if frame is not None and size.width - kept.width + size.height - kept.height >= 16:
        desk.warnings.append(f"image: {file.source.name} ({size}) was cropped to {kept}.")

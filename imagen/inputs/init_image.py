"""The initial image and its mask, at the size that is to be drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.core.capabilities import ParameterOutcome
from imagen.core.request import INTERPOLATIONS
from imagen.inputs.decode import encode_png, flatten
from imagen.inputs.desk import covering
from imagen.inputs.masks import feathered, read_mask
from imagen.inputs.sizes import ImageSize
from imagen.inputs.upscale import resize

if TYPE_CHECKING:
    from PIL import Image

    from imagen.core.request import Request
    from imagen.inputs.decode import DecodedImage
    from imagen.inputs.desk import InputPreparation
    from imagen.inputs.sizes import SizeRules

HYBRID_STRENGTH = 0.3
"""How far an enlarged picture is left, where nothing is asked."""


def redrawn(
    request: Request,
    file: DecodedImage,
    desk: InputPreparation,
    frame: SizeRules | None,
    *,
    is_enlarged: bool,
) -> tuple[dict[str, Any], ImageSize]:
    """What stands in the request for the image and its mask, and the size to be drawn.

    `is_enlarged` tells that interpolation comes first.
    """
    # What is transparent may be just what a mask has redrawn: then there is nothing to tell.
    image = flatten(file.image) if request.mask else desk.opaque(file, "image")
    values: dict[str, Any] = {}
    if is_enlarged:
        image, values = _enlarged(request, file, image, desk)
    if frame is not None:
        image = _framed(request, file, image, desk, frame, is_enlarged=is_enlarged)
    values["image"] = desk.keep(file, image)
    if request.mask is not None:
        mask = covering(mask_of(request.mask, file, desk), image.size)
        values |= shelved_mask(mask, request.feather, desk)
    return values, ImageSize(*image.size)


def _enlarged(
    request: Request, file: DecodedImage, image: Image.Image, desk: InputPreparation
) -> tuple[Image.Image, dict[str, Any]]:
    asked = request.upscale
    assert asked is not None
    desk.receipt["upscale"] = ParameterOutcome(outcome="applied", asked=asked.model_dump())
    strength = HYBRID_STRENGTH if request.strength is None else request.strength
    method = asked.method or INTERPOLATIONS[0]
    enlarged = resize(image, file.source.name, asked.factor, method)
    return enlarged, {"strength": strength, "upscale": None}


def _framed(
    request: Request,
    file: DecodedImage,
    image: Image.Image,
    desk: InputPreparation,
    frame: SizeRules,
    *,
    is_enlarged: bool,
) -> Image.Image:
    """Scaled and cropped around its centre to the size that is to be drawn."""
    size = ImageSize(*image.size)
    if request.width is not None or request.height is not None:
        wanted = frame.asked(request.width, request.height, size)
    else:
        wanted = frame.fitted(size) if is_enlarged else frame.own(size)
    tell_of_scaling(file, size, wanted, desk, frame)
    return covering(image, wanted)


def tell_of_scaling(
    file: DecodedImage, old: ImageSize, new: ImageSize, desk: InputPreparation, frame: SizeRules
) -> None:
    """Only where more was changed than a backend's step of a few pixels."""
    step = frame.step
    if abs(old.width - new.width) < step and abs(old.height - new.height) < step:
        return
    factor = max(new.width / old.width, new.height / old.height)
    cover = old.times(factor)
    is_cropped = cover.width - new.width >= step or cover.height - new.height >= step
    how = "scaled and cropped" if is_cropped else "scaled"
    desk.warnings.append(f"image: {file.source.name} ({old}) was {how} to {new}.")


def mask_of(path: str, file: DecodedImage, desk: InputPreparation) -> Image.Image:
    """The mask in this file, for the picture in the other."""
    mask, source, warnings = read_mask(path, file.size)
    desk.warnings += warnings
    desk.note(source, "mask")
    return mask


def shelved_mask(mask: Image.Image, feather: int | None, desk: InputPreparation) -> dict[str, Any]:
    """What stands in the request for this mask, once it fades as asked."""
    if feather is not None:
        desk.receipt["feather"] = ParameterOutcome(outcome="applied", asked=feather)
    data = encode_png(feathered(mask, feather or 0))
    return {"mask": desk.shelve(data, "mask.png"), "feather": None}

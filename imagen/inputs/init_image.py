"""The initial image and its mask, at the size that is generated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageChops, ImageFilter

from imagen.core.capabilities import ParameterOutcome
from imagen.core.request import INTERPOLATIONS
from imagen.errors import RequestError
from imagen.inputs.decode import cover, encode_png, flatten
from imagen.inputs.sizes import ImageSize
from imagen.inputs.upscale import resize

if TYPE_CHECKING:
    from imagen.core.request import Upscale
    from imagen.inputs.decode import DecodedImage
    from imagen.inputs.prepare import InputPreparation

HYBRID_STRENGTH = 0.3
"""The default denoising strength after upscaling."""
_WHITE = _OPAQUE = 250
_ASPECT_TOLERANCE = 0.01


def prepare_init_image(
    work: InputPreparation, file: DecodedImage, upscale: Upscale | None
) -> tuple[dict[str, object], ImageSize]:
    """The request's values for the image and its mask, and the size that is generated.

    With `upscale` the image is interpolated first.
    """
    request, rules = work.request, work.rules
    # Transparent areas may be just what a mask repaints: no warning then.
    image = flatten(file.image) if request.mask else work.flatten(file, "image")
    values: dict[str, object] = {}
    if upscale is not None:
        work.receipt["upscale"] = ParameterOutcome(outcome="applied", asked=upscale.model_dump())
        values["strength"] = HYBRID_STRENGTH if request.strength is None else request.strength
        values["upscale"] = None
        method = upscale.method or INTERPOLATIONS[0]
        image = resize(image, file.source.name, upscale.factor, method)
    if rules is not None:
        size = ImageSize(*image.size)
        if request.width is not None or request.height is not None:
            wanted = rules.requested(request.width, request.height, size)
        else:
            wanted = rules.own(size) if upscale is None else rules.fitted(size)
        warn_of_scaling(work, file, size, wanted)
        image = cover(image, wanted)
    values["image"] = work.store(file, image)
    if request.mask is not None:
        mask = cover(read_mask(work, request.mask, file.size), image.size)
        if request.feather is not None:
            work.receipt["feather"] = ParameterOutcome(outcome="applied", asked=request.feather)
        feathered = feather(mask, request.feather or 0)
        values |= {"mask": work.store_bytes(encode_png(feathered), "mask.png"), "feather": None}
    return values, ImageSize(*image.size)


def warn_of_scaling(
    work: InputPreparation, file: DecodedImage, old: ImageSize, new: ImageSize
) -> None:
    """Add a warning if the size changes by more than rounding."""
    step = work.rules.step if work.rules else 0
    if abs(old.width - new.width) < step and abs(old.height - new.height) < step:
        return
    scaled = old.times(max(new.width / old.width, new.height / old.height))
    is_cropped = scaled.width - new.width >= step or scaled.height - new.height >= step
    how = "scaled and cropped" if is_cropped else "scaled"
    work.warnings.append(f"image: {file.source.name} ({old}) was {how} to {new}.")


def read_mask(work: InputPreparation, path: str, size: ImageSize) -> Image.Image:
    """The mask of an image of this size: one channel, white where the image is repainted.

    Raises RequestError for another aspect ratio, and for a mask that repaints nothing.
    """
    file = work.read(path, "mask")
    name = file.source.name
    mask = _mask_from_transparency(work, file) if file.is_transparent else file.image.convert("L")
    extrema = mask.getextrema()
    if extrema == (0, 0):
        raise RequestError(
            f"mask: {name} is all black, so nothing would be repainted.",
            remedy="White areas are repainted, black areas are kept.",
        )
    if extrema == (255, 255):
        work.warnings.append(f"mask: {name} is all white, so the whole image is repainted.")
    if file.size == size:
        return mask
    if file.size.differs_in_shape(size, _ASPECT_TOLERANCE):
        raise RequestError(
            f"mask: {name} is {file.size} pixels, but the image is {size}.",
            remedy="Give a mask with the size of the image, or at least its aspect ratio.",
        )
    work.warnings.append(f"mask: {name} ({file.size}) was scaled to the image's {size}.")
    return mask.resize(size, Image.Resampling.LANCZOS)


def feather(mask: Image.Image, pixels: int) -> Image.Image:
    """Fade the white areas out over this many pixels beyond their edges; they stay white."""
    if pixels == 0:
        return mask
    blurred = mask.filter(ImageFilter.GaussianBlur(pixels / 2))
    # A straight edge is half white after the blur; doubled, it is white, and fades from there on.
    return ImageChops.lighter(mask, blurred.point([min(255, 2 * shade) for shade in range(256)]))


def _mask_from_transparency(work: InputPreparation, file: DecodedImage) -> Image.Image:
    """White strokes on transparency are the mask; otherwise the transparent areas are.

    ComfyUI's editor saves the second kind.
    """
    alpha = file.image.getchannel("A")
    shown = file.image.convert("RGB").convert("L")
    hidden = alpha.point([255 * (opacity < _OPAQUE) for opacity in range(256)])
    darkest = ImageChops.lighter(shown, hidden).getextrema()[0]
    if isinstance(darkest, int) and darkest >= _WHITE:
        return flatten(file.image, "black").convert("L")
    work.warnings.append(
        f"mask: {file.source.name} is partly transparent; its transparent areas are repainted."
    )
    return ImageChops.invert(alpha)

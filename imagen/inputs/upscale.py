"""Upscale by interpolation, which needs no engine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from PIL import Image

from imagen.core.capabilities import Capabilities, Parameter, ParameterOutcome, resolve_parameters
from imagen.core.request import INTERPOLATIONS, LARGEST_SIDE, Upscale
from imagen.core.result import Facts, Output, Result
from imagen.core.text import did_you_mean
from imagen.core.ticket import Ticket, new_id
from imagen.errors import RequestError
from imagen.inputs.decode import as_png_file, decode_file, describe_input
from imagen.inputs.sizes import ImageSize

if TYPE_CHECKING:
    from imagen.core.image_file import ImageFile
    from imagen.core.request import Request
    from imagen.core.ticket import InputImage

INTERPOLATION_BACKEND = "interpolation"
"""Takes the place of a backend's name in the record."""
INTERPOLATION_CAPABILITIES = Capabilities(
    tasks=("upscale",),
    parameters={
        "image": Parameter(type="image", description="The image to upscale."),
        "upscale": Parameter(description="The method and the factor."),
    },
)
FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
    "area": Image.Resampling.BOX,
}


def run_interpolation(request: Request) -> tuple[Ticket, Result]:
    """Upscale the initial image, as a backend would; all other parameters are dropped.

    Raises RequestError for an image that cannot be read, and for an unknown method.
    """
    started = time.monotonic()
    upscale = request.upscale or Upscale()
    method = upscale.method or INTERPOLATIONS[0]
    # A prompt or a strength would make another task of it.
    plain = request.model_copy(update={"upscale": upscale, "strength": None, "prompt": None})
    used, receipt = resolve_parameters(plain, INTERPOLATION_CAPABILITIES)
    for name, asked in (("prompt", request.prompt), ("strength", request.strength)):
        if asked not in ("", None):
            receipt[name] = ParameterOutcome(
                outcome="dropped", asked=asked, why="interpolation does not use it"
            )
    upscaled, source, warnings = upscale_file(used["image"], upscale.factor, method)
    output = Output(data=upscaled.data, media_type=upscaled.media_type)
    facts = Facts(
        model=method,
        width=upscaled.width,
        height=upscaled.height,
        latency_seconds=time.monotonic() - started,
        cost_usd=0.0,
    )
    ticket = Ticket(
        id=new_id(),
        backend=INTERPOLATION_BACKEND,
        request=request.exactly(used),
        receipt=receipt,
        inputs=(source,),
        warnings=warnings,
    )
    return ticket, Result(outputs=(output,), facts=facts, warnings=warnings)


def upscale_file(
    path: str, factor: float, method: str = INTERPOLATIONS[0]
) -> tuple[ImageFile, InputImage, tuple[str, ...]]:
    """The upscaled image as a PNG, what the record keeps of the file, and warnings.

    The result is upright and keeps transparency. Raises RequestError for an image that cannot be
    read, an unknown method, and a size beyond imagen's limit.
    """
    file = decode_file(path, "image")
    name = file.source.name
    upscaled = as_png_file(resize(file.image, name, factor, method), name)
    return upscaled, describe_input(file, "image"), file.warnings


def resize(image: Image.Image, name: str, factor: float, method: str) -> Image.Image:
    """The image with its sides multiplied by `factor`; `name` is for errors."""
    if method not in FILTERS:
        raise RequestError(
            f"Unknown interpolation {method!r}.{did_you_mean(method, INTERPOLATIONS)}",
            remedy=f"Known: {', '.join(INTERPOLATIONS)}.",
        )
    size = ImageSize(*image.size)
    wanted = size.times(factor)
    if max(wanted) > LARGEST_SIDE:
        raise RequestError(
            f"image: {name} is {size} pixels; {factor:g} times that is {wanted}, "
            f"but no side may be more than {LARGEST_SIDE}."
        )
    return image if wanted == size else image.resize(wanted, FILTERS[method])

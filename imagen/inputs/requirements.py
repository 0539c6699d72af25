"""What parameters require of each other: refuse a request, or drop a parameter with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen.core.capabilities import ParameterOutcome, Receipt
from imagen.core.request import INTERPOLATIONS
from imagen.errors import RequestError

if TYPE_CHECKING:
    from imagen.core.capabilities import Capabilities
    from imagen.core.request import Request

_VARIATION_STRENGTH = 0.3
"""The default if only the variation seed is given."""
_NEED_AN_IMAGE = {
    "mask": "A mask marks areas of the initial image",
    "outpaint": "Outpainting extends the initial image",
    "upscale": "Upscaling enlarges the initial image",
    "restore": "Face restoration works on the initial image",
    "preprocess": "A control image is computed from the initial image",
}


def check_request(request: Request) -> tuple[Request, Receipt]:
    """Complete a request and drop what has no effect, with the outcome of what was dropped.

    Raises RequestError if a parameter needs an initial image and there is none.
    """
    if request.image is None:
        for name, sentence in _NEED_AN_IMAGE.items():
            if getattr(request, name) is not None:
                raise RequestError(
                    f"{sentence}, but there is none.",
                    remedy="Add the initial image with --image, or image in the request.",
                )
    unused: dict[str, str] = {}
    if request.strength is not None and request.image is None and not request.references:
        unused["strength"] = "there is no initial image"
    if request.feather is not None and request.mask is None and request.outpaint is None:
        unused["feather"] = "there is no mask to feather"
    values: dict[str, object] = dict.fromkeys(unused)
    if request.variation_seed is not None and request.variation_strength is None:
        values["variation_strength"] = _VARIATION_STRENGTH
    receipt = {
        name: ParameterOutcome(outcome="dropped", asked=getattr(request, name), why=why)
        for name, why in unused.items()
    }
    return (request.with_values(values) if values else request), receipt


def upscales_before_img2img(request: Request, capabilities: Capabilities) -> bool:
    """Whether imagen interpolates the image first and the backend then redraws it.

    A backend whose image-to-image takes `upscale` does both itself.
    """
    return (
        request.upscale is not None
        and "upscale" not in capabilities.parameters
        and (request.upscale.method or INTERPOLATIONS[0]) in INTERPOLATIONS
        and request.task == "image-to-image"
    )


def image_parameters(request: Request, capabilities: Capabilities) -> dict[str, str]:
    """The files given for the backend's own image parameters, by parameter."""
    return {
        name: value
        for name, value in request.extra.items()
        if isinstance(value, str)
        and value
        and name in capabilities.parameters
        and capabilities.parameters[name].type == "image"
    }

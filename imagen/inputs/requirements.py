"""What parameters require of each other: each either refused or dropped with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.core.capabilities import ParameterOutcome, Receipt
from imagen.core.request import INTERPOLATIONS
from imagen.errors import RequestError

if TYPE_CHECKING:
    from imagen.core.capabilities import Capabilities
    from imagen.core.request import Request

_VARIATION = 0.3
"""The second noise's share, where only its seed is asked for."""
_OF_AN_IMAGE = {
    "mask": "A mask says what to redraw of the initial image",
    "outpaint": "Outpainting goes on beyond the initial image",
    "upscale": "Upscaling enlarges the initial image",
    "restore": "Restoring mends the faces of the initial image",
    "preprocess": "A control picture is made of the initial image",
}


def check_request(request: Request) -> tuple[Request, Receipt]:
    """The request with its parameters in agreement, and what became of those that lack another.

    Raises RequestError where what was asked for can't be meant without an initial image.
    """
    _refuse_without_image(request)
    idle = _idle(request)
    values: dict[str, Any] = dict.fromkeys(idle)
    if request.variation_seed is not None and request.variation_strength is None:
        values["variation_strength"] = _VARIATION
    receipt = {
        name: ParameterOutcome(outcome="dropped", asked=getattr(request, name), why=why)
        for name, why in idle.items()
    }
    return (request.with_values(values) if values else request), receipt


def upscales_before_img2img(request: Request, capabilities: Capabilities) -> bool:
    """Whether the image is enlarged by interpolation first, and then redrawn a little.

    A backend whose image-to-image takes `upscale` enlarges it itself.
    """
    return (
        request.upscale is not None
        and "upscale" not in capabilities.parameters
        and (request.upscale.method or INTERPOLATIONS[0]) in INTERPOLATIONS
        and request.task == "image-to-image"
    )


def _refuse_without_image(request: Request) -> None:
    if request.image is not None:
        return
    for name, what in _OF_AN_IMAGE.items():
        if getattr(request, name) is not None:
            raise RequestError(
                f"{what}, and there is none.", remedy="Give the initial image too: image, --image."
            )


def _idle(request: Request) -> dict[str, str]:
    """Why a parameter has nothing to do here, for each that has not."""
    found: dict[str, str] = {}
    if request.strength is not None and request.image is None and not request.references:
        found["strength"] = "there is no initial image to leave"
    if request.feather is not None and request.mask is None and request.outpaint is None:
        found["feather"] = "there is no mask whose edge could fade"
    return found

"""Prepare the images that a request names, so that every engine can take them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imagen.core.request import LARGEST_SIDE
from imagen.inputs.requirements import (
    check_request,
    image_parameters,
    upscales_before_img2img,
)
from imagen.inputs.sizes import resolve_aspect

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.core.capabilities import Capabilities, Receipt
    from imagen.core.request import Request
    from imagen.core.ticket import InputImage
    from imagen.inputs.cache import cache_image
    from imagen.inputs.decode import decode_file
    from imagen.inputs.locate import locate_images
else:
    _MODULES = {"cache_image": "cache", "decode_file": "decode", "locate_images": "locate"}

    def __getattr__(name: str) -> object:
        """Load what needs Pillow or is seldom used on first access."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"imagen.inputs.{_MODULES[name]}"), name)


__all__ = [
    "PreparedInputs",
    "cache_image",
    "check_request",
    "decode_file",
    "image_parameters",
    "locate_images",
    "prepare_inputs",
    "resolve_aspect",
    "upscales_before_img2img",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedInputs:
    """A request whose images are ready, and what was done to them."""

    request: Request
    receipt: Receipt = field(default_factory=dict)
    """The outcome of the parameters that are completed here: feather, outpaint, upscale."""
    warnings: tuple[str, ...] = ()
    inputs: tuple[InputImage, ...] = ()
    """The user's own files."""


def prepare_inputs(
    request: Request,
    capabilities: Capabilities,
    folder: Path,
    *,
    largest: tuple[int, int] = (LARGEST_SIDE, LARGEST_SIDE),
) -> PreparedInputs:
    """Prepare the images of a request for a backend with these capabilities.

    The results are files in `folder`: upright, 8 bits per channel. The initial image is scaled to
    the size that will be generated, by default its own; the mask is a feathered single channel of
    that size; control images match it too. Outpainting becomes an image and a mask, unless the
    backend does it itself. `largest` is the largest width and height allowed.

    Raises RequestError if an image cannot be used.
    """
    several = (*request.references, *request.controls)
    if not (request.image or request.mask or several or image_parameters(request, capabilities)):
        return PreparedInputs(request=request)
    from imagen.inputs.prepare import prepare_images  # Pillow, which other requests do not need

    return prepare_images(request, capabilities, folder, largest)

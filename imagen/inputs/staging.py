"""Stages a request: each picture it names becomes a file that every engine takes as it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imagen.core.request import LARGEST_SIDE

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.core.capabilities import Capabilities, Receipt
    from imagen.core.request import Request
    from imagen.core.ticket import InputImage


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedInputs:
    """A request whose pictures are ready, and what became of them on the way."""

    request: Request
    receipt: Receipt = field(default_factory=dict)
    """Of those parameters that are done with: feather, outpaint, upscale."""
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
    """The request with its pictures made ready in `folder`, for a backend of these capabilities.

    They are upright and of eight bits; the initial image has the size to be drawn, which without
    one asked is its own; the mask is one channel of that size, feathered; control pictures have it
    too. Outpainting becomes an image and a mask, unless the backend does it itself; interpolating
    before redrawing is done. `largest` is the greatest width and height allowed. Raises
    RequestError with a sentence for a picture that can't be used.
    """
    if not _named(request, capabilities):
        return PreparedInputs(request=request)
    from imagen.inputs.ready import staged  # Pillow, which other requests do not need

    return staged(request, capabilities, folder, largest)


def _named(request: Request, capabilities: Capabilities) -> bool:
    """Whether any parameter names a picture."""
    several = (*request.references, *request.controls)
    return bool(request.image or request.mask or several or image_parameters(request, capabilities))


def image_parameters(request: Request, capabilities: Capabilities) -> dict[str, str]:
    """The files asked for by the backend's own parameters, by name."""
    return {
        name: value
        for name, value in request.extra.items()
        if isinstance(value, str)
        and value
        and name in capabilities.parameters
        and capabilities.parameters[name].type == "image"
    }

"""What a request asks for as one thing, and a workflow takes as several: by its tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.backends.comfyui.abilities import FIDELITY, RESTORER, UPSCALER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.capabilities import Parameter


def parts_of(
    asked: Mapping[str, Any], parameters: Mapping[str, Parameter], size: tuple[int, int]
) -> dict[str, Any]:
    """Values for tokens, from the structured parameters that were asked for and are taken.

    An enlarged picture's size follows from `size`, the initial one's: width and height.
    """
    found = dict(_upscale(asked.get("upscale"), parameters, size))
    if restore := asked.get("restore"):
        found |= {FIDELITY: restore.fidelity, RESTORER: restore.model}
    if outpaint := asked.get("outpaint"):
        found |= outpaint.model_dump()
    return {name: v for name, v in found.items() if name in parameters and v is not None}


def _upscale(
    upscale: Any, parameters: Mapping[str, Parameter], size: tuple[int, int]
) -> Iterator[tuple[str, Any]]:
    if upscale is None:
        return
    yield UPSCALER, upscale.method
    for name, pixels in zip(("width", "height"), size, strict=True):
        if name in parameters:
            yield name, parameters[name].fit(name, max(1, round(pixels * upscale.factor)))

"""What a request asks for as one thing, and a workflow takes as several: by its tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.backends.comfyui.capabilities import FIDELITY, RESTORER, UPSCALER
from imagen.core.capabilities import ParameterOutcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.core.capabilities import Parameter, Receipt

_TOLD = (
    ("upscale", "method", UPSCALER),
    ("upscale", "factor", "width"),
    ("restore", "model", RESTORER),
)
"""Parts whose loss would be noticed, and the token that each needs."""


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


def tell_of_lost(
    asked: Mapping[str, Any], parameters: Mapping[str, Parameter], receipt: Receipt
) -> None:
    """What of a structured parameter has no token in this workflow goes into the receipt."""
    for name, part, token in _TOLD:
        value: Any = asked.get(name)
        given = getattr(value, part, None)
        if given is not None and token not in parameters:
            used = value.model_copy(update={part: None}).model_dump(exclude_none=True)
            why = f"this workflow has a {part} of its own"
            receipt[name] = ParameterOutcome(outcome="mapped", asked=value, used=used, why=why)


def _upscale(
    upscale: Any, parameters: Mapping[str, Parameter], size: tuple[int, int]
) -> Iterator[tuple[str, Any]]:
    if upscale is None:
        return
    yield UPSCALER, upscale.method
    for name, pixels in zip(("width", "height"), size, strict=True):
        if name in parameters:
            yield name, parameters[name].fit(name, max(1, round(pixels * upscale.factor)))

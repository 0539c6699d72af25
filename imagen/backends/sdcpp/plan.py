"""From a request to what will be used: names, seed, size and control as the engine has them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from imagen.core.capabilities import ParameterOutcome, resolve_parameters
from imagen.core.image_file import read_image_file
from imagen.core.text import did_you_mean
from imagen.errors import RequestError
from imagen.model_files.upscalers import choose_upscaler

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.core.capabilities import Capabilities, Receipt
    from imagen.core.request import Control, Request, Upscale

_SEEDS = 2**63
_MEGAPIXEL = 1024 * 1024

Change = tuple[str, Any, ParameterOutcome]
"""A parameter, what is used for it, and what became of what was asked."""


class RequestPlan(NamedTuple):
    """All that will be used, and the receipt of it."""

    values: dict[str, Any]
    receipt: Receipt


def plan_request(request: Request, capabilities: Capabilities) -> RequestPlan:
    """What this engine makes of the request; raises RequestError where it can't be meant."""
    _refuse_senseless(request)
    asked, receipt = resolve_parameters(request, capabilities)
    parameters = capabilities.parameters.items()
    defaults = {n: known.default for n, known in parameters if known.default is not None}
    values = defaults | _size_of_image(asked, capabilities) | asked
    for name, used, fate in _changes(values, capabilities):
        values[name] = used
        if name in receipt:
            receipt[name] = fate.model_copy(update={"asked": receipt[name].asked})
    return RequestPlan(values, receipt)


def _refuse_senseless(request: Request) -> None:
    for name in ("prompt", "negative"):
        if "\0" in (getattr(request, name) or ""):
            raise RequestError(f"{name} holds a character NUL, which no program can be given.")
    if request.task in ("inpaint", "upscale") and request.image is None:
        raise RequestError(f"To {request.task} there must be an image.")


def _size_of_image(asked: Mapping[str, Any], capabilities: Capabilities) -> dict[str, int]:
    """A picture that is drawn over keeps its size, as nearly as the engine can; what is made after
    a reference has its shape, and at most a megapixel."""
    sides = [name for name in ("width", "height") if name in capabilities.parameters]
    model = asked.get("image") or next(iter(asked.get("references") or ()), None)
    if model is None or not sides or all(name in asked for name in sides):
        return {}
    picture = read_image_file(model)
    share = 1.0
    if "image" not in asked:
        share = min(1.0, math.sqrt(_MEGAPIXEL / (picture.width * picture.height)))
    sizes = {side: round(getattr(picture, side) * share) for side in sides}
    return {side: capabilities.parameters[side].fit(side, size) for side, size in sizes.items()}


def _changes(values: Mapping[str, Any], capabilities: Capabilities) -> Iterator[Change]:
    yield from _seed(values)
    if values.get("controls"):
        yield _control(values["controls"], capabilities)


def _seed(values: Mapping[str, Any]) -> Iterator[Change]:
    """The engine counts seeds in 63 bits, also those of the pictures that follow."""
    seed, last = values.get("seed"), values.get("count", 1) - 1
    if seed is not None and seed + last >= _SEEDS:
        used = seed % (_SEEDS - last)
        why = "this engine's seeds end at 2^63 - 1"
        yield "seed", used, ParameterOutcome(outcome="mapped", asked=seed, used=used, why=why)


def _control(controls: tuple[Control, ...], capabilities: Capabilities) -> Change:
    """The one control picture that the engine takes at a time."""
    first = controls[0]
    _refuse_unknown(first, capabilities)
    used = first.model_copy(update={"start": 0.0, "end": 1.0})
    reasons = []
    if len(controls) > 1:
        reasons.append("this engine takes one control picture at a time")
    if used != first:
        reasons.append("it steers from the first step to the last")
    why = " and ".join(reasons)
    outcome = "clamped" if reasons else "applied"
    shown = (used,) if reasons else None
    return (
        "controls",
        (used,),
        ParameterOutcome(outcome=outcome, asked=controls, used=shown, why=why),
    )


def _refuse_unknown(control: Control, capabilities: Capabilities) -> None:
    kinds = capabilities.controls
    if control.kind not in kinds:
        raise RequestError(
            f"There is no control net for {control.kind!r}.{did_you_mean(control.kind, kinds)}",
            remedy=f"Known: {', '.join(kinds)}.",
        )
    if control.preprocess and control.kind not in capabilities.preprocesses_in_run:
        able = ", ".join(capabilities.preprocesses_in_run) or "none"
        raise RequestError(
            f"This engine can't make the {control.kind} picture itself.",
            remedy=f"Give a ready one. It makes: {able}.",
        )


def choose_upscale_model(upscale: Upscale, known: Mapping[str, Any]) -> str:
    """The name of the model that enlarges: the one asked for, or the first."""
    if upscale.method is None:
        return next(iter(known))
    near = (name for name in known if upscale.method in (name, name.rpartition(".")[0]))
    found = next(near, None) or choose_upscaler(upscale.method, known, upscale.factor)
    if found is None:
        raise RequestError(
            f"There is no model {upscale.method!r} that enlarges."
            f"{did_you_mean(upscale.method, [name.rpartition('.')[0] for name in known])}",
            remedy=f"Known: {', '.join(known)}.",
        )
    return found

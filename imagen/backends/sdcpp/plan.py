"""From a request to the values that the engine will use: seed, size and control image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from imagen.core.capabilities import ParameterOutcome, resolve_parameters
from imagen.core.image_file import read_image_file
from imagen.core.text import did_you_mean
from imagen.errors import RequestError
from imagen.model_files.upscalers import choose_upscaler

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.core.capabilities import Capabilities, Receipt
    from imagen.core.request import Control, Request, Upscale

_LARGEST_SEED = 2**63 - 1
_MEGAPIXEL = 1024 * 1024


class SdPlan(NamedTuple):
    """Everything that will be used, and its receipt."""

    values: dict[str, Any]
    receipt: Receipt


def plan_request(request: Request, capabilities: Capabilities) -> SdPlan:
    """Resolve a request; raises RequestError for one that this engine cannot run."""
    for name in ("prompt", "negative"):
        if "\0" in (getattr(request, name) or ""):
            raise RequestError(f"{name} holds a NUL character, which programs cannot take.")
    if request.task in ("inpaint", "upscale") and request.image is None:
        raise RequestError(f"{request.task} needs an image.")
    requested, receipt = resolve_parameters(request, capabilities)
    parameters = capabilities.parameters.items()
    defaults = {name: one.default for name, one in parameters if one.default is not None}
    values = defaults | _size_of_image(requested, capabilities) | requested
    changes = {"controls": _choose_control(values, capabilities)}
    # The engine has seeds of 63 bits, also for the images that follow the first.
    seed, last_seed = values.get("seed"), _LARGEST_SEED - (values.get("count", 1) - 1)
    if seed is not None and seed > last_seed:
        why = "this engine's largest seed is 2^63 - 1"
        used = seed % (last_seed + 1)
        changes["seed"] = ParameterOutcome(outcome="mapped", asked=seed, used=used, why=why)
    for name, outcome in changes.items():
        if outcome is None:
            continue
        if outcome.outcome != "applied":
            values[name] = outcome.used
        if name in receipt:
            receipt[name] = outcome.model_copy(update={"asked": receipt[name].asked})
    return SdPlan(values, receipt)


def _size_of_image(requested: Mapping[str, Any], capabilities: Capabilities) -> dict[str, int]:
    """An initial image keeps its size as far as the engine allows; a reference gives its shape,
    and at most a megapixel."""
    sides = [name for name in ("width", "height") if name in capabilities.parameters]
    source = requested.get("image") or next(iter(requested.get("references") or ()), None)
    if source is None or not sides or all(name in requested for name in sides):
        return {}
    image = read_image_file(source)
    scale = 1.0
    if "image" not in requested:
        scale = min(1.0, math.sqrt(_MEGAPIXEL / (image.width * image.height)))
    sizes = {"width": round(image.width * scale), "height": round(image.height * scale)}
    return {side: capabilities.parameters[side].fit(side, sizes[side]) for side in sides}


def _choose_control(
    values: Mapping[str, Any], capabilities: Capabilities
) -> ParameterOutcome | None:
    """The one control image that the engine takes, from the first step to the last."""
    controls: tuple[Control, ...] = values.get("controls") or ()
    if not controls:
        return None
    first = controls[0]
    if first.kind not in capabilities.controls:
        raise RequestError(
            f"There is no ControlNet for {first.kind!r}."
            f"{did_you_mean(first.kind, capabilities.controls)}",
            remedy=f"Known: {', '.join(capabilities.controls)}.",
        )
    if first.preprocess and first.kind not in capabilities.preprocesses_in_run:
        possible = ", ".join(capabilities.preprocesses_in_run) or "none"
        raise RequestError(
            f"This engine cannot make the {first.kind} control image itself.",
            remedy=f"Provide a finished control image. The engine makes: {possible}.",
        )
    used = first.model_copy(update={"start": 0.0, "end": 1.0})
    reasons = []
    if len(controls) > 1:
        reasons.append("this engine takes one control image")
    if used != first:
        reasons.append("it applies from the first step to the last")
    if not reasons:
        return ParameterOutcome(outcome="applied", asked=controls)
    why = " and ".join(reasons)
    return ParameterOutcome(outcome="clamped", asked=controls, used=(used,), why=why)


def choose_upscale_model(upscale: Upscale, known: Mapping[str, object]) -> str:
    """The name of the upscale model: the requested one, or the first."""
    method = upscale.method
    if method is None:
        return next(iter(known))
    for name in known:
        if method in (name, name.rpartition(".")[0]):
            return name
    if chosen := choose_upscaler(method, known, upscale.factor):
        return chosen
    hint = did_you_mean(method, [name.rpartition(".")[0] for name in known])
    raise RequestError(
        f"Unknown upscale model {method!r}.{hint}", remedy=f"Known: {', '.join(known)}."
    )

"""From what was asked to a complete request: style, defaults, seed and limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen.core.capabilities import NEEDS_PROMPT, ParameterOutcome
from imagen.core.request import LARGEST_SEED
from imagen.core.text import did_you_mean
from imagen.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imagen.config import Limits, Settings, Style
    from imagen.core.capabilities import Capabilities, Parameter, Receipt
    from imagen.core.request import Request

_STYLE_TEXTS = ("prompt", "negative")
_WITHOUT_TEXTS = ("upscale", "restore", "preprocess")
"""Tasks that draw nothing anew: a style has no say in them."""
_SIDES = ("width", "height")
_SECOND_TEXTS = {"prompt_2": "prompt", "negative_2": "negative"}
"""What a second text encoder is given where nothing else is asked: the same as the first."""


_UNASKED = {"seed": -1, "variation_seed": -1, "steps": 0}
"""Values that ask for what is used where nothing is asked."""


def draw_seed() -> int:
    """A random seed up to 2^53 - 1: what ComfyUI's own page can still show exactly."""
    from random import SystemRandom

    return SystemRandom().randrange(2**53)


def resolve_request(
    request: Request,
    settings: Settings,
    capabilities: Capabilities,
    *,
    draw: Callable[[], int] = draw_seed,
) -> Request:
    """The request with its style applied, its defaults filled in and its seeds drawn.

    Resolving what is resolved changes nothing. Raises RequestError for an unknown style and for
    what the configured limits don't allow.
    """
    complete = _completed(apply_style(request, settings), capabilities)
    seeds = {
        name: draw() % _seeds(capabilities.parameters[name])
        for name in _undrawn(complete, capabilities)
    }
    complete = complete.with_values(seeds) if seeds else complete
    check_limits(complete, settings.limits)
    return complete


def draw_over_default(request: Request, asked: Request, capabilities: Capabilities) -> Request:
    """`asked` with a drawn seed where the request's is -1 and the backend has a default seed."""
    parameter = capabilities.parameters.get("seed")
    if request.seed != -1 or parameter is None or parameter.default is None:
        return asked
    return asked.with_values({"seed": draw_seed() % _seeds(parameter)})


def apply_style(request: Request, settings: Settings) -> Request:
    """The request with its style applied, and none left; raises RequestError for an unknown one.

    A seed of -1 and 0 steps, which go before those of the style, are no longer asked for.
    """
    request = _with_style(request, settings)
    unasked = {name: None for name, value in _UNASKED.items() if getattr(request, name) == value}
    return request.with_values(unasked) if unasked else request


def _with_style(request: Request, settings: Settings) -> Request:
    if request.style is None:
        return request
    style = settings.styles.get(request.style)
    if style is None:
        known = sorted(settings.styles)
        raise RequestError(
            f"There is no style called {request.style!r}.{did_you_mean(request.style, known)}",
            remedy=f"Known: {', '.join(known)}." if known else "The configuration has no styles.",
        )
    return request.with_values(_style_values(style, request) | {"style": None})


def style_default_prompt(
    asked: Request, style: Style, capabilities: Capabilities
) -> tuple[Request, Receipt]:
    """The request with the style's text around the backend's own prompt, where none was asked for.

    A receipt says so where the backend takes no prompt for the style's text to go around.
    """
    if asked.prompt is not None or style.prompt == "{prompt}" or asked.task in _WITHOUT_TEXTS:
        return asked, {}
    parameter = capabilities.parameters.get("prompt")
    if parameter is None:
        why = "this backend has no prompt for its text"
        return asked, {"style": ParameterOutcome(outcome="dropped", asked=style.prompt, why=why)}
    if parameter.default is None and asked.task in NEEDS_PROMPT:
        return asked, {}  # refused when the request is prepared
    text = style.prompt.replace("{prompt}", str(parameter.default or ""))
    return asked.with_values({"prompt": text}), {}


def _style_values(style: Style, request: Request) -> dict[str, object]:
    """The style's texts around those asked for; its other values where none is asked for."""
    values: dict[str, object] = {
        name: value
        for name, value in style
        if name not in _STYLE_TEXTS and value is not None and getattr(request, name) is None
    }
    if request.image is None or request.task in _WITHOUT_TEXTS:
        values.pop("strength", None)
    if request.aspect is not None:
        values = {name: value for name, value in values.items() if name not in _SIDES}
    if request.task in _WITHOUT_TEXTS:
        return values
    negatives = [text for text in (style.negative, request.negative) if text]
    if negatives:
        values["negative"] = ", ".join(negatives)
    if request.prompt is not None:
        values["prompt"] = style.prompt.replace("{prompt}", request.prompt)
    return values


def _completed(request: Request, capabilities: Capabilities) -> Request:
    asked = request.asked()
    defaults = {
        name: parameter.default
        for name, parameter in capabilities.parameters.items()
        if name not in asked and parameter.default is not None
        if not _makes_another_task(request, name, parameter.default)
    }
    complete = request.with_values(defaults)
    second = {
        name: getattr(complete, first)
        for name, first in _SECOND_TEXTS.items()
        if name not in asked and name in capabilities.parameters
    }
    return complete.with_values(second) if second else complete


def _makes_another_task(request: Request, name: str, default: object) -> bool:
    """An engine's default says how it does a task, never which: a strength is no wish to redraw."""
    return request.model_copy(update={name: default}).task != request.task


def _seeds(parameter: Parameter | None) -> int:
    """How many seeds there are, from 0 on: an engine may take fewer than a request."""
    greatest = LARGEST_SEED if parameter is None or parameter.max is None else int(parameter.max)
    return greatest + 1


def _undrawn(request: Request, capabilities: Capabilities) -> list[str]:
    """The seeds that are needed and were not asked for."""
    is_varied = request.variation_strength is not None
    needed = {"seed": True, "variation_seed": is_varied}
    return [
        name
        for name, is_needed in needed.items()
        if is_needed and getattr(request, name) is None and name in capabilities.parameters
    ]


def check_limits(request: Request, limits: Limits) -> None:
    """Raises RequestError where the request exceeds a configured limit, or its own."""
    for name, most in (("width", limits.max_width), ("height", limits.max_height)):
        value = getattr(request, name)
        if value is not None and value > most:
            raise RequestError(
                f"{name} {value} is more than the {most} that limits.max_{name} allows."
            )
    compute = request.compute or 0
    own = ("max_compute", request.max_compute)
    for name, allowed in (own, ("limits.max_compute", limits.max_compute)):
        if allowed is not None and compute > allowed:
            raise RequestError(
                f"{request.width} × {request.height} pixels × {request.steps} steps is a compute "
                f"of {compute:g}, more than the {allowed:g} that {name} allows.",
                remedy="Ask for a smaller size or fewer steps.",
            )


def split_runs(request: Request, capabilities: Capabilities) -> Iterator[Request]:
    """The runs that make the images of the request: one each, or as many as a batch holds.

    Run after run goes on with the seed that follows. Images share a run where the request wants a
    latent batch, and where the backend's batches give each image that its seed gives alone.
    """
    count, seeds = request.count or 1, _seeds(capabilities.parameters.get("seed"))
    parameter = capabilities.parameters.get("count")
    is_batch = request.latent_batch or capabilities.batch_seeds
    most = int(parameter.max or count) if parameter and is_batch else 1
    if count <= most:
        yield request if parameter else request.with_values({"count": None})
        return
    for first in range(0, count, most):
        seed = request.seed
        if first and seed is not None:
            seed = (seed + first) % seeds
        size = min(most, count - first) if parameter else None
        yield request.with_values({"seed": seed, "count": size})

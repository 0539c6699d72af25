"""Complete a request: style, defaults, seeds, limits, and the jobs that it needs."""

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

_WITHOUT_PROMPT = ("upscale", "restore", "preprocess")
"""Tasks that draw nothing new, so that the texts of a style do not apply."""
_SECOND_PROMPTS = {"prompt_2": "prompt", "negative_2": "negative"}
"""A second text encoder gets the text of the first unless the request has its own."""
_UNSET = {"seed": -1, "variation_seed": -1, "steps": 0}
"""Values that stand for "not set", in spite of a style."""


def draw_seed() -> int:
    """A random seed up to 2^53 - 1, the largest that ComfyUI's page shows exactly."""
    from random import SystemRandom

    return SystemRandom().randrange(2**53)


def draw_small_seed() -> int:
    """A random seed that every engine accepts: some have 31 bits for it."""
    return draw_seed() % 2**31


def apply_style(request: Request, settings: Settings) -> Request:
    """The request with the values of its style; raises RequestError for an unknown style."""
    if request.style is not None:
        style = settings.styles.get(request.style)
        if style is None:
            known = sorted(settings.styles)
            raise RequestError(
                f"Unknown style {request.style!r}.{did_you_mean(request.style, known)}",
                remedy=f"Known: {', '.join(known)}."
                if known
                else "The configuration has no styles.",
            )
        # What the request does not set, and the texts of the style around those of the request.
        values: dict[str, object] = {
            name: value
            for name, value in style
            if name not in ("prompt", "negative")
            and value is not None
            and getattr(request, name) is None
        }
        takes_prompt = request.task not in _WITHOUT_PROMPT
        if request.image is None or not takes_prompt:
            values.pop("strength", None)
        if request.aspect is not None:
            values.pop("width", None)
            values.pop("height", None)
        negatives = [text for text in (style.negative, request.negative) if text]
        if negatives and takes_prompt:
            values["negative"] = ", ".join(negatives)
        if request.prompt is not None and takes_prompt:
            values["prompt"] = style.prompt.replace("{prompt}", request.prompt)
        request = request.with_values(values | {"style": None})
    unset = {name: None for name, value in _UNSET.items() if getattr(request, name) == value}
    return request.with_values(unset) if unset else request


def style_default_prompt(
    request: Request, style: Style, capabilities: Capabilities
) -> tuple[Request, Receipt]:
    """The request with the text of a style around the backend's own prompt, if it has none itself.

    The receipt says so if the backend takes no prompt.
    """
    if request.prompt is not None or style.prompt == "{prompt}" or request.task in _WITHOUT_PROMPT:
        return request, {}
    parameter = capabilities.parameters.get("prompt")
    if parameter is None:
        why = "this backend takes no prompt"
        return request, {"style": ParameterOutcome(outcome="dropped", asked=style.prompt, why=why)}
    if parameter.default is None and request.task in NEEDS_PROMPT:
        return request, {}  # refused later, for want of a prompt
    text = style.prompt.replace("{prompt}", str(parameter.default or ""))
    return request.with_values({"prompt": text}), {}


def draw_over_default(original: Request, request: Request, capabilities: Capabilities) -> Request:
    """The request with a random seed, if the original asks for one (-1) and the backend would use
    its own default seed."""
    parameter = capabilities.parameters.get("seed")
    if original.seed != -1 or parameter is None or parameter.default is None:
        return request
    return request.with_values({"seed": draw_seed() % count_seeds(parameter)})


def resolve_request(
    request: Request,
    settings: Settings,
    capabilities: Capabilities,
    *,
    draw: Callable[[], int] = draw_seed,
) -> Request:
    """The request with its style applied, defaults filled in and seeds drawn.

    Resolving twice changes nothing. Raises RequestError for an unknown style and for a request
    that exceeds a configured limit.
    """
    request = apply_style(request, settings)
    given = request.asked()
    # A default says how the engine does a task, and never turns the request into another task.
    complete = request.with_values(
        {
            name: parameter.default
            for name, parameter in capabilities.parameters.items()
            if name not in given and parameter.default is not None
            if request.model_copy(update={name: parameter.default}).task == request.task
        }
    )
    filled: dict[str, object] = {
        name: getattr(complete, first)
        for name, first in _SECOND_PROMPTS.items()
        if name not in given and name in capabilities.parameters
    }
    is_varied = complete.variation_strength is not None
    for name in ("seed", "variation_seed") if is_varied else ("seed",):
        parameter = capabilities.parameters.get(name)
        if parameter is not None and getattr(complete, name) is None:
            filled[name] = draw() % count_seeds(parameter)
    complete = complete.with_values(filled) if filled else complete
    check_limits(complete, settings.limits)
    return complete


def count_seeds(parameter: Parameter | None) -> int:
    """How many seeds an engine takes, from 0: some take fewer than a request can hold."""
    largest = LARGEST_SEED if parameter is None or parameter.max is None else int(parameter.max)
    return largest + 1


def check_limits(request: Request, limits: Limits) -> None:
    """Raises RequestError if the request exceeds a configured limit or its own."""
    for name, limit in (("width", limits.max_width), ("height", limits.max_height)):
        value = getattr(request, name)
        if value is not None and value > limit:
            raise RequestError(f"{name} {value} exceeds limits.max_{name}, which is {limit}.")
    compute = request.compute or 0
    own = ("max_compute", request.max_compute)
    for name, allowed in (own, ("limits.max_compute", limits.max_compute)):
        if allowed is not None and compute > allowed:
            raise RequestError(
                f"{request.width} × {request.height} pixels × {request.steps} steps need a compute "
                f"of {compute:g}, which exceeds {name}, {allowed:g}.",
                remedy="Request a smaller size or fewer steps.",
            )


def split_runs(request: Request, capabilities: Capabilities) -> Iterator[Request]:
    """One request for each job: one image each, or as many as a batch of the engine holds.

    Each job starts with the seed after the previous job's last. Images share a job if the request
    asks for a latent batch, or if the engine's batches give each image its own seed.
    """
    count, seeds = request.count or 1, count_seeds(capabilities.parameters.get("seed"))
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

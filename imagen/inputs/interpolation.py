"""Enlarging without an engine: a ticket and a result, as a backend would give them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from imagen import inputs
from imagen.core.capabilities import Capabilities, Parameter, ParameterOutcome, resolve_parameters
from imagen.core.request import INTERPOLATIONS, Upscale
from imagen.core.result import Facts, Output, Result
from imagen.core.ticket import Ticket, new_id

if TYPE_CHECKING:
    from imagen.core.capabilities import Receipt
    from imagen.core.request import Request

INTERPOLATION_BACKEND = "interpolation"
"""What stands in the record where a backend's name would."""
INTERPOLATION_CAPABILITIES = Capabilities(
    tasks=("upscale",),
    parameters={
        "image": Parameter(type="image", description="What to enlarge."),
        "upscale": Parameter(description="How, and how many times."),
    },
)


def run_interpolation(request: Request) -> tuple[Ticket, Result]:
    """The initial image of the request, enlarged; all but that is dropped in the receipt.

    Raises RequestError for a picture that can't be read, and a method that is no interpolation.
    """
    began = time.monotonic()
    upscale = request.upscale or Upscale()
    method = upscale.method or INTERPOLATIONS[0]
    only = request.model_copy(update={"upscale": upscale, "strength": None, "prompt": None})
    used, receipt = resolve_parameters(only, INTERPOLATION_CAPABILITIES)
    enlarged, source, warnings = inputs.upscale_file(used["image"], upscale.factor, method)
    output = Output(data=enlarged.data, media_type=enlarged.media_type)
    facts = Facts(
        model=method,
        width=enlarged.width,
        height=enlarged.height,
        latency_seconds=time.monotonic() - began,
        cost_usd=0.0,
    )
    ticket = Ticket(
        id=new_id(),
        backend=INTERPOLATION_BACKEND,
        request=request.exactly(used),
        receipt=receipt | _in_vain(request),
        inputs=(source,),
        warnings=warnings,
    )
    return ticket, Result(outputs=(output,), facts=facts, warnings=warnings)


def _in_vain(request: Request) -> Receipt:
    """What would have made another task of it."""
    return {
        name: ParameterOutcome(
            outcome="dropped", asked=asked, why="interpolation adds nothing of its own"
        )
        for name, asked in (("prompt", request.prompt), ("strength", request.strength))
        if asked not in ("", None)
    }

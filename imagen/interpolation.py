"""Enlarging without an engine: a ticket and a result, as a backend would give them."""

from __future__ import annotations

import time
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any

from imagen import inputs
from imagen.capabilities import Capabilities, Parameter, settle
from imagen.request import INTERPOLATIONS, Upscale
from imagen.result import Facts, Output, Result
from imagen.ticket import Input, Ticket, new_id

if TYPE_CHECKING:
    from imagen.pictures import Picture
    from imagen.request import Request

BACKEND = "interpolation"
"""What stands in the record where a backend's name would."""
CAPABILITIES = Capabilities(
    tasks=("upscale",),
    parameters={
        "image": Parameter(type="image", description="What to enlarge."),
        "upscale": Parameter(description="How, and how many times."),
    },
    without={"prompt": "interpolation adds nothing of its own"},
)


def interpolated(request: Request) -> tuple[Ticket, Result]:
    """The initial image of the request, enlarged; all but that is dropped in the receipt.

    Raises RequestError for a picture that can't be read, and a method that is no interpolation.
    """
    from imagen.pictures import read_picture

    began = time.monotonic()
    upscale = request.upscale or Upscale()
    method = upscale.method or INTERPOLATIONS[0]
    picture = read_picture(request.image or "", "image")
    enlarged = inputs.enlarged(picture, upscale.factor, method)
    output = Output(data=enlarged.data, media_type=enlarged.media_type)
    facts = Facts(
        model=method,
        width=enlarged.width,
        height=enlarged.height,
        latency_seconds=time.monotonic() - began,
        cost_usd=0.0,
    )
    return _ticket(request, picture), Result(outputs=(output,), facts=facts)


def _ticket(request: Request, picture: Picture) -> Ticket:
    task: dict[str, Any] = {"prompt": "", "strength": None}
    _, receipt = settle(request.with_values(task), CAPABILITIES)
    dropped = {name: fate for name, fate in receipt.items() if name != "prompt"}
    values = {"image": request.image, "upscale": request.upscale or Upscale()}
    source = Input(
        parameter="image",
        name=PureWindowsPath(picture.name).name,
        sha256=picture.sha256,
        width=picture.width,
        height=picture.height,
    )
    return Ticket(
        id=new_id(),
        backend=BACKEND,
        request=request.exactly(values),
        receipt=dropped,
        inputs=(source,),
    )

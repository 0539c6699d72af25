"""What is known of one prediction that came to its end, its cost among it."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from imagen.backends.replicate.answers import mapping
from imagen.backends.replicate.pricing import Work, find_price, reckon
from imagen.core.image_file import DAMAGE, image_size
from imagen.core.result import Facts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from imagen.backends.replicate.answers import Prediction
    from imagen.backends.replicate.payload import Bound
    from imagen.backends.replicate.schema_cache import Kept
    from imagen.core.result import Output
    from imagen.core.ticket import Estimate, Ticket


def facts(
    ticket: Ticket,
    found: Prediction,
    outputs: Sequence[Output],
    seed: int | None,
    latency_seconds: float,
) -> Facts:
    """The facts of a prediction that succeeded."""
    sizes = [size for size in map(_size, outputs) if size is not None]
    width, height = sizes[0] if sizes else (None, None)
    cost = _cost(ticket, found, sizes)
    request = ticket.request
    return Facts(
        model=found.model or str(ticket.payload.get("model")),
        seed=seed,
        steps=request.steps,
        cfg=request.cfg,
        sampler=request.sampler,
        width=width,
        height=height,
        latency_seconds=latency_seconds,
        queued_seconds=found.queued_seconds,
        executing_seconds=found.predict_seconds,
        cost_usd=cost.usd,
        cost_basis=cost.basis,
        engine={"prediction_id": found.id, "version": found.version},
    )


def estimate(known: Kept, bound: Bound, input_pixels: Sequence[int]) -> Estimate:
    """What a prediction of this input will cost, as far as that can be told beforehand."""
    values = bound.values
    count = int(values.get("count") or 1)
    width, height = int(values.get("width") or 0), int(values.get("height") or 0)
    is_known = bool(bound.known.size.sides and width and height)
    work = Work(
        images=count,
        input_pixels=input_pixels,
        output_pixels=[width * height] * count if is_known else None,
    )
    return reckon(find_price(known.model, bound.input, hardware=known.hardware), work)


def _cost(ticket: Ticket, found: Prediction, sizes: Sequence[tuple[int, int]]) -> Estimate:
    payload = ticket.payload
    price = find_price(
        str(payload.get("model")),
        mapping(payload.get("input")),
        hardware=str(payload.get("hardware") or ""),
    )
    pixels: Any = payload.get("input_pixels") or ()
    work = Work(
        images=len(sizes) or None,
        input_pixels=pixels,
        output_pixels=[width * height for width, height in sizes] or None,
        seconds=found.predict_seconds,
    )
    return reckon(price, work)


def _size(output: Output) -> tuple[int, int] | None:
    """Width and height of a picture; None for what can't be opened as one."""
    try:
        return image_size(BytesIO(output.data))
    except DAMAGE:
        return None

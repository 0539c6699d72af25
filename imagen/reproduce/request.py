"""From a picture's record to the request that makes it again, and how much of its batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imagen.core.request import Request
from imagen.errors import RequestError
from imagen.outputs.provenance import find_provenance, request_from_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.outputs import ImageRecord

_OF_PICTURES = ("image", "mask", "feather", "outpaint", "upscale", "references", "controls")
_SHARING = ("comfyui", "replicate")
"""Kinds of engine that draw the noise of a whole batch of one seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remake:
    """What is to be asked, so that a picture comes about again."""

    request: Request
    """With its pictures by their bare names; they are yet to be found."""
    index: int = 0
    """Which picture of those that will be made is meant."""
    batch: int = 1
    """How many will be made."""
    batch_then: int = 1
    """How many were made in that run."""
    shares_noise: bool = False
    """Whether all pictures of that run came out of one latent batch."""
    unread: Mapping[str, Any] = field(default_factory=dict)
    """What the record tells and no request can ask for."""


def remade(record: ImageRecord, *, elsewhere: bool = False) -> Remake:
    """The request of a record's picture; `elsewhere`, for another backend than made it.

    The same backend is asked for all that was used; another for what was asked, with the seed.
    A picture of a batch is made alone where its seed alone gives it; else the whole batch is, as
    far as the same backend makes it. Raises RequestError for a record of ours that
    holds what no request can.
    """
    if record.source not in ("sidecar", "imagen"):
        return _foreign(record)
    values = values_again(record.request, record.resolved, record.receipt, elsewhere=elsewhere)
    index, batch = _number(record.file.get("index")), _batch(record)
    shares = batch > 1 and _shares_noise(record, index)
    if not shares or elsewhere:
        request = Request.of(values | _alone(record))
        return Remake(request=request, batch_then=batch, shares_noise=shares)
    request = Request.of(values | {"latent_batch": True})
    return Remake(request=request, index=index, batch=batch, batch_then=batch, shares_noise=True)


def refuse_untold(picture: str, told: Request, asked: Request) -> None:
    """Raises RequestError where a picture told nothing that would come about again, and nothing
    is asked for instead."""
    if told.prompt or told.seed is not None or told.image or asked.prompt or asked.image:
        return
    raise RequestError(
        f"{picture} does not tell what it shows.",
        remedy="Say that with --prompt; or, if a ComfyUI made it, send its own graph with --graph.",
    )


def values_again(
    asked: Mapping[str, Any],
    used: Mapping[str, Any],
    receipt: Mapping[str, Any],
    *,
    elsewhere: bool,
) -> dict[str, Any]:
    """The values that a sidecar's run is asked for again, by its request as asked and as used.

    Those that were used are made from the images that were given, unless the receipt says that
    these were dropped. A model belongs to the backend that has it: another uses its own.
    """
    if elsewhere or not used:
        # Of several images that were asked for, each is a run of its own with its seed.
        run = {n: used[n] for n in ("seed", "count") if n in used and (n == "seed" or n in asked)}
        return {n: v for n, v in asked.items() if not (elsewhere and n == "model")} | run
    rest = {name: value for name, value in used.items() if name not in _OF_PICTURES}
    given = (name for name in _OF_PICTURES if name in asked and not _is_dropped(receipt, name))
    return rest | {name: asked[name] for name in given}


def _is_dropped(receipt: Mapping[str, Any], name: str) -> bool:
    fate = receipt.get(name)
    return isinstance(fate, dict) and fate.get("outcome") == "dropped"


def _foreign(record: ImageRecord) -> Remake:
    told = find_provenance(record)
    request, unfit = request_from_values(told.values)
    batch = request.count or 1
    return Remake(
        request=_as_batch(request),
        batch=batch,
        batch_then=batch,
        shares_noise=batch > 1,
        unread={**told.unread, **unfit},
    )


def of_its_graph(record: ImageRecord) -> Remake:
    """The request for a workflow that is the record's own graph: what its tokens hold, and no more.

    The pictures that it was made of lie at the server, by the names that stand in the graph.
    """
    from imagen.graphs.importer.parameters import token_values  # seldom needed

    request, _ = request_from_values(token_values(record.graph))
    index, batch = _number(record.file.get("index")), request.count or 1
    return Remake(
        request=_as_batch(request),
        index=index,
        batch=batch,
        batch_then=batch,
        shares_noise=batch > 1,
    )


def _as_batch(request: Request) -> Request:
    is_batch = (request.count or 1) > 1
    return request.model_copy(update={"latent_batch": True}) if is_batch else request


def _batch(record: ImageRecord) -> int:
    return _number(record.resolved.get("count")) or 1


def _number(value: Any) -> int:
    return value if type(value) is int else 0


def _shares_noise(record: ImageRecord, index: int) -> bool:
    """As the record says; in an older one the seeds do beyond the first image, and of the first the
    kind of engine."""
    if record.resolved.get("latent_batch") is True:
        return True
    if index == 0:
        return find_provenance(record).kind in _SHARING
    return record.file.get("seed") == record.resolved.get("seed")


def _alone(record: ImageRecord) -> dict[str, Any]:
    seed = record.file.get("seed", record.resolved.get("seed"))
    return {"count": None, "latent_batch": None} | ({"seed": seed} if type(seed) is int else {})

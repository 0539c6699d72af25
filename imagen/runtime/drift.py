"""What changes if an image is generated again, beforehand and afterwards."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from imagen.core.capabilities import ParameterOutcome
from imagen.core.request import Request
from imagen.core.result import Facts
from imagen.core.ticket import InputImage, Ticket
from imagen.errors import NotFound
from imagen.jobs.submit import JobRequest, RefusedRows, SubmitOptions, plan_requests
from imagen.outputs.provenance import request_from_values
from imagen.reproduce import (
    ReproductionTarget,
    detect_drift,
    measure_similarity,
    predict_drift,
    reproduce_request,
)
from imagen.runtime.client_requests import parse_client_request
from imagen.runtime.reuse import build_request_again, load_source

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.library import LibraryImage
    from imagen.outputs import ImageRecord
    from imagen.reproduce import Drift, Similarity
    from imagen.runtime.runtime import Runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedAgain:
    """How an image would be generated again."""

    request: dict[str, object]
    backend: str
    drifts: list[Drift]
    warnings: tuple[str, ...]


def plan_again(
    image: LibraryImage, runtime: Runtime, *, backend: str = "", model: str | None = None
) -> PlannedAgain:
    """The request for an image on a backend, and what is known to differ; nothing is sent.

    Raises NotFound for an unknown backend, and what submitting the request raises.
    """
    settings = runtime.settings
    if backend and backend not in (*settings.backends, *settings.pools):
        raise NotFound(f"There is no backend {backend!r}.")
    values, name = build_request_again(image, runtime, backend)
    unchanged = _plan(values, name, runtime)
    ticket = unchanged
    if model is not None:
        values = values | {"model": model}
        ticket = _plan(values, name, runtime)
    if ticket is None or unchanged is None:  # an interpolation, which is the same everywhere
        return PlannedAgain(request=values, backend=name, drifts=[], warnings=())
    record = load_source(image, runtime).record
    target = ReproductionTarget(
        backend=ticket.backend,
        kind=_kind_of(ticket.backend, runtime),
        changed=frozenset() if model is None else frozenset({"model"}),
    )
    again = reproduce_request(record, elsewhere=record.backend not in ("", name))
    drifts = predict_drift(record, again, ticket, target, unchanged)
    return PlannedAgain(request=values, backend=name, drifts=drifts, warnings=ticket.warnings)


def compare_images(
    old: LibraryImage, new: LibraryImage, runtime: Runtime
) -> tuple[list[Drift], Similarity | None]:
    """How an image differs from the one that it was generated again from.

    The similarity is None if a file cannot be read.
    """
    first, second = load_source(old, runtime), load_source(new, runtime)
    record, ticket = first.record, _ticket_of(second.record)
    kind = _kind_of(ticket.backend, runtime)
    target = ReproductionTarget(backend=ticket.backend, kind=kind)
    again = reproduce_request(record, elsewhere=record.backend not in ("", ticket.backend))
    before = predict_drift(record, again, ticket, target, ticket)
    after = detect_drift(record, Facts.of(second.record.facts), kind, before)
    drifts = [*before, *after]
    if first.image is None or second.image is None:
        return drifts, None
    return drifts, measure_similarity(first.image, second.image)


def _plan(values: Mapping[str, object], name: str, runtime: Runtime) -> Ticket | None:
    request = parse_client_request(values, runtime)
    options = SubmitOptions(backend=name, over_budget=True)
    try:
        plans, _ = plan_requests(
            [JobRequest(request, name)], runtime.settings, options, blobs=runtime.blobs
        )
    except RefusedRows as refused:
        raise refused.rows[0].error from None
    return plans[0][0] if plans[0] else None


def _ticket_of(record: ImageRecord) -> Ticket:
    """The job that generated an image, as far as it is recorded."""
    values = record.resolved or record.request
    request, _ = request_from_values(values)
    receipt = {}
    for name, outcome in record.receipt.items():
        with suppress(ValidationError):
            receipt[name] = ParameterOutcome.model_validate(outcome)
    inputs = []
    for known in record.inputs:
        with suppress(TypeError):
            inputs.append(InputImage(**known))
    return Ticket(
        id=str(record.file.get("ticket", "")),
        backend=record.backend,
        workflow=record.workflow,
        request=Request.exactly(request.asked()),
        receipt=receipt,
        payload=dict(record.graph),
        inputs=tuple(inputs),
    )


def _kind_of(backend: str, runtime: Runtime) -> str:
    return str(runtime.settings.backends.get(backend, {}).get("type", backend))

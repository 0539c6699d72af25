"""What requests would cost and take, as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from pydantic import Field, JsonValue

from imagen.core.capabilities import ParameterOutcome
from imagen.core.json_values import json_safe
from imagen.core.ticket import Estimate, total_compute
from imagen.views.base import Moment, View

if TYPE_CHECKING:
    from imagen.core.ticket import Ticket


class PlannedGenerationView(View):
    """A generation that would be sent."""

    backend: str
    request: dict[str, JsonValue] = Field(description="Every value that would be used.")
    receipt: dict[str, ParameterOutcome] = Field(description="What becomes of each parameter.")
    inputs: tuple[dict[str, JsonValue], ...] = Field(description="Its input images.")
    warnings: tuple[str, ...]
    compute: float | None = Field(description="Megapixels × steps; null if unknown.")
    estimate: Estimate | None = Field(description="Its cost; null if the engine is free.")

    @classmethod
    def of(cls, ticket: Ticket) -> PlannedGenerationView:
        return cls(
            backend=ticket.backend,
            request=json_safe(ticket.request.model_dump(mode="json", exclude_defaults=True)),
            receipt=ticket.receipt,
            inputs=tuple(asdict(image) for image in ticket.inputs),
            warnings=ticket.warnings,
            compute=total_compute([ticket]),
            estimate=ticket.estimate,
        )


class EstimateView(View):
    """What a request would cost and take."""

    backend: str = Field(description="The backend or pool.")
    jobs: int
    images: int
    compute: float | None = Field(description="Megapixels × steps of all images; null if unknown.")
    cost_usd: float | None = Field(description="null if the cost of a generation is unknown.")
    is_free: bool = Field(description="Whether the engine charges nothing.")
    usual_seconds: float | None = Field(description="How long its jobs usually take, one by one.")
    expected_start: Moment | None = Field(description="If it was submitted now.")
    expected_end: Moment | None
    not_honoured: tuple[str, ...] = Field(description="What would be clamped or dropped.")
    warnings: tuple[str, ...]
    budgets: tuple[str, ...] = Field(description="What the budgets say about it.")
    is_over_budget: bool = Field(
        description="Whether it would exceed a budget, so that it is refused or fails."
    )
    plan: tuple[PlannedGenerationView, ...]

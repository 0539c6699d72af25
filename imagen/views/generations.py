"""Generations, and the results of submissions, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, JsonValue

from imagen.core.capabilities import ParameterOutcome
from imagen.core.json_values import as_mapping, json_safe
from imagen.views.base import ErrorView, View
from imagen.views.images import ImageView
from imagen.views.jobs import JobView

if TYPE_CHECKING:
    from imagen.library.detail import RecordedGeneration


class GenerationView(View):
    """What became of one job at its engine."""

    id: str
    backend: str
    request: dict[str, JsonValue] = Field(description="Every value that was used.")
    receipt: dict[str, ParameterOutcome] = Field(description="What became of each parameter.")
    facts: dict[str, JsonValue] = Field(description="What the engine reported: models, time, cost.")
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, recorded: RecordedGeneration) -> GenerationView:
        receipt = as_mapping(recorded.ticket.get("receipt"))
        used = as_mapping(recorded.ticket.get("request"))
        return cls(
            id=recorded.id,
            backend=recorded.backend,
            request=json_safe({k: v for k, v in used.items() if v not in (None, [], {})}),
            receipt={k: ParameterOutcome.model_validate(v) for k, v in receipt.items()},
            facts=json_safe(recorded.facts),
            warnings=recorded.warnings,
        )


class ResultView(View):
    """What became of a submission so far: of one job, or of all jobs of a parent."""

    job: JobView
    images: tuple[ImageView, ...]
    generations: tuple[GenerationView, ...]
    warnings: tuple[str, ...] = Field(description="Those of the submission and of generations.")
    error: ErrorView | None = Field(description="Why it failed, or why some of its jobs did.")

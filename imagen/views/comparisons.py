"""Comparisons as JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from imagen.comparison.axes import Axis
from imagen.comparison.record import CellFailure, CellImage
from imagen.core.capabilities import ParameterOutcome
from imagen.jobs.model import QueueState
from imagen.views.base import Moment, View
from imagen.views.jobs import SubmissionView


class SubmittedComparisonView(SubmissionView):
    """A comparison whose missing cells were submitted."""

    id: str = Field(description="The id of the comparison: the name of its folder.")


class ComparisonCellView(View):
    """A cell: what one backend generated for one combination of values."""

    model: str = Field(description="The backend or pool.")
    values: dict[str, JsonValue] = Field(description="By the names of the axes.")
    label: str
    state: QueueState | Literal["missing"] = Field(
        description="That of its job; `done`, `failed` or `missing` without one."
    )
    jobs: tuple[str, ...] = Field(description="The jobs that generate it now.")
    files: tuple[CellImage, ...] = Field(description="Its images, among the files.")
    seed: int | None
    seconds: float | None
    cost_usd: float | None
    receipt: dict[str, ParameterOutcome]
    warnings: tuple[str, ...]
    error: CellFailure | None


class ComparisonView(View):
    """A comparison, and how far it is."""

    id: str
    job: str | None = Field(description="The job that generates it; null if none does.")
    request: dict[str, JsonValue] = Field(description="With the seed that all cells share.")
    models: tuple[str, ...] = Field(description="The backends, in order.")
    axes: tuple[Axis, ...]
    cells: tuple[ComparisonCellView, ...] = Field(description="By backend, then by values.")
    sheets: tuple[str, ...] = Field(description="The names of its contact sheets.")
    report: str | None = Field(description="The name of its page.")


class ListedComparisonView(View):
    """A comparison in a list."""

    id: str
    changed: Moment


class ComparisonsView(View):
    """The newest comparisons."""

    comparisons: tuple[ListedComparisonView, ...]

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


class CellImageView(View):
    """An image of a cell."""

    uid: str | None = Field(description="Its unique id; null if it is not in the library.")
    file: str | None = Field(description="Its name among the files, once the comparison has it.")
    width: int | None
    height: int | None
    seed: int | None
    rating: int | None


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
    images: tuple[CellImageView, ...] = Field(
        description="Its images, also those that the running job has made so far."
    )
    same_as: dict[str, JsonValue] | None = Field(
        description="The values of the cell that has the same images, as the backend does not take "
        "what differs; it is not generated."
    )
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
    has_own_seeds: bool = Field(description="Whether each cell has a seed of its own instead.")
    models: tuple[str, ...] = Field(description="The backends, in order.")
    axes: tuple[Axis, ...]
    cells: tuple[ComparisonCellView, ...] = Field(description="By backend, then by values.")
    sheets: tuple[str, ...] = Field(description="The names of its contact sheets.")
    report: str | None = Field(description="The name of its page.")


class ListedComparisonView(View):
    """A comparison in a list."""

    id: str
    changed: Moment
    job: str | None = Field(description="The job that generates it; null if none does.")
    prompt: str
    models: tuple[str, ...]
    axes: tuple[Axis, ...]
    cells: int = Field(description="How many cells have images of their own.")
    done: int = Field(description="How many of them are generated.")
    failed: int
    cover: CellImageView | None = Field(description="The first of its images.")


class PlannedCellView(View):
    """A cell, and what it would cost and take."""

    model: str
    values: dict[str, JsonValue]
    state: Literal["planned", "done", "failed", "same"] = Field(
        description="`done` also while the queue generates it; `same` if another cell has the "
        "same request; `failed` if it is impossible."
    )
    images: int = Field(description="How many images would be generated.")
    usual_seconds: float | None = Field(description="How long that usually takes.")
    cost_usd: float | None = Field(description="null if it is unknown.")
    is_free: bool = Field(description="Whether the engine charges nothing.")
    dropped: tuple[str, ...] = Field(description="Parameters that the backend does not take.")
    error: CellFailure | None


class ComparisonEstimateView(View):
    """What a comparison would cost and take; what is generated already does not count."""

    images: int
    usual_seconds: float | None = Field(description="One image after another; null if unknown.")
    cost_usd: float = Field(description="Of the images whose cost is known.")
    unknown_costs: int = Field(description="How many jobs of paid engines have an unknown cost.")
    is_free: bool = Field(description="Whether no engine charges anything.")
    budgets: tuple[str, ...] = Field(description="What the budgets say about it.")
    is_over_budget: bool = Field(description="Whether a budget refuses it.")
    cells: tuple[PlannedCellView, ...]


class ComparisonsView(View):
    """The newest comparisons."""

    comparisons: tuple[ListedComparisonView, ...]

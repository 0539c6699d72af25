"""Usage and budgets as JSON: images, time and money."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from imagen.library.ledger import UsageGrouping
from imagen.views.base import Moment, View

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imagen.library import LedgerRow, UsageTotal
    from imagen.library.ledger import ModelUsage
    from imagen.pipeline.budgets import BudgetUse

_DIGITS = 10
"""Further decimals come from adding binary fractions."""


class MoneyView(View):
    """A sum of money."""

    currency: str
    amount: float

    @classmethod
    def list_of(cls, sums: Mapping[str, float]) -> tuple[MoneyView, ...]:
        return tuple(
            cls(currency=name, amount=round(amount, _DIGITS))
            for name, amount in sorted(sums.items())
        )


class UsageSumsView(View):
    """Sums of generations."""

    generations: int
    images: int
    latency_seconds: float = Field(description="The total time.")
    engine_seconds: float = Field(description="How long engines computed.")
    costs: tuple[MoneyView, ...] = Field(description="Actual or else expected cost.")
    estimates: tuple[MoneyView, ...] = Field(description="Expected cost.")
    unknown: int = Field(description="How many generations have an unknown cost.")

    @classmethod
    def of(cls, total: UsageTotal) -> UsageSumsView:
        return cls(
            generations=total.generations,
            images=total.images,
            latency_seconds=round(total.latency_seconds, _DIGITS),
            engine_seconds=round(total.engine_seconds, _DIGITS),
            costs=MoneyView.list_of(total.costs),
            estimates=MoneyView.list_of(total.estimates),
            unknown=total.unknown,
        )


class UsageGroupView(UsageSumsView):
    """The sums of one group; null where the usage is not grouped by it."""

    day: str | None = None
    week: str | None = None
    month: str | None = None
    backend: str | None = None
    model: str | None = None
    caller: str | None = None


class UsageView(View):
    """Usage: images, time and cost."""

    by: tuple[UsageGrouping, ...] = Field(description="The groups.")
    groups: tuple[UsageGroupView, ...]
    total: UsageSumsView | None = Field(description="Null if there was no usage.")

    @classmethod
    def of(
        cls, by: Sequence[UsageGrouping], groups: Sequence[UsageTotal], total: UsageTotal | None
    ) -> UsageView:
        shown = groups if by else ()
        return cls(
            by=tuple(by),
            groups=tuple(
                UsageGroupView(
                    **dict(UsageSumsView.of(each)), **dict(zip(by, each.key, strict=True))
                )
                for each in shown
            ),
            total=UsageSumsView.of(total) if total else None,
        )


class UsageRowView(View):
    """One generation in the ledger."""

    generation: str
    at: Moment = Field(description="When it ended.")
    backend: str
    kind: str
    model: str
    seed: int | None
    prompt_sha256: str = Field(description="Of the prompt as typed, before any style.")
    images: int
    latency_seconds: float | None
    engine_seconds: float | None
    estimated_cost: float | None
    actual_cost: float | None
    cost: float | None = Field(description="Actual or else expected; null if unknown.")
    currency: str
    is_paid: bool = Field(description="Whether the engine is a paid service.")
    caller: str

    @classmethod
    def of(cls, row: LedgerRow) -> UsageRowView:
        return cls(
            generation=row.generation,
            at=row.at,
            backend=row.backend,
            kind=row.kind,
            model=row.model,
            seed=row.seed,
            prompt_sha256=row.prompt_sha256,
            images=row.images,
            latency_seconds=row.latency_seconds,
            engine_seconds=row.engine_seconds,
            estimated_cost=row.estimated_cost,
            actual_cost=row.actual_cost,
            cost=row.cost,
            currency=row.currency,
            is_paid=row.is_paid,
            caller=row.caller,
        )


class UsageRowsView(View):
    """Generations of the ledger, oldest first."""

    rows: tuple[UsageRowView, ...]


class ModelUsageView(View):
    """What an image of a model usually takes and costs."""

    backend: str
    model: str
    images: int = Field(description="How many were generated of late.")
    last_used: Moment
    seconds: float | None = Field(description="How long an image usually takes.")
    usd: float | None = Field(description="Null if it is free, or unknown.")

    @classmethod
    def of(cls, use: ModelUsage) -> ModelUsageView:
        return cls(
            backend=use.backend,
            model=use.model,
            images=use.images,
            last_used=use.last_used,
            seconds=None if use.seconds is None else round(use.seconds, 3),
            usd=None if use.usd is None else round(use.usd, _DIGITS),
        )


class ModelsUsageView(View):
    """The models that were used of late, the last used first."""

    models: tuple[ModelUsageView, ...]


class BudgetView(View):
    """A spending limit, and how far it is used."""

    amount: float
    currency: str
    per: Literal["run", "day", "month"]
    backend: str | None = Field(description="Null if it limits all backends together.")
    warn_at: float = Field(description="The share from which on there are warnings.")
    spent: float | None = Field(
        description="In the current day or month, with what unfinished jobs will cost; null for a "
        "run."
    )
    unknown: int = Field(description="How many of these generations have an unknown cost.")

    @classmethod
    def of(cls, use: BudgetUse) -> BudgetView:
        return cls(
            amount=use.budget.amount,
            currency=use.budget.currency,
            per=use.budget.per,
            backend=use.budget.backend,
            warn_at=use.budget.warn_at,
            spent=None if use.spent is None else round(use.spent, _DIGITS),
            unknown=use.unknown,
        )


class BudgetsView(View):
    """The spending limits of the configuration."""

    budgets: tuple[BudgetView, ...]

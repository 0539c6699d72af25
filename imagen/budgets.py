"""Budgets: what a run may cost, and what may be spent in a day and in a month."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from imagen import tickets
from imagen.errors import OutputError, OverBudget, RequestError
from imagen.text import dollars

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from imagen.config import Budget, Settings
    from imagen.ticket import Estimate, Ticket

_PAID_IN = "USD"
"""What the owners of engines are paid in."""
_LIMITS = {"run": "one run", "day": "a day", "month": "a month"}
_SO_FAR = {"run": "in this run", "day": "today", "month": "this month"}


def refuse_over_budget(
    plan: Sequence[Ticket],
    settings: Settings,
    *,
    before: Iterable[Ticket] = (),
    now: datetime | None = None,
    environ: Mapping[str, str] = os.environ,
) -> list[str]:
    """Sentences for each budget that this plan comes near to, or that can't be held for certain.

    `before` are the tickets of the same run that were made already. Raises OverBudget where a
    budget does not suffice, before anything is sent; LibraryError where it can't be told what was
    spent, ConfigError where the library that would know is switched off.
    """
    now = now or datetime.now().astimezone()
    told: list[str] = []
    for budget in settings.budgets:
        paid = list(_estimates(budget, plan))
        if paid:
            spent = _spent(budget, settings, now, before, environ)
            told += _judged(budget, paid, spent)
    return told


def _estimates(budget: Budget, plan: Iterable[Ticket]) -> Iterator[Estimate]:
    """Those of the tickets that this budget is for; engines of one's own have none."""
    for ticket in plan:
        is_its = budget.backend in (None, ticket.backend) and budget.currency == _PAID_IN
        if is_its and ticket.estimate is not None:
            yield ticket.estimate


def _spent(
    budget: Budget,
    settings: Settings,
    now: datetime,
    before: Iterable[Ticket],
    environ: Mapping[str, str],
) -> float:
    """What was spent of it already, and what jobs will cost that are at their engines now."""
    if budget.per == "run":
        return _known(_estimates(budget, before))
    from imagen.keeping import open_up_to_date
    from imagen.library import spent

    with open_up_to_date(settings, environ) as library:
        since = _start(budget, now)
        kept = spent(library, since, currency=budget.currency, backend=budget.backend)
    return kept.cost + _known(_estimates(budget, _at_work(settings)))


def _start(budget: Budget, now: datetime) -> datetime:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight if budget.per == "day" else midnight.replace(day=1)


def _at_work(settings: Settings) -> Iterator[Ticket]:
    """What other processes have submitted, and what those left that were killed."""
    for id in tickets.left(settings.state_dir):
        with suppress(OutputError, RequestError):
            job = tickets.read(id, settings.state_dir)
            if job.ticket.submitted and job.entry is None:
                yield job.ticket


def _known(estimates: Iterable[Estimate]) -> float:
    return sum(estimate.usd for estimate in estimates if estimate.usd is not None)


def _judged(budget: Budget, paid: Sequence[Estimate], spent: float) -> Iterator[str]:
    cost = _known(paid)
    whole = spent + cost
    said = f"the budget of {dollars(budget.amount)} for {_LIMITS[budget.per]}{_with(budget)}"
    so_far = (
        f"{dollars(spent)} was spent {_SO_FAR[budget.per]}, and this would cost {dollars(cost)}"
    )
    if whole > budget.amount + 1e-9:
        raise OverBudget(
            f"This would go beyond {said}: {so_far}.",
            remedy="Nothing was sent. Go beyond it with --over-budget, or change budgets in "
            "imagen.yaml.",
        )
    if whole >= budget.amount * budget.warn_at and cost > 0:
        yield f"This comes near to {said}: {so_far}."
    if any(estimate.usd is None for estimate in paid):
        yield f"What this costs is not known, so {said} can't be held."


def _with(budget: Budget) -> str:
    return f" with {budget.backend}" if budget.backend else ""

"""Budgets: what a run may cost, and what may be spent in a day and in a month."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from imagen import tickets
from imagen.errors import OutputError, OverBudget, RequestError
from imagen.text import dollars

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

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
        paid = _summed(_estimates(budget, plan))
        if paid.jobs:
            others = _at_work(settings, but={ticket.id for ticket in plan})
            spent = _spent(budget, settings, now, before, others, environ)
            told += _judged(budget, paid, spent)
    return told


class _Sum(NamedTuple):
    """What some jobs come to."""

    jobs: int
    cost: float
    unknown: int
    """How many of them cost money that nobody knows."""


def _summed(estimates: Iterable[Estimate]) -> _Sum:
    each = [estimate.usd for estimate in estimates]
    known = [usd for usd in each if usd is not None]
    return _Sum(len(each), sum(known), len(each) - len(known))


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
    others: Iterable[Ticket],
    environ: Mapping[str, str],
) -> _Sum:
    """What was spent of it already, and what the jobs of others will cost."""
    if budget.per == "run":
        return _summed(_estimates(budget, before))
    from imagen.keeping import open_up_to_date
    from imagen.library import spent

    with open_up_to_date(settings, environ) as library:
        since = _start(budget, now)
        kept = spent(library, since, currency=budget.currency, backend=budget.backend)
    open_ = _summed(_estimates(budget, others))
    return _Sum(open_.jobs, kept.cost + open_.cost, kept.unknown + open_.unknown)


def _start(budget: Budget, now: datetime) -> datetime:
    """The midnight at which it began anew, by this machine's clock: as late as it was then."""
    today = now.date()
    first = today if budget.per == "day" else today.replace(day=1)
    return datetime.combine(first, datetime.min.time()).astimezone()


def _at_work(settings: Settings, *, but: Collection[str]) -> Iterator[Ticket]:
    """What other processes have at their engines or are about to send, and what those left that
    were killed; without these."""
    for id in tickets.left(settings.state_dir):
        with suppress(OutputError, RequestError):
            job = tickets.read(id, settings.state_dir)
            if job.entry is None and id not in but:
                yield job.ticket


def _judged(budget: Budget, paid: _Sum, spent: _Sum) -> Iterator[str]:
    whole = spent.cost + paid.cost
    said = f"the budget of {dollars(budget.amount)} for {_LIMITS[budget.per]}{_with(budget)}"
    when = _SO_FAR[budget.per]
    so_far = f"{dollars(spent.cost)} was spent {when}, and this would cost {dollars(paid.cost)}"
    if whole > budget.amount + 1e-9:
        raise OverBudget(
            f"This would go beyond {said}: {so_far}.",
            remedy="Nothing was sent. Go beyond it with --over-budget, or change budgets in "
            "imagen.yaml.",
        )
    if whole >= budget.amount * budget.warn_at and paid.cost > 0:
        yield f"This comes near to {said}: {so_far}."
    if spent.unknown:
        number = "1 generation" if spent.unknown == 1 else f"{spent.unknown} generations"
        yield f"What {number} cost {when} is not known, so {said} can't be held."
    if paid.unknown:
        yield f"What this costs is not known, so {said} can't be held."


def _with(budget: Budget) -> str:
    return f" with {budget.backend}" if budget.backend else ""

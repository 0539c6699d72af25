"""Budgets: what a run may cost, and what may be spent in a day and in a month."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from imagen.config.paths import make_own_folder
from imagen.core.locks import Lock, lock
from imagen.core.text import format_usd
from imagen.errors import OutputError, OverBudget, RequestError
from imagen.jobs import file_store

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import tzinfo
    from pathlib import Path

    from imagen.config import Budget, Settings
    from imagen.core.ticket import Estimate, Ticket
    from imagen.jobs.file_store import Job

_PAID_IN = "USD"
"""What the owners of engines are paid in."""
_LIMITS = {"run": "one run", "day": "a day", "month": "a month"}
_SO_FAR = {"run": "in this run", "day": "today", "month": "this month"}
_PATIENCE = 60.0
"""Seconds to wait for another process: it checks its budgets in a fraction of one."""
_PAUSE = 0.02


@contextmanager
def planned_within_budgets(
    jobs: Sequence[Job], settings: Settings, *, before: Iterable[Ticket] = ()
) -> Iterator[None]:
    """Writes the jobs down within the budgets, and holds them for the block.

    Budgets are checked and tickets are written under one lock, so that processes that start at
    once can't each spend the same money. Raises what `refuse_over_budget` and `tickets.planned` do.
    """
    with ExitStack() as held:
        with within_budgets([job.ticket for job in jobs], settings, before=before):
            held.enter_context(file_store.planned_jobs(jobs, settings.state_dir))
        yield


@contextmanager
def within_budgets(
    plan: Sequence[Ticket], settings: Settings, *, before: Iterable[Ticket] = ()
) -> Iterator[None]:
    """Checks the budgets; no other process checks its own until the block has written the tickets.

    Raises what `refuse_over_budget` does, and OutputError where the state folder can't be locked.
    """
    with _turn(settings) if _is_limited(plan, settings) else nullcontext():
        refuse_over_budget(plan, settings, before=before)
        yield


def _is_limited(plan: Sequence[Ticket], settings: Settings) -> bool:
    return any(ticket for budget in settings.budgets for ticket in _estimates(budget, plan))


@contextmanager
def _turn(settings: Settings) -> Iterator[None]:
    """Waits until no other process checks its budgets, and lets none do so within the block."""
    until = time.monotonic() + _PATIENCE
    while (mine := _lock(settings.state_dir)) is None:
        if time.monotonic() > until:
            raise OutputError(
                f"Another process has been checking its budgets for {_PATIENCE:.0f} seconds.",
                remedy="Nothing was sent. Look for an imagen process that hangs, and end it.",
            )
        time.sleep(_PAUSE)
    try:
        yield
    finally:
        mine.release()


def _lock(state_dir: Path) -> Lock | None:
    try:
        make_own_folder(state_dir)
        return lock(state_dir / "budgets.lock")
    except OSError as error:
        raise OutputError(
            f"Budgets can't be checked, since {state_dir} can't be locked: "
            f"{error.strerror or error}.",
            remedy="Nothing was sent. Let imagen write there, or set IMAGEN_STATE, or state_dir in "
            "imagen.yaml.",
        ) from error


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
            if budget.per == "run":
                sum_spending = _summed(_estimates(budget, before))
            else:
                ids = {ticket.id for ticket in plan}
                sum_spending = _spent(budget, settings, ids, now, environ)
            told += _judged(budget, paid, sum_spending)
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
    plan: Collection[str],
    now: datetime,
    environ: Mapping[str, str],
) -> _Sum:
    """What was spent of it already, and what the jobs of others will cost.

    Tickets are read before the ledger: a job that moves from the one to the other in between is
    in both, and counts by its ticket. The other way round it would be in neither.
    """
    from imagen.library import sum_spending
    from imagen.pipeline.record import open_library_synced

    others = list(_at_work(settings, but=plan))
    with open_library_synced(settings, environ) as library:
        known = sum_spending(
            library,
            _start(budget, now, settings.usage.zone),
            currency=budget.currency,
            backend=budget.backend,
            without=[ticket.id for ticket in others],
        )
    open_ = _summed(_estimates(budget, others))
    return _Sum(open_.jobs, known.cost + open_.cost, known.unknown + open_.unknown)


def _start(budget: Budget, now: datetime, zone: tzinfo | None) -> datetime:
    """The midnight at which it began anew in this time zone, None being this machine's."""
    today = (now.astimezone(zone) if zone else now).date()
    first = today if budget.per == "day" else today.replace(day=1)
    midnight = datetime.combine(first, datetime.min.time())
    return midnight.replace(tzinfo=zone) if zone else midnight.astimezone()


def _at_work(settings: Settings, *, but: Collection[str]) -> Iterator[Ticket]:
    """What other processes have at their engines or are about to send, what the library does not
    have yet, and what killed processes left; without these."""
    for id in file_store.pending(settings.state_dir):
        with suppress(OutputError, RequestError):
            job = file_store.read(id, settings.state_dir)
            if job.state != "failed" and id not in but:
                yield job.ticket


def _judged(budget: Budget, paid: _Sum, spent: _Sum) -> Iterator[str]:
    whole = spent.cost + paid.cost
    said = f"the budget of {format_usd(budget.amount)} for {_LIMITS[budget.per]}{_with(budget)}"
    when = _SO_FAR[budget.per]
    so_far = (
        f"{format_usd(spent.cost)} was spent {when}, and this would cost {format_usd(paid.cost)}"
    )
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

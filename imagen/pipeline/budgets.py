"""Budgets: what one run may cost, and what may be spent in a day and in a month."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from imagen.config.paths import make_own_folder
from imagen.core.filesystem import lock
from imagen.core.text import format_usd
from imagen.errors import OutputError, OverBudget, RequestError
from imagen.jobs import file_store

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from imagen.config import Budget, Settings
    from imagen.core.ticket import Ticket
    from imagen.jobs.model import Job

_CURRENCY = "USD"
"""The currency of engines that charge for jobs."""
_PERIODS = {
    "run": ("one run", "in this run"),
    "day": ("a day", "today"),
    "month": ("a month", "this month"),
}
_LOCK_SECONDS = 60.0
"""How long to wait for another process, which checks its budgets in a fraction of a second."""
_PAUSE_SECONDS = 0.02


@contextmanager
def plan_within_budgets(
    jobs: Sequence[Job], settings: Settings, *, before: Iterable[Ticket] = ()
) -> Iterator[None]:
    """Check the budgets, write the jobs to disk, and hold them for the block.

    Both happen under one lock, so that processes that start together cannot spend the same money.
    Raises what `refuse_over_budget` and `file_store.plan_jobs` raise.
    """
    with ExitStack() as held:
        caller = jobs[0].caller if jobs else ""
        with within_budgets([job.ticket for job in jobs], settings, before=before, caller=caller):
            held.enter_context(file_store.plan_jobs(jobs, settings.state_dir))
        yield


@contextmanager
def within_budgets(
    plan: Sequence[Ticket],
    settings: Settings,
    *,
    before: Iterable[Ticket] = (),
    caller: str | None = None,
) -> Iterator[None]:
    """Check the budgets; other processes wait with theirs until the block has written the jobs.

    Raises what `refuse_over_budget` raises, and OutputError if the state directory cannot be
    locked.
    """
    with lock_budgets(settings, plan):
        refuse_over_budget(plan, settings, before=before, caller=caller)
        yield


@contextmanager
def lock_budgets(settings: Settings, plan: Sequence[Ticket]) -> Iterator[None]:
    """Hold the lock on this machine's budgets for the block, if any budget covers these tickets."""
    if not settings.budgets or all(ticket.estimate is None for ticket in plan):
        yield
        return
    until = time.monotonic() + _LOCK_SECONDS
    try:
        make_own_folder(settings.state_dir)
        while (held := lock(settings.state_dir / "budgets.lock")) is None:
            if time.monotonic() > until:
                raise OutputError(
                    f"Another process has been checking its budgets for {_LOCK_SECONDS:.0f} s.",
                    remedy="Nothing was sent. Look for an imagen process that hangs, and stop it.",
                )
            time.sleep(_PAUSE_SECONDS)
    except OSError as error:
        raise OutputError(
            f"Budgets cannot be checked, because {settings.state_dir} cannot be locked: "
            f"{error.strerror or error}.",
            remedy="Nothing was sent. Make the folder writable, or set IMAGEN_STATE, or state_dir "
            "in imagen.yaml.",
        ) from error
    try:
        yield
    finally:
        held.release()


def refuse_over_budget(
    plan: Sequence[Ticket],
    settings: Settings,
    *,
    before: Iterable[Ticket] = (),
    now: datetime | None = None,
    environ: Mapping[str, str] = os.environ,
    connection: Connection | None = None,
    caller: str | None = None,
) -> list[str]:
    """Warnings about budgets that the plan nearly uses up, or that cannot be held for certain.

    `before` are tickets of the same run that were submitted already. The library is read with
    `connection` if one is given. `caller` asks for it; by default as the settings say.

    Raises OverBudget if a budget is not enough; LibraryError if the library cannot tell what was
    spent, ConfigError if it is switched off.
    """
    now = now or datetime.now().astimezone()
    warnings: list[str] = []
    for budget in settings.budgets:
        if budget.caller is not None:
            caller = _find_caller(settings) if caller is None else caller
            if caller != budget.caller:
                continue
        planned = _sum_estimates(budget, plan)
        if planned.jobs:
            if budget.per == "run":
                spent = _sum_estimates(budget, before)
            else:
                ids = {ticket.id for ticket in plan}
                spent = _sum_spent(budget, settings, ids, now, environ, connection)
            warnings += _compare(budget, planned, spent)
    return warnings


class BudgetUse(NamedTuple):
    """A budget, and what was spent of it in the current day or month."""

    budget: Budget
    spent: float | None
    """With what unfinished jobs will cost; None for the budget of a run."""
    unknown: int
    """How many generations have an unknown cost."""


def read_budget_use(settings: Settings, *, now: datetime | None = None) -> list[BudgetUse]:
    """How far each budget of the configuration is used. Raises LibraryError, ConfigError."""
    now = now or datetime.now().astimezone()
    uses: list[BudgetUse] = []
    for budget in settings.budgets:
        if budget.per == "run":
            uses.append(BudgetUse(budget, None, 0))
        else:
            spent = _sum_spent(budget, settings, (), now, os.environ, None)
            uses.append(BudgetUse(budget, spent.usd, spent.unknown))
    return uses


def _find_caller(settings: Settings) -> str:
    from imagen.pipeline.record import find_caller

    return find_caller(settings.usage)


class _Sum(NamedTuple):
    """What some jobs cost in all."""

    jobs: int = 0
    usd: float = 0.0
    unknown: int = 0
    """How many of them have an unknown cost."""

    def add(self, usd: float | None) -> _Sum:
        is_unknown = usd is None
        return _Sum(self.jobs + 1, self.usd + (usd or 0.0), self.unknown + is_unknown)


def _is_for(budget: Budget, ticket: Ticket) -> bool:
    """Whether a budget covers this ticket; engines of one's own have no estimate."""
    is_its = budget.backend in (None, ticket.backend) and budget.currency == _CURRENCY
    return is_its and ticket.estimate is not None


def _sum_estimates(budget: Budget, tickets: Iterable[Ticket]) -> _Sum:
    total = _Sum()
    for ticket in tickets:
        if _is_for(budget, ticket) and ticket.estimate is not None:
            total = total.add(ticket.estimate.usd)
    return total


def _sum_spent(
    budget: Budget,
    settings: Settings,
    plan: Collection[str],
    now: datetime,
    environ: Mapping[str, str],
    connection: Connection | None,
) -> _Sum:
    """What was spent in the period, and what unrecorded jobs and those of the queue cost.

    Jobs are read before the ledger: one that moves from the former to the latter in between is in
    both and counts once, by its id. The other way round it would be in neither.
    """
    from imagen.library import sum_reserved, sum_spending
    from imagen.pipeline.record import open_library_synced

    total, ids = _Sum(), []
    for id in file_store.pending(settings.state_dir):
        with suppress(OutputError, RequestError):
            job = file_store.read(id, settings.state_dir)
            if job.state == "failed" or id in plan:
                continue
            ids.append(id)
            if budget.caller not in (None, job.caller):
                continue
            if _is_for(budget, job.ticket) and job.ticket.estimate is not None:
                cost = job.record.cost_usd if job.record is not None else None
                total = total.add(job.ticket.estimate.usd if cost is None else cost)
    zone = settings.usage.zone  # None is the machine's
    today = (now.astimezone(zone) if zone else now).date()
    first = today if budget.per == "day" else today.replace(day=1)
    midnight = datetime.combine(first, datetime.min.time())
    start = midnight.replace(tzinfo=zone) if zone else midnight.astimezone()
    with ExitStack() as opened:
        if connection is None:
            library = opened.enter_context(open_library_synced(settings, environ))
            connection = opened.enter_context(library.reading())
        limited = {"backend": budget.backend, "caller": budget.caller}
        reserved = sum_reserved(connection, **limited, without=plan)
        known = sum_spending(connection, start, currency=budget.currency, **limited, without=ids)
    cost = known.cost + (reserved.cost if budget.currency == _CURRENCY else 0.0)
    return _Sum(total.jobs, total.usd + cost, total.unknown + known.unknown + reserved.unknown)


def _compare(budget: Budget, planned: _Sum, spent: _Sum) -> Iterator[str]:
    """Warnings about one budget; raises OverBudget."""
    total = spent.usd + planned.usd
    period, when = _PERIODS[budget.per]
    name = f"the budget of {format_usd(budget.amount)} for {period}"
    name += f" with {budget.backend}" if budget.backend else ""
    name += f" of {budget.caller}" if budget.caller else ""
    costs = (
        f"{format_usd(spent.usd)} was spent {when}, and this would cost {format_usd(planned.usd)}"
    )
    if total > budget.amount + 1e-9:
        raise OverBudget(
            f"This would exceed {name}: {costs}.",
            remedy="Nothing was sent. Wait, or have this budget raised."
            if budget.caller
            else "Nothing was sent. Use --over-budget, or change budgets in imagen.yaml.",
        )
    if total >= budget.amount * budget.warn_at and planned.usd > 0:
        yield f"This nearly uses up {name}: {costs}."
    if spent.unknown:
        number = "1 generation" if spent.unknown == 1 else f"{spent.unknown} generations"
        yield f"The cost of {number} {when} is unknown, so {name} cannot be enforced."
    if planned.unknown:
        yield f"The cost of this is unknown, so {name} cannot be enforced."

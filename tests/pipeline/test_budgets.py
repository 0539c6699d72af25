"""Budgets: warned of, then refused, before anything is paid."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from imagen.config import Budget, LibrarySettings, Settings, UsageSettings
from imagen.core.request import Request
from imagen.core.ticket import Estimate, Ticket, new_id
from imagen.errors import ConfigError, Failed, OutputError, OverBudget
from imagen.jobs import file_store
from imagen.jobs.model import Job
from imagen.library import GenerationRecord, open_library, record_generation
from imagen.pipeline.budgets import plan_within_budgets, refuse_over_budget
from imagen.pipeline.record import build_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Spend = Callable[..., None]

_NOW = datetime(2026, 11, 27, 12, tzinfo=UTC).astimezone()
_ASKED = Request(prompt="a fox")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        state_dir=tmp_path / "state", library=LibrarySettings(url=str(tmp_path / "library.db"))
    )


@pytest.fixture
def spend(settings: Settings) -> Spend:
    """Puts a generation into the ledger."""

    def spend(usd: float | None, *, ago: timedelta = timedelta(), backend: str = "cloud") -> None:
        ended = _NOW - ago
        entry = GenerationRecord(
            id=new_id(),
            backend=backend,
            ticket=_ticket(usd, backend),
            request=_ASKED,
            facts={"cost_usd": usd},
            created_at=ended,
            ended_at=ended,
        )
        with open_library(settings) as library:
            record_generation(library, entry)

    return spend


def _ticket(usd: float | None, backend: str = "cloud") -> Ticket:
    estimate = Estimate(usd=usd, basis="by the list")
    return Ticket(id=new_id(), backend=backend, request=_ASKED, receipt={}, estimate=estimate)


def _local() -> Ticket:
    return Ticket(id=new_id(), backend="studio", request=_ASKED, receipt={})


def _told(
    settings: Settings, plan: list[Ticket], *budgets: dict[str, Any], now: datetime = _NOW
) -> list[str]:
    whole = settings.model_copy(update={"budgets": tuple(Budget(**one) for one in budgets)})
    return refuse_over_budget(plan, whole, now=now)


def _refusal(settings: Settings, plan: list[Ticket], *budgets: dict[str, Any]) -> str:
    with pytest.raises(OverBudget) as caught:
        _told(settings, plan, *budgets)
    return caught.value.message


def test_run_within_its_budget_has_no_warning(settings: Settings) -> None:
    assert _told(settings, [_ticket(0.5)], {"amount": 1, "per": "run"}) == []


def test_tickets_of_a_run_are_added_up(settings: Settings) -> None:
    plan = [_ticket(0.5), _ticket(0.5), _ticket(0.25)]
    assert _refusal(settings, plan, {"amount": 1, "per": "run"}) == (
        "This would exceed the budget of $1.00 for one run: $0.00 was spent in this run, and "
        "this would cost $1.25."
    )


def test_earlier_tickets_of_a_run_count(settings: Settings) -> None:
    budget = Budget(amount=1, per="run")
    whole = settings.model_copy(update={"budgets": (budget,)})
    with pytest.raises(OverBudget, match=r"\$0\.75 was spent in this run"):
        refuse_over_budget([_ticket(0.5)], whole, before=[_ticket(0.75)], now=_NOW)


def test_exact_budget_is_enough(settings: Settings, spend: Spend) -> None:
    spend(0.7)
    assert _told(settings, [_ticket(0.3)], {"amount": 1, "per": "day"}) == [
        "This nearly uses up the budget of $1.00 for a day: $0.70 was spent today, and this would "
        "cost $0.30."
    ]


def test_rounding_errors_do_not_exceed_a_budget(settings: Settings, spend: Spend) -> None:
    spend(0.1)
    assert 0.1 + 0.2 > 0.3
    assert not _is_refused(settings, [_ticket(0.2)], {"amount": 0.3, "per": "day"})


@pytest.mark.parametrize(
    ("per", "ago", "counts"),
    [
        ("day", timedelta(minutes=1), True),
        ("day", timedelta(days=1), False),
        ("month", timedelta(days=20), True),
        ("month", timedelta(days=40), False),
    ],
)
def test_budgets_restart_each_day_and_month(
    settings: Settings, spend: Spend, per: str, ago: timedelta, counts: bool
) -> None:
    spend(0.9, ago=ago)
    budget = {"amount": 1, "per": per}
    assert _is_refused(settings, [_ticket(0.2)], budget) == counts


def _is_refused(
    settings: Settings, plan: list[Ticket], budget: dict[str, Any], now: datetime = _NOW
) -> bool:
    try:
        _told(settings, plan, budget, now=now)
    except OverBudget:
        return True
    return False


@pytest.fixture
def _in_zurich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Zurich")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no TZ")
@pytest.mark.usefixtures("_in_zurich")
@pytest.mark.parametrize(
    ("now", "ended", "counts"),
    [
        ("2026-03-29T12:00+02:00", "2026-03-28T23:30+01:00", False),
        ("2026-03-29T12:00+02:00", "2026-03-29T00:30+01:00", True),
        ("2026-10-25T12:00+01:00", "2026-10-25T00:30+02:00", True),
        ("2026-10-25T12:00+01:00", "2026-10-24T23:30+02:00", False),
    ],
)
def test_day_of_a_clock_change_begins_at_midnight(
    settings: Settings, spend: Spend, now: str, ended: str, counts: bool
) -> None:
    spend(0.9, ago=_NOW - datetime.fromisoformat(ended))
    budget = {"amount": 1, "per": "day"}
    moment = datetime.fromisoformat(now).astimezone()
    assert _is_refused(settings, [_ticket(0.2)], budget, now=moment) == counts


@pytest.mark.parametrize(
    ("ended", "counts"), [("2026-03-28T23:30-04:00", False), ("2026-03-29T00:30-04:00", True)]
)
def test_day_begins_in_the_time_zone_of_the_ledger(
    settings: Settings, spend: Spend, ended: str, counts: bool
) -> None:
    spend(0.9, ago=_NOW - datetime.fromisoformat(ended))
    there = settings.model_copy(update={"usage": UsageSettings(timezone="America/New_York")})
    moment = datetime.fromisoformat("2026-03-30T03:30+00:00")
    assert _is_refused(there, [_ticket(0.2)], {"amount": 1, "per": "day"}, now=moment) == counts


def test_budget_of_one_backend_ignores_others(settings: Settings, spend: Spend) -> None:
    spend(5.0, backend="other")
    budget = {"amount": 1, "per": "month", "backend": "cloud"}
    assert _told(settings, [_ticket(0.5), _ticket(9.0, "other")], budget) == []
    assert "for a month with cloud: $0.00 was spent this month" in _refusal(
        settings, [_ticket(2.0)], budget
    )


def test_budget_of_all_backends_applies_to_each(settings: Settings, spend: Spend) -> None:
    spend(0.9, backend="other")
    assert "$0.90 was spent today" in _refusal(
        settings, [_ticket(0.5)], {"amount": 1, "per": "day"}
    )


@pytest.mark.parametrize(
    "ticket",
    [_ticket(0.9), _ticket(0.9).sent(prediction_id="p")],
    ids=["about to be sent", "at its engine"],
)
def test_jobs_of_other_processes_count_as_spent(settings: Settings, ticket: Ticket) -> None:
    file_store.write(Job(ticket=ticket, request=_ASKED), settings.state_dir)
    assert "$0.90 was spent today" in _refusal(
        settings, [_ticket(0.5)], {"amount": 1, "per": "day"}
    )


def test_own_jobs_are_not_counted_twice(settings: Settings) -> None:
    left = _ticket(0.9).sent(prediction_id="p")
    file_store.write(Job(ticket=left, request=_ASKED), settings.state_dir)
    assert not _is_refused(settings, [left], {"amount": 1, "per": "day"})


def test_unreadable_job_does_not_hide_others(settings: Settings) -> None:
    job = Job(ticket=_ticket(0.9), request=_ASKED)
    file_store.write(job, settings.state_dir)
    (settings.state_dir / "tickets" / "0.json").write_text("{")
    assert "$0.90 was spent today" in _refusal(
        settings, [_ticket(0.5)], {"amount": 1, "per": "day"}
    )


def test_unrecorded_failure_costs_nothing(settings: Settings) -> None:
    job = Job(ticket=_ticket(0.9), request=_ASKED)
    failed = build_failure(job, Failed("It broke."))
    with file_store.lock_job(job.id, settings.state_dir):
        file_store.write(job.with_record(failed), settings.state_dir)
        assert not _is_refused(settings, [_ticket(0.5)], {"amount": 1, "per": "day"})


def test_budget_needs_a_lockable_state_directory(settings: Settings) -> None:
    settings.state_dir.write_text("not a folder")
    whole = settings.model_copy(update={"budgets": (Budget(amount=1, per="run"),)})
    job = Job(ticket=_ticket(0.5), request=_ASKED)
    with (
        pytest.raises(
            OutputError, match=r"Budgets cannot be checked, because .*state cannot be locked"
        ),
        plan_within_budgets([job], whole),
    ):
        pytest.fail("it was planned")


def test_unknown_past_costs_are_reported(settings: Settings, spend: Spend) -> None:
    spend(None)
    assert _told(settings, [_ticket(0.1)], {"amount": 1, "per": "day"}) == [
        "The cost of 1 generation today is unknown, so the budget of $1.00 for a day cannot "
        "be enforced."
    ]
    file_store.write(Job(ticket=_ticket(None), request=_ASKED), settings.state_dir)
    assert _told(settings, [_ticket(0.1)], {"amount": 1, "per": "month"}) == [
        "The cost of 2 generations this month is unknown, so the budget of $1.00 for a month "
        "cannot be enforced."
    ]


def test_unknown_price_is_reported(settings: Settings) -> None:
    assert _told(settings, [_ticket(None)], {"amount": 1, "per": "run"}) == [
        "The cost of this is unknown, so the budget of $1.00 for one run cannot be enforced."
    ]


def test_unknown_price_does_not_warn_of_the_limit(settings: Settings, spend: Spend) -> None:
    spend(0.9)
    assert _told(settings, [_ticket(None)], {"amount": 1, "per": "day"}) == [
        "The cost of this is unknown, so the budget of $1.00 for a day cannot be enforced."
    ]


def test_free_engines_need_no_budget(settings: Settings) -> None:
    assert _told(settings, [_local()], {"amount": 0, "per": "day"}) == []


def test_dollars_do_not_count_against_a_budget_in_euros(settings: Settings) -> None:
    assert _told(settings, [_ticket(9.0)], {"amount": 1, "per": "run", "currency": "EUR"}) == []


def test_zero_budget_refuses_every_cost(settings: Settings) -> None:
    assert "the budget of $0.00 for one run" in _refusal(
        settings, [_ticket(0.003)], {"amount": 0, "per": "run"}
    )


def test_warning_starts_at_the_configured_share(settings: Settings) -> None:
    budget = {"amount": 1, "per": "run", "warn_at": 0.3}
    assert _told(settings, [_ticket(0.2)], budget) == []
    assert len(_told(settings, [_ticket(0.3)], budget)) == 1


def test_daily_budget_needs_the_library(settings: Settings) -> None:
    off = settings.model_copy(update={"library": LibrarySettings(enabled=False)})
    with pytest.raises(ConfigError, match=r"library\.enabled is false"):
        _told(off, [_ticket(0.5)], {"amount": 1, "per": "day"})

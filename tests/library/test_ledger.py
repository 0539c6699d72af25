"""The ledger: usage and costs, in groups and since a moment."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from support.library_samples import NOON, make_failure, make_image, make_record, record_all, uuid_of

from imagen import Request
from imagen.config import UsageSettings
from imagen.library import UsageTotal, add_totals, record_generation, sum_spending, sum_usage
from imagen.library.ledger import list_model_usage, list_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from imagen.library import GenerationRecord, Library
    from imagen.library.ledger import UsageGrouping


def _facts(**facts: Any) -> dict[str, Any]:
    return {"facts": {"model": "dream", "latency_seconds": 3.0, "executing_seconds": 2.0} | facts}


def _ended(number: int, at: datetime, **values: Any) -> GenerationRecord:
    return make_record(number, began=at - timedelta(seconds=2), **values)


@pytest.fixture
def in_zurich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose clock is an hour ahead of UTC, and two in summer."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_an_empty_ledger_has_no_totals(library: Library) -> None:
    assert sum_usage(library) == []
    with library.reading() as connection:
        assert sum_spending(connection, NOON, currency="USD") == (0.0, 0)


def test_usage_of_models_is_per_image_and_the_last_used_first(library: Library) -> None:
    two, hour = (make_image(1), make_image(1, 1)), timedelta(hours=1)
    dusk = {"model": "dusk"}
    record_all(
        library,
        [
            _ended(1, NOON, images=two, is_paid=True, **_facts(latency_seconds=8.0, cost_usd=0.06)),
            _ended(2, NOON + hour, **_facts(latency_seconds=3.0, **dusk)),
            _ended(3, NOON + 2 * hour, **_facts(latency_seconds=5.0, **dusk)),
        ],
    )
    free, paid = list_model_usage(library)
    assert (free.model, free.images, free.seconds, free.usd) == ("dusk", 2, 4.0, None)
    assert (paid.model, paid.images, paid.seconds, paid.usd) == ("dream", 2, 4.0, 0.03)
    assert free.last_used > paid.last_used


def test_each_generation_has_a_ledger_row(library: Library) -> None:
    record_all(library, [make_record(1, "a secret fox", seed=2**64 - 1, **_facts(seed=2**64 - 1))])
    (use,) = list_rows(library)
    assert (use.generation, use.at) == (uuid_of(1), NOON + timedelta(seconds=2))
    assert (use.backend, use.kind, use.model, use.caller) == ("studio", "comfyui", "dream", "ada")
    assert (use.seed, use.images) == (18446744073709551615, 1)
    assert use.prompt_sha256 == sha256(b"a secret fox").hexdigest()
    assert (use.latency_seconds, use.engine_seconds) == (3.0, 2.0)
    assert (use.cost, use.is_paid, use.is_unknown, use.currency) == (None, False, False, "USD")


def test_a_style_does_not_change_the_prompt_hash(library: Library) -> None:
    styled = make_record(1, "a fox, photo, 50mm", asked=Request(prompt="a fox", style="photo"))
    record_all(library, [styled])
    (use,) = list_rows(library)
    assert use.prompt_sha256 == sha256(b"a fox").hexdigest()


def test_failed_and_imported_generations_have_no_ledger_row(library: Library) -> None:
    record_all(library, [make_failure(1), make_record(2, source="import")])
    assert list(list_rows(library)) == []


def test_engine_seconds_default_to_the_latency(library: Library) -> None:
    record_all(library, [make_record(1, facts={"latency_seconds": 3.0}), make_record(2, facts={})])
    assert [use.engine_seconds for use in list_rows(library)] == [3.0, None]


@pytest.mark.parametrize(
    ("paid", "cost", "is_unknown"),
    [
        pytest.param(_facts(cost_usd=0.04) | {"estimated_usd": 0.05}, 0.04, False, id="told"),
        pytest.param(_facts() | {"estimated_usd": 0.05}, 0.05, False, id="estimated"),
        pytest.param(_facts() | {"is_paid": True}, None, True, id="unknown"),
        pytest.param(_facts(cost_usd=0.0) | {"is_paid": True}, 0.0, False, id="nothing, told"),
        pytest.param(_facts(cost_usd=0.04), 0.04, False, id="told, where none was expected"),
        pytest.param(_facts(cost_usd=0.0), None, False, id="of an engine that is not paid"),
        pytest.param(_facts(cost_usd=float("nan")) | {"is_paid": True}, None, True, id="NaN"),
    ],
)
def test_the_actual_cost_replaces_the_estimate(
    library: Library, paid: dict[str, Any], cost: float | None, is_unknown: bool
) -> None:
    record_all(library, [make_record(1, **paid)])
    (use,) = list_rows(library)
    assert (use.cost, use.is_unknown) == (cost, is_unknown)


def test_a_local_backend_costs_its_electricity(library: Library) -> None:
    costs = UsageSettings(currency="CHF", watts={"studio": 360.0}, price_per_kwh=0.25)
    record_generation(library, make_record(1, **_facts(executing_seconds=100.0)), costs=costs)
    (use,) = list_rows(library)
    assert use.cost == pytest.approx(0.0025)
    assert (use.currency, use.is_paid) == ("CHF", False)


@pytest.mark.parametrize(
    "costs",
    [
        UsageSettings(),
        UsageSettings(watts={"studio": 360.0}),
        UsageSettings(price_per_kwh=0.25),
        UsageSettings(watts={"attic": 360.0}, price_per_kwh=0.25),
    ],
    ids=["nothing", "no price", "no watts", "of another machine"],
)
def test_electricity_needs_watts_and_a_price(library: Library, costs: UsageSettings) -> None:
    record_generation(library, make_record(1, **_facts()), costs=costs)
    assert [(use.cost, use.is_unknown) for use in list_rows(library)] == [(None, False)]


def test_a_paid_backend_costs_no_electricity(library: Library) -> None:
    costs = UsageSettings(currency="CHF", watts={"studio": 360.0}, price_per_kwh=0.25)
    record_generation(library, make_record(1, estimated_usd=0.05, **_facts()), costs=costs)
    assert [(use.cost, use.currency) for use in list_rows(library)] == [(0.05, "USD")]


def test_sum_usage_without_groupings_is_one_total(library: Library) -> None:
    known = _facts(cost_usd=0.04) | {"estimated_usd": 0.05}
    unknown = _facts() | {"is_paid": True}
    record_all(
        library, [make_record(1, **known), make_record(2, **unknown), make_record(3, **_facts())]
    )
    assert sum_usage(library) == [
        UsageTotal((), 3, 3, 9.0, 6.0, {"USD": 0.04}, {"USD": 0.05}, 1),
    ]


def test_costs_are_summed_by_currency(library: Library) -> None:
    francs = UsageSettings(currency="CHF", watts={"studio": 3600.0}, price_per_kwh=1.0)
    record_generation(library, make_record(1, **_facts(executing_seconds=1000.0)), costs=francs)
    record_generation(library, make_record(2, estimated_usd=0.5, **_facts()), costs=francs)
    (total,) = sum_usage(library)
    assert total.costs == {"CHF": pytest.approx(1.0), "USD": 0.5}
    assert total.estimates == {"USD": 0.5}


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        pytest.param(["backend"], [("cloud",), ("studio",)], id="backend"),
        pytest.param(["model"], [("dream",), ("grey",)], id="model"),
        pytest.param(["caller"], [("",), ("ada",)], id="caller"),
        pytest.param(
            ["backend", "model"],
            [("cloud", "grey"), ("studio", "dream"), ("studio", "grey")],
            id="two",
        ),
    ],
)
def test_sum_usage_groups_by_each_grouping(
    library: Library, by: list[UsageGrouping], keys: list[Any]
) -> None:
    record_all(
        library,
        [
            make_record(1, facts={"model": "dream"}),
            make_record(2, facts={"model": "grey"}, backend="cloud", caller=""),
            make_record(3, facts={"model": "grey"}),
        ],
    )
    found = sum_usage(library, by)
    assert [total.key for total in found] == keys
    assert sum(total.generations for total in found) == 3


@pytest.mark.usefixtures("in_zurich")
@pytest.mark.parametrize(
    ("by", "keys"),
    [
        pytest.param("day", ["2026-01-01", "2026-03-29", "2026-03-30", "2026-12-31"], id="day"),
        pytest.param("week", ["2026-W01", "2026-W13", "2026-W14", "2026-W53"], id="week"),
        pytest.param("month", ["2026-01", "2026-03", "2026-12"], id="month"),
    ],
)
def test_periods_begin_in_the_machines_time_zone(
    library: Library, by: UsageGrouping, keys: list[str]
) -> None:
    record_all(
        library,
        [
            _ended(1, datetime(2025, 12, 31, 23, 0, tzinfo=UTC)),  # midnight there
            _ended(2, datetime(2026, 3, 29, 21, 59, 59, tzinfo=UTC)),  # summer since that night
            _ended(3, datetime(2026, 3, 29, 22, 0, tzinfo=UTC)),
            _ended(4, datetime(2026, 12, 31, 22, 59, 59, tzinfo=UTC)),
        ],
    )
    assert [total.key for total in sum_usage(library, [by])] == [(key,) for key in keys]


@pytest.mark.usefixtures("in_zurich")
def test_days_with_a_clock_change_are_one_day(library: Library) -> None:
    moments = [
        datetime(2026, 3, 28, 23, 0, tzinfo=UTC),  # midnight there
        datetime(2026, 3, 29, 21, 59, 59, tzinfo=UTC),
        datetime(2026, 10, 24, 22, 0, tzinfo=UTC),  # midnight there
        datetime(2026, 10, 25, 22, 59, 59, tzinfo=UTC),
        datetime(2026, 10, 25, 23, 0, tzinfo=UTC),
    ]
    record_all(library, [_ended(number, at) for number, at in enumerate(moments)])
    found = [(*total.key, total.generations) for total in sum_usage(library, ["day"])]
    assert found == [("2026-03-29", 2), ("2026-10-25", 2), ("2026-10-26", 1)]


@pytest.mark.parametrize(
    ("zone", "days", "weeks"),
    [
        pytest.param("UTC", ["2026-03-08", "2026-03-09"], ["2026-W10", "2026-W11"], id="UTC"),
        pytest.param(
            "America/New_York",
            ["2026-03-07", "2026-03-08", "2026-03-09"],
            ["2026-W10", "2026-W11"],
            id="behind UTC, an hour is skipped",
        ),
        pytest.param(
            "Pacific/Auckland",
            ["2026-03-08", "2026-03-09"],
            ["2026-W10", "2026-W11"],
            id="ahead of UTC",
        ),
    ],
)
def test_periods_begin_in_the_given_time_zone(
    library: Library, zone: str, days: list[str], weeks: list[str]
) -> None:
    record_all(
        library,
        [
            _ended(1, datetime(2026, 3, 8, 4, 59, tzinfo=UTC)),  # Saturday 23:59 in New York
            _ended(2, datetime(2026, 3, 8, 5, 0, tzinfo=UTC)),  # its Sunday of 23 hours
            _ended(3, datetime(2026, 3, 9, 3, 59, tzinfo=UTC)),
            _ended(4, datetime(2026, 3, 9, 4, 0, tzinfo=UTC)),  # its Monday
        ],
    )
    place = ZoneInfo(zone)
    assert [total.key for total in sum_usage(library, ["day"], zone=place)] == [(d,) for d in days]
    assert [total.key for total in sum_usage(library, ["week"], zone=place)] == [
        (w,) for w in weeks
    ]


def test_weeks_and_days_are_grouped_together(library: Library) -> None:
    record_all(library, [_ended(1, datetime(2027, 1, 3, 12, tzinfo=UTC))])
    (total,) = sum_usage(library, ["week", "day"], zone=UTC)
    assert total.key == ("2026-W53", "2027-01-03")


def test_add_totals_sums_all_groups(library: Library) -> None:
    record_all(
        library,
        [
            _ended(1, NOON, estimated_usd=1.0, **_facts(cost_usd=2.0)),
            _ended(2, NOON, estimated_usd=0.5, backend="cloud", **_facts()),
            _ended(3, NOON, is_paid=True, **_facts()),
            _ended(4, NOON + timedelta(days=9), **_facts()),
        ],
    )
    assert [add_totals(sum_usage(library, ["week", "backend"]))] == sum_usage(library)
    assert add_totals([]) is None


def test_a_period_includes_its_start_and_excludes_its_end(library: Library) -> None:
    record_all(library, [_ended(hour, NOON + timedelta(hours=hour)) for hour in range(4)])
    at_one, at_three = NOON + timedelta(hours=1), NOON + timedelta(hours=3)
    assert [total.generations for total in sum_usage(library, since=at_one)] == [3]
    assert [total.generations for total in sum_usage(library, until=at_three)] == [3]
    assert [total.generations for total in sum_usage(library, (), at_one, at_three)] == [2]
    assert sum_usage(library, since=datetime(9999, 1, 1, tzinfo=UTC)) == []


def test_sum_spending_sums_from_a_moment_on(library: Library) -> None:
    record_all(
        library,
        [
            _ended(1, NOON, estimated_usd=1.0, **_facts(cost_usd=2.0)),
            _ended(2, NOON, estimated_usd=0.5, backend="cloud", **_facts()),
            _ended(3, NOON, is_paid=True, **_facts()),
            _ended(4, NOON - timedelta(hours=1), estimated_usd=8.0, **_facts()),
            _ended(5, NOON, **_facts()),
        ],
    )
    with library.reading() as connection:
        assert sum_spending(connection, NOON, currency="USD") == (2.5, 1)
        assert sum_spending(connection, NOON, currency="USD", backend="cloud") == (0.5, 0)
        assert sum_spending(connection, NOON, currency="CHF") == (0.0, 0)
        assert sum_spending(connection, NOON - timedelta(days=1), currency="USD") == (10.5, 1)


def test_a_reported_seed_of_zero_is_stored(library: Library) -> None:
    record_generation(library, make_record(1, facts={"seed": 0}, seed=7))
    record_generation(library, make_record(2, facts={"seed": None}, seed=0))
    record_generation(library, make_record(3, facts={}, seed=None))
    assert [use.seed for use in list_rows(library)] == [0, 0, None]

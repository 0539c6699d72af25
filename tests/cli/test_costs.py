"""What pictures cost, in words."""

from __future__ import annotations

import pytest

from imagen.cli.output import actual, expected
from imagen.core.request import Request
from imagen.core.result import Facts, Result
from imagen.core.text import format_usd
from imagen.core.ticket import Estimate, Ticket
from imagen.pipeline.generate import Generation

_RATE = "1 picture at $0.003, as of 2026-01-01"
_KNOWN = Estimate(usd=0.003, basis=_RATE)
_UNKNOWN = Estimate(usd=None, basis="No price is known.")


def _ticket(estimate: Estimate | None) -> Ticket:
    return Ticket(id="1", backend="b", request=Request(), receipt={}, estimate=estimate)


def _made(cost: float | None, basis: str = "", estimate: Estimate | None = None) -> Generation:
    facts = Facts(cost_usd=cost, cost_basis=basis)
    return Generation(ticket=_ticket(estimate), result=Result(outputs=(), facts=facts), saved=())


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (0, "$0.00"),
        (0.003, "$0.003"),
        (0.04, "$0.04"),
        (0.1, "$0.10"),
        (0.123456, "$0.12346"),
        (1.255, "$1.25"),
        (12, "$12.00"),
        (0.000001, "less than $0.00001"),
    ],
    ids=str,
)
def test_an_amount_is_as_exact_as_anyone_wants_to_know(usd: float, text: str) -> None:
    assert format_usd(usd) == text


def test_an_estimate_says_how_it_comes_about() -> None:
    assert list(expected([_ticket(_KNOWN)])) == [f"Cost about $0.003: {_RATE}"]


def test_an_unknown_cost_is_said_to_be_unknown() -> None:
    assert list(expected([_ticket(_UNKNOWN)])) == ["Cost unknown. No price is known."]


def test_several_runs_are_summed_up() -> None:
    assert list(expected([_ticket(_KNOWN), _ticket(_KNOWN)])) == [
        f"Cost about $0.003: {_RATE}",
        "In all about $0.006, for 2 runs.",
    ]


def test_where_one_is_unknown_the_sum_is_the_least() -> None:
    lines = list(expected([_ticket(_KNOWN), _ticket(_KNOWN), _ticket(_UNKNOWN)]))
    assert lines[-1] == "In all at least about $0.006, for 3 runs."


def test_an_engine_that_costs_nothing_is_not_spoken_of() -> None:
    assert list(expected([_ticket(None)])) == []
    assert list(actual([_made(None), _made(0.0)])) == []


def test_what_it_did_cost_is_told() -> None:
    made = [_made(0.003, "1 picture", _KNOWN), _made(0.003, "1 picture", _KNOWN)]
    assert list(actual(made)) == ["Cost $0.006: 1 picture."]


def test_runs_of_other_costs_stand_in_one_sentence() -> None:
    made = [_made(0.004, "4 × $0.001.", _KNOWN), _made(0.002, "2 × $0.001.", _KNOWN)]
    assert list(actual(made)) == ["Cost $0.006: 4 × $0.001; 2 × $0.001."]


def test_where_one_run_is_unknown_the_cost_is_the_least() -> None:
    made = [_made(0.003, "1 picture", _KNOWN), _made(None, "", _KNOWN)]
    assert list(actual(made)) == ["Cost at least $0.003: 1 picture."]


def test_a_paid_run_of_unknown_cost_says_so() -> None:
    assert list(actual([_made(None, "", _UNKNOWN)])) == ["Cost unknown."]
    assert list(actual([_made(None, "No price is known.", _UNKNOWN)])) == [
        "Cost unknown. No price is known."
    ]

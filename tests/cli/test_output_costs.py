"""Estimated and actual costs as text."""

from __future__ import annotations

import pytest

from imagen.cli.output import cost_lines, estimate_lines
from imagen.core.request import Request
from imagen.core.result import Facts, Result
from imagen.core.text import format_usd
from imagen.core.ticket import Estimate, Ticket
from imagen.pipeline.generate import Generation

_RATE = "1 image at $0.003, as of 2026-01-01"
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
def test_amounts_are_rounded_sensibly(usd: float, text: str) -> None:
    assert format_usd(usd) == text


def test_an_estimate_states_its_basis() -> None:
    assert list(estimate_lines([_ticket(_KNOWN)])) == [f"Estimated cost: $0.003: {_RATE}"]


def test_an_unknown_estimate_is_reported_as_unknown() -> None:
    assert list(estimate_lines([_ticket(_UNKNOWN)])) == ["Cost unknown. No price is known."]


def test_several_estimates_are_added_up() -> None:
    assert list(estimate_lines([_ticket(_KNOWN), _ticket(_KNOWN)])) == [
        f"Estimated cost: $0.003: {_RATE}",
        "Estimated total: $0.006 for 2 jobs.",
    ]


def test_a_total_with_an_unknown_estimate_is_a_minimum() -> None:
    lines = list(estimate_lines([_ticket(_KNOWN), _ticket(_KNOWN), _ticket(_UNKNOWN)]))
    assert lines[-1] == "Estimated total: at least $0.006 for 3 jobs."


def test_the_cost_of_free_engines_is_not_mentioned() -> None:
    assert list(estimate_lines([_ticket(None)])) == []
    assert list(cost_lines([_made(None), _made(0.0)])) == []


def test_the_actual_cost_is_printed() -> None:
    made = [_made(0.003, "1 image", _KNOWN), _made(0.003, "1 image", _KNOWN)]
    assert list(cost_lines(made)) == ["Cost: $0.006: 1 image."]


def test_different_costs_are_added_up_in_one_sentence() -> None:
    made = [_made(0.004, "4 × $0.001.", _KNOWN), _made(0.002, "2 × $0.001.", _KNOWN)]
    assert list(cost_lines(made)) == ["Cost: $0.006: 4 × $0.001; 2 × $0.001."]


def test_a_total_with_an_unknown_cost_is_a_minimum() -> None:
    made = [_made(0.003, "1 image", _KNOWN), _made(None, "", _KNOWN)]
    assert list(cost_lines(made)) == ["Cost: at least $0.003: 1 image."]


def test_an_unknown_actual_cost_is_reported_as_unknown() -> None:
    assert list(cost_lines([_made(None, "", _UNKNOWN)])) == ["Cost unknown."]
    assert list(cost_lines([_made(None, "No price is known.", _UNKNOWN)])) == [
        "Cost unknown. No price is known."
    ]

"""Budgets on the command line: shown in plans, enforced, and ignored with --over-budget."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from simulators.replicate import Replicate

from imagen.cli import run

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("replicate_token")
_LINE = ["generate", "a fox", "-b", "cloud", "--quiet"]


@pytest.fixture
def cloud() -> Iterator[Replicate]:
    """A model at $0.003 per image, and a budget of half a cent per day."""
    with Replicate() as cloud:
        block = {
            "type": "replicate",
            "model": "black-forest-labs/flux-schnell",
            "base_url": cloud.url,
        }
        budgets = [{"amount": 0.005, "per": "day"}]
        whole = {"backends": {"cloud": block}, "budgets": budgets}
        Path("imagen.yaml").write_text(json.dumps(whole))
        yield cloud


def test_a_request_over_budget_is_refused_before_it_is_sent(
    cloud: Replicate, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*_LINE, "-o", "first.png"]) == 0
    capsys.readouterr()
    assert run([*_LINE, "-o", "second.png"]) == 2
    assert capsys.readouterr().err == (
        "imagen: This would exceed the budget of $0.005 for a day: $0.003 was spent today, and "
        "this would cost $0.003.\n"
        "Nothing was sent. Use --over-budget, or change budgets in imagen.yaml.\n"
    )
    assert cloud.submissions == 1


def test_over_budget_ignores_the_budget(cloud: Replicate) -> None:
    for number in (1, 2, 3):
        assert run([*_LINE, "--over-budget", "-o", f"{number}.webp"]) == 0
    assert cloud.submissions == 3


def test_a_dry_run_prints_what_the_budget_says(
    cloud: Replicate, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*_LINE, "--count", "2", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["budgets"] == [
        "This would exceed the budget of $0.005 for a day: $0.00 was spent today, and this "
        "would cost $0.006."
    ]
    assert cloud.submissions == 0


def test_a_comparison_stops_at_the_budget(
    cloud: Replicate, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["compare", "a fox", "--models", "cloud", "--vary", "steps=1,2", "-o", "c", "--quiet"]
    assert run([*line, "--json"]) == 4
    first, second = json.loads(capsys.readouterr().out)["cells"]
    assert (first["error"], second["error"]["code"]) == (None, "over_budget")
    assert run([*line, "--over-budget"]) == 0
    assert cloud.submissions == 2


def _limit_one_run(amount: float) -> None:
    whole = json.loads(Path("imagen.yaml").read_text())
    budgets = {"budgets": [{"amount": amount, "per": "run"}]}
    Path("imagen.yaml").write_text(json.dumps(whole | budgets))


def test_a_comparison_over_a_run_budget_is_refused_before_its_first_cell(
    cloud: Replicate, capsys: pytest.CaptureFixture[str]
) -> None:
    _limit_one_run(0.005)
    line = ["compare", "a fox", "-m", "mock,cloud", "--vary", "seed=1,2", "-q"]
    assert run(line) == 2
    assert capsys.readouterr().err == (
        "imagen: This would exceed the budget of $0.005 for one run: $0.00 was spent in this "
        "run, and this would cost $0.006.\n"
        "Nothing was sent. Use --over-budget, or change budgets in imagen.yaml.\n"
    )
    assert (cloud.submissions, Path("outputs").exists()) == (0, False)


def test_complete_cells_do_not_count_towards_the_budget(
    cloud: Replicate,
) -> None:
    _limit_one_run(0.005)
    line = ["compare", "a fox", "-m", "cloud", "-o", "c", "-q"]
    assert run([*line, "--vary", "seed=1"]) == 0
    assert run([*line, "--vary", "seed=1,2"]) == 0
    assert cloud.submissions == 2


def test_a_dry_run_of_a_comparison_prints_cost_and_budget(
    cloud: Replicate, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["compare", "a fox", "-m", "mock,cloud", "--vary", "seed=1,2", "-o", "c", "--dry-run"]
    refusal = (
        "This would exceed the budget of $0.005 for a day: $0.00 was spent today, and this "
        "would cost $0.006."
    )
    assert run(line) == 0
    output = capsys.readouterr().out.splitlines()
    assert output[-2:] == ["Estimated total: $0.006 for 2 jobs.", refusal]
    assert "cloud, seed 2: 4 steps, compute unknown, about $0.003" in output
    assert run([*line, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [cell["model"] for cell in plan["cells"]] == ["mock", "mock", "cloud", "cloud"]
    assert (plan["cost_usd"], plan["unknown_costs"], plan["budgets"]) == (0.006, 0, [refusal])
    assert plan["cells"][3]["plan"][0]["estimate"]["usd"] == 0.003
    assert cloud.submissions == 0


@pytest.mark.parametrize("per", ["run", "day"])
def test_a_cell_saved_by_a_killed_comparison_costs_nothing_more(cloud: Replicate, per: str) -> None:
    line = ["compare", "a fox", "-m", "cloud", "-o", "c", "-q"]
    assert run([*line, "--vary", "seed=1,2", "--over-budget"]) == 0
    record = Path("c/compare.json")
    record.write_text(json.dumps(json.loads(record.read_text()) | {"cells": []}))
    whole = json.loads(Path("imagen.yaml").read_text())
    budgets = {"budgets": [{"amount": 0.005 if per == "run" else 0.009, "per": per}]}
    Path("imagen.yaml").write_text(json.dumps(whole | budgets))
    assert run([*line, "--vary", "seed=1,2,3"]) == 0
    assert cloud.submissions == 3

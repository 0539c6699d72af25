"""The ranking of simulated voters: whether its intervals and places are right."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from imagen.arena.ranking import rank
from imagen.arena.votes import Contestant

if TYPE_CHECKING:
    from imagen.arena.votes import Choice, Outcome

_STRENGTHS = {"ada": 0.9, "bea": 0.4, "cleo": 0.0, "dora": -0.3, "eve": -1.0}
"""Logarithms of the true strengths; their mean is 0."""


def _contestant(name: str) -> Contestant:
    return Contestant(backend=name, model="", image="", sha256="")


def _outcomes(counted: Counter[tuple[str, str, Choice]]) -> list[Outcome]:
    return [
        (_contestant(left), _contestant(right), choice, count)
        for (left, right, choice), count in counted.items()
    ]


def _simulate(votes: int, seed: int, *, undecided: float = 0.0) -> list[Outcome]:
    """Votes on random pairs; some voters cannot decide."""
    draw = random.Random(seed)
    counted: Counter[tuple[str, str, Choice]] = Counter()
    for _ in range(votes):
        left, right = draw.sample([*_STRENGTHS], 2)
        odds = math.exp(_STRENGTHS[left] - _STRENGTHS[right])
        choice: Choice = "left" if draw.random() < odds / (1 + odds) else "right"
        if draw.random() < undecided:
            choice = draw.choice(("tie", "both_bad", "skip"))
        counted[left, right, choice] += 1
    return _outcomes(counted)


def test_the_intervals_of_200_simulations_hold_the_true_strengths() -> None:
    held, first = 0, 0
    for seed in range(200):
        ranking = rank(_simulate(500, seed), "models")
        first += ranking.contenders[0].backend == "ada"
        for one in ranking.contenders:
            true = 1000 + 400 / math.log(10) * _STRENGTHS[one.backend]
            held += one.rating.low <= true <= one.rating.high
    assert 0.90 <= held / (200 * len(_STRENGTHS)) <= 0.99
    assert first > 190


def test_undecided_votes_bring_ratings_together_but_not_out_of_order() -> None:
    decided = rank(_simulate(4000, 1), "models")
    ranking = rank(_simulate(4000, 1, undecided=0.4), "models")
    names = [one.backend for one in ranking.contenders]
    assert names == [one.backend for one in decided.contenders] == [*_STRENGTHS]
    best, last = (ranking.contenders[n].rating for n in (0, -1))
    assert best.rating < decided.contenders[0].rating.rating
    assert last.rating > decided.contenders[-1].rating.rating
    assert ranking.votes == 4000 - ranking.skips
    assert ranking.votes == ranking.decisive + ranking.ties + ranking.both_bad
    for one in ranking.contenders:
        assert one.votes == one.wins + one.losses + one.ties + one.both_bad


@pytest.mark.parametrize("choice", ["tie", "both_bad"])
def test_two_that_are_always_alike_share_the_first_place(choice: Choice) -> None:
    ranking = rank(_outcomes(Counter({("ada", "bea", choice): 50})), "models")
    assert [one.rating.rating for one in ranking.contenders] == pytest.approx([1000, 1000])
    assert {(one.rating.first_rank, one.rating.last_rank) for one in ranking.contenders} == {(1, 2)}
    assert [one.win_share for one in ranking.contenders] == [0.5, 0.5]


@pytest.mark.parametrize("choice", ["left", "tie"])
def test_one_without_votes_is_uncertain_and_never_first(choice: Choice) -> None:
    votes = _outcomes(Counter({("bea", "cleo", choice): 80}))
    ranking = rank(votes, "models", entered=[_contestant("ada")])
    assert ranking.contenders[0].backend == "bea"
    (new,) = (one for one in ranking.contenders if one.backend == "ada")
    assert new.rating.half_width > 400
    assert new.rating.half_width > 3 * min(one.rating.half_width for one in ranking.contenders)
    assert (new.votes, new.win_share, new.needs_more) == (0, None, True)
    assert new.rating.last_rank > 1

"""Ratings: against the likelihood itself, simulated voters, and what must always hold."""

from __future__ import annotations

import math
import random
import time
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagen.arena.rating import (
    CENTRE,
    PRIOR,
    Fit,
    Rating,
    fit_strengths,
    forecast_votes,
    rate,
    share_of,
)

_Wins = dict[tuple[int, int], float]

_GAMES = st.dictionaries(
    st.tuples(st.integers(0, 4), st.integers(0, 4)).filter(lambda pair: pair[0] != pair[1]),
    st.integers(1, 40).map(lambda halves: halves / 2),
    max_size=12,
)


def _log_likelihood(strengths: list[float], wins: _Wins) -> float:
    """Of the votes and the prior, as the model is written in textbooks."""
    powers = [math.exp(s) for s in strengths]
    votes = sum(n * math.log(powers[a] / (powers[a] + powers[b])) for (a, b), n in wins.items())
    return votes + sum(PRIOR * math.log(p / (p + 1) / (p + 1)) for p in powers)


def _simulate(true: list[float], votes: int, seed: int, ties: float = 0.0) -> _Wins:
    """Votes on random pairs by people who judge as the model says."""
    draw = random.Random(seed)
    wins: _Wins = {}
    for _ in range(votes):
        a, b = draw.sample(range(len(true)), 2)
        if draw.random() < ties:
            for pair in ((a, b), (b, a)):
                wins[pair] = wins.get(pair, 0) + 0.5
            continue
        if draw.random() >= 1 / (1 + 10 ** ((true[b] - true[a]) / 400)):
            a, b = b, a
        wins[a, b] = wins.get((a, b), 0) + 1
    return wins


def test_the_fit_is_the_most_probable_of_a_brute_force_grid() -> None:
    wins: _Wins = {(0, 1): 7, (1, 0): 3, (1, 2): 4.5, (2, 1): 1.5, (0, 2): 2}
    grid = [n / 10 for n in range(-30, 31)]
    best = max(product(grid, repeat=3), key=lambda point: _log_likelihood([*point], wins))
    mean = sum(best) / 3
    fitted = fit_strengths(3, wins).strengths
    assert fitted == pytest.approx([s - mean for s in best], abs=0.1)


@given(_GAMES)
@settings(max_examples=60, deadline=None)
def test_no_step_from_the_fit_is_more_probable(wins: _Wins) -> None:
    fit = fit_strengths(5, wins)
    # The fit is centred, which the prior is not: compare with the best shift of it.
    shift = _best_shift(fit, wins)
    best = _shifted(fit, shift, wins)
    for n, step in product(range(5), (-0.05, 0.05)):
        moved = [s + shift + step * (m == n) for m, s in enumerate(fit.strengths)]
        assert _log_likelihood(moved, wins) < best + 1e-4


def _best_shift(fit: Fit, wins: _Wins) -> float:
    low, high = -4.0, 4.0
    while high - low > 1e-5:
        a, b = low + (high - low) / 3, high - (high - low) / 3
        low, high = (a, high) if _shifted(fit, a, wins) < _shifted(fit, b, wins) else (low, b)
    return low


def _shifted(fit: Fit, x: float, wins: _Wins) -> float:
    return _log_likelihood([s + x for s in fit.strengths], wins)


def test_intervals_are_those_of_the_numerical_hessian() -> None:
    wins = _simulate([1100, 1000, 900], 120, 5)
    fit, step = fit_strengths(3, wins), 1e-3
    shift = _best_shift(fit, wins)

    def at(*moves: float) -> float:
        return _log_likelihood(
            [s + shift + m * step for s, m in zip(fit.strengths, moves, strict=True)], wins
        )

    # The variance of a difference, from the curvature along the line where the sum stays.
    for a, b in ((0, 1), (0, 2), (1, 2)):
        matrix = [[0.0] * 3 for _ in range(3)]
        for i, j in product(range(3), repeat=2):

            def unit(x: int, y: int, i: int = i, j: int = j) -> tuple[float, ...]:
                return tuple(float(x * (n == i) + y * (n == j)) for n in range(3))

            if i == j:
                curve = (at(*unit(1, 0)) + at(*unit(-1, 0)) - 2 * at(0, 0, 0)) / step**2
            else:
                curve = (
                    at(*unit(1, 1)) - at(*unit(1, -1)) - at(*unit(-1, 1)) + at(*unit(-1, -1))
                ) / (4 * step**2)
            matrix[i][j] = -curve
        assert fit.difference_variance(a, b) == pytest.approx(
            _solve_variance(matrix, a, b), rel=0.02
        )


def _solve_variance(matrix: list[list[float]], a: int, b: int) -> float:
    """dᵀ M⁻¹ d for d = e_a - e_b, by Cramer's rule."""

    def det(m: list[list[float]]) -> float:
        return (
            m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1])
            - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
            + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
        )

    d = [float(n == a) - float(n == b) for n in range(3)]
    solution = [
        det([[d[r] if c == n else matrix[r][c] for c in range(3)] for r in range(3)]) / det(matrix)
        for n in range(3)
    ]
    return sum(x * y for x, y in zip(d, solution, strict=True))


def test_95_percent_of_intervals_hold_the_truth() -> None:
    true = [1140.0, 1080, 1020, 980, 920, 860]
    held = [
        one.low <= strength <= one.high
        for seed in range(120)
        for one, strength in zip(
            rate(fit_strengths(6, _simulate(true, 250, seed))), true, strict=True
        )
    ]
    assert 0.93 <= sum(held) / len(held) <= 0.98


@given(_GAMES, st.permutations(range(5)))
@settings(max_examples=60, deadline=None)
def test_neither_the_order_nor_the_names_matter(wins: _Wins, names: list[int]) -> None:
    straight = rate(fit_strengths(5, wins))
    renamed = {(names[a], names[b]): n for (a, b), n in reversed(wins.items())}
    other = rate(fit_strengths(5, renamed))
    for n, one in enumerate(straight):
        assert other[names[n]].rating == pytest.approx(one.rating, abs=1e-4)
        assert other[names[n]].half_width == pytest.approx(one.half_width, abs=1e-3)


@given(_GAMES)
@settings(max_examples=60, deadline=None)
def test_votes_turned_round_turn_the_ranking_round(wins: _Wins) -> None:
    straight = rate(fit_strengths(5, wins))
    turned = rate(fit_strengths(5, {(b, a): n for (a, b), n in wins.items()}))
    for one, other in zip(straight, turned, strict=True):
        assert one.rating - CENTRE == pytest.approx(CENTRE - other.rating, abs=1e-4)
        assert one.half_width == pytest.approx(other.half_width, abs=1e-3)


def test_without_votes_all_share_all_ranks() -> None:
    ratings = rate(fit_strengths(3, {}))
    assert {(one.rating, one.first_rank, one.last_rank) for one in ratings} == {(CENTRE, 1, 3)}
    assert rate(fit_strengths(0, {})) == []


def test_one_that_won_all_votes_keeps_a_finite_rating() -> None:
    best, last = rate(fit_strengths(2, {(0, 1): 20}))
    assert CENTRE < best.rating < CENTRE + 1000
    assert last.rating == pytest.approx(2 * CENTRE - best.rating)
    assert (best.first_rank, best.last_rank, last.first_rank) == (1, 1, 2)


def test_overlapping_intervals_share_ranks() -> None:
    best, second, third = rate(
        fit_strengths(3, {(0, 1): 52, (1, 0): 48, (0, 2): 90, (2, 0): 10, (1, 2): 88, (2, 1): 12})
    )
    ranks = [(one.first_rank, one.last_rank) for one in (best, second, third)]
    assert ranks == [(1, 2), (1, 2), (3, 3)]


def test_ties_bring_two_together() -> None:
    decided = rate(fit_strengths(2, {(0, 1): 10}))
    tied = rate(fit_strengths(2, {(0, 1): 20, (1, 0): 10}))
    assert CENTRE < tied[0].rating < decided[0].rating


def test_a_ranking_of_many_is_quick() -> None:
    draw = random.Random(1)
    wins = _simulate([draw.gauss(1000, 150) for _ in range(100)], 1000, 2)
    began = time.process_time()
    rate(fit_strengths(100, wins))
    assert time.process_time() - began < 2  # about 0.2 s


# --- how many more votes ---


def test_no_more_votes_are_needed_for_a_clear_first_place() -> None:
    ratings = rate(fit_strengths(2, {(0, 1): 60, (1, 0): 10}))
    assert forecast_votes(ratings, 70) == 0


def test_the_number_of_votes_is_unknown_after_few_and_for_equals() -> None:
    assert forecast_votes(rate(fit_strengths(2, {(0, 1): 3})), 3) is None
    assert forecast_votes(rate(fit_strengths(2, {(0, 1): 50, (1, 0): 50})), 100) is None
    assert forecast_votes([], 100) is None
    assert forecast_votes([Rating(CENTRE, 1, 1, 1)], 100) is None


def test_the_forecast_is_about_what_simulated_voters_need() -> None:
    """Half of them need between a third and three times as many."""
    true, ratios = [1150.0, 1000, 950, 900], []
    for seed in range(40):
        early = rate(fit_strengths(4, _simulate(true, 60, seed)))
        more = forecast_votes(early, 60)
        if not more:
            continue
        needed = next(
            n
            for n in range(60, 4000, 20)
            if forecast_votes(rate(fit_strengths(4, _simulate(true, n, seed))), n) == 0
        )
        ratios.append((needed - 60 or 10) / more)
    assert len(ratios) >= 15
    middle = sorted(ratios)[len(ratios) // 2]
    assert 1 / 3 < middle < 3


# --- shares ---


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [(51, 100, 0.4134, 0.6058), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0)],
)
def test_the_interval_of_a_share_is_wilsons(
    count: int, total: int, low: float, high: float
) -> None:
    share = share_of(count, total)
    assert share is not None
    assert (share.share, share.low, share.high) == pytest.approx(
        (count / total, low, high), abs=2e-4
    )


def test_nothing_has_no_share() -> None:
    assert share_of(0, 0) is None

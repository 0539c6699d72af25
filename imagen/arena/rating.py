"""Ratings from votes on pairs, by the model of Bradley and Terry.

A contender of strength s beats another of strength t with the probability s / (s + t). The result
depends on how often each one won against each other, never on the order of the votes. A tie counts
as half a win for each side. Every contender also has half a win and half a loss against an anchor
of strength 1, so that one which won or lost all of its votes keeps a finite rating.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    Wins = Mapping[tuple[int, int], float]
    """How often the first contender beat the second one; a tie is half a win for each."""

CENTRE = 1000.0
"""The mean of the ratings of all who have votes."""
POINTS = 400 / math.log(10)
"""Rating points of one unit of the logarithm of a strength: 400 points are odds of 10 to 1."""
PRIOR = 0.5
"""The wins, and as many losses, of every contender against the anchor."""
Z95 = 1.959964
"""Standard deviations on each side of the mean that hold 95 % of a normal distribution."""
MOST_MORE_VOTES = 2000
"""Above this, the first places are too close to wait for."""
_FEWEST_TO_FORECAST = 10
_SWEEPS = 500
_NEWTON_STEPS = 30
_CLOSE, _EXACT = 1e-3, 1e-10


@dataclass(frozen=True, slots=True)
class Fit:
    """The logarithms of strengths, and how uncertain they are."""

    strengths: tuple[float, ...]
    """Logarithms; their mean is 0."""
    covariance: tuple[tuple[float, ...], ...]
    """Of the uncentred logarithms: the inverse of the information in the votes."""

    def win_probability(self, first: int, second: int) -> float:
        return _logistic(self.strengths[first] - self.strengths[second])

    def difference_variance(self, first: int, second: int) -> float:
        """Of the difference of two strengths."""
        c = self.covariance
        return max(0.0, c[first][first] + c[second][second] - 2 * c[first][second])

    def information(self, first: int, second: int) -> float:
        """How much a vote on this pair is expected to tell: most near 50 % and with few votes."""
        p = self.win_probability(first, second)
        return math.log1p(p * (1 - p) * self.difference_variance(first, second))


@dataclass(frozen=True, slots=True)
class Rating:
    """The rating of one contender, with its 95 % interval and the ranks that it may have."""

    rating: float
    half_width: float
    first_rank: int
    last_rank: int

    @property
    def low(self) -> float:
        return self.rating - self.half_width

    @property
    def high(self) -> float:
        return self.rating + self.half_width


@dataclass(frozen=True, slots=True)
class Share:
    """A share of votes, with its 95 % interval."""

    share: float
    low: float
    high: float


def fit_strengths(contenders: int, wins: Wins) -> Fit:
    """The most probable strengths. It starts with minorise-maximise and ends with Newton."""
    if contenders == 0:
        return Fit((), ())
    games: list[dict[int, float]] = [{} for _ in range(contenders)]
    won = [PRIOR] * contenders
    for (winner, loser), count in wins.items():
        won[winner] += count
        games[winner][loser] = games[winner].get(loser, 0.0) + count
        games[loser][winner] = games[loser].get(winner, 0.0) + count
    logs = _minorise_maximise(won, games)
    inverse, before = _invert(_information_matrix(logs, games)), math.inf
    for _ in range(_NEWTON_STEPS):
        gradient = _gradient(logs, won, games)
        steps = [sum(map(float.__mul__, row, gradient)) for row in inverse]
        largest = max(map(abs, steps))
        scale = min(1.0, 1.0 / largest) if largest else 1.0
        logs = [log + step * scale for log, step in zip(logs, steps, strict=True)]
        if largest < _EXACT:
            break
        if largest > before / 10:  # it is too far from where the inverse was calculated
            inverse = _invert(_information_matrix(logs, games))
        before = largest
    inverse = _invert(_information_matrix(logs, games))
    mean = math.fsum(logs) / contenders
    return Fit(tuple(log - mean for log in logs), tuple(map(tuple, inverse)))


def _minorise_maximise(won: Sequence[float], games: Sequence[Mapping[int, float]]) -> list[float]:
    """Close to the most probable logarithms, from any votes."""
    strengths = [1.0] * len(won)
    for _ in range(_SWEEPS):
        new = []
        for own, mine, wins in zip(strengths, games, won, strict=True):
            weight = 2 * PRIOR / (own + 1.0)
            weight += sum(count / (own + strengths[other]) for other, count in mine.items())
            new.append(wins / weight)
        change = max(abs(math.log(b / a)) for a, b in zip(strengths, new, strict=True))
        strengths = new
        if change < _CLOSE:
            break
    return [math.log(strength) for strength in strengths]


def _gradient(
    logs: Sequence[float], won: Sequence[float], games: Sequence[Mapping[int, float]]
) -> list[float]:
    """Of the logarithm of the likelihood with its prior: wins, less the expected ones."""
    return [
        wins
        - 2 * PRIOR * _logistic(own)
        - sum(count * _logistic(own - logs[other]) for other, count in mine.items())
        for own, mine, wins in zip(logs, games, won, strict=True)
    ]


def _information_matrix(
    logs: Sequence[float], games: Sequence[Mapping[int, float]]
) -> list[list[float]]:
    matrix = [[0.0] * len(logs) for _ in logs]
    for n, mine in enumerate(games):
        p = _logistic(logs[n])
        matrix[n][n] = 2 * PRIOR * p * (1 - p)
        for other, count in mine.items():
            p = _logistic(logs[n] - logs[other])
            matrix[n][other] -= count * p * (1 - p)
            matrix[n][n] += count * p * (1 - p)
    return matrix


def _invert(matrix: Sequence[Sequence[float]]) -> list[list[float]]:
    """The inverse of a symmetric positive definite matrix, which needs no pivoting."""
    rows = [[*row] for row in matrix]
    for n, own in enumerate(rows):
        pivot = own[n]
        own[n] = 1.0
        own[:] = [value / pivot for value in own]
        for m, row in enumerate(rows):
            factor = row[n]
            if m != n and factor:
                row[n] = 0.0
                rows[m] = [a - factor * b for a, b in zip(row, own, strict=True)]
    return rows


def _logistic(x: float) -> float:
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    power = math.exp(x)
    return power / (1 + power)


def rate(fit: Fit, voted: Collection[int] = ()) -> list[Rating]:
    """Ratings with 95 % intervals, in the order of the contenders.

    Contenders share ranks where their intervals overlap. The ratings are centred on those of the
    contenders that have votes, by default all: with others in the mean, nothing would be certain.
    """
    size = len(fit.strengths)
    centre = [*voted] or [*range(size)]
    row_means = [math.fsum(row[n] for n in centre) / len(centre) for row in fit.covariance]
    plain = []
    mean = math.fsum(row_means[n] for n in centre) / len(centre) if centre else 0.0
    middle = math.fsum(fit.strengths[n] for n in centre) / len(centre) if centre else 0.0
    for n, strength in enumerate(fit.strengths):
        variance = max(0.0, fit.covariance[n][n] - 2 * row_means[n] + mean)
        plain.append((CENTRE + POINTS * (strength - middle), Z95 * POINTS * math.sqrt(variance)))
    return [
        Rating(
            rating,
            half,
            1 + sum(other - width > rating + half for other, width in plain),
            size - sum(other + width < rating - half for other, width in plain),
        )
        for rating, half in plain
    ]


def forecast_votes(ratings: Sequence[Rating], votes: int) -> int | None:
    """About how many more votes make the first place clear; 0 if it is.

    Intervals shrink with the root of the number of votes, so it follows from how far those of the
    first and of the next ones overlap. None if it cannot be said: after few votes, and when the
    first ones are so close that it would take more than `MOST_MORE_VOTES`.
    """
    if len(ratings) < 2 or votes < _FEWEST_TO_FORECAST:
        return None
    best, *others = sorted(ratings, key=lambda one: one.rating, reverse=True)
    factor = 1.0
    for other in others:
        distance = best.rating - other.rating
        if best.low > other.high:
            continue
        if distance <= 0:
            return None
        factor = max(factor, ((best.half_width + other.half_width) / distance) ** 2)
    more = math.ceil((factor - 1) * votes)
    return None if more > MOST_MORE_VOTES else _round_plainly(more)


def _round_plainly(count: int) -> int:
    """To about two digits, upwards: 7, 35, 120, 1500."""
    step = 1 if count < 20 else 5 if count < 100 else 10 if count < 500 else 100
    return math.ceil(count / step) * step


def share_of(count: float, total: int) -> Share | None:
    """A share with Wilson's interval; None of nothing."""
    if total == 0:
        return None
    share, square = count / total, Z95**2
    middle = (share + square / (2 * total)) / (1 + square / total)
    spread = math.sqrt(share * (1 - share) / total + square / (4 * total**2))
    half = Z95 * spread / (1 + square / total)
    return Share(share, max(0.0, middle - half), min(1.0, middle + half))

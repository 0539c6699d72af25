"""Which pair a voter is shown next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from imagen.arena.ranking import contender_of, count_wins
from imagen.arena.rating import fit_strengths

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from random import Random

    from imagen.arena.sets import Candidates
    from imagen.arena.votes import Contestant, Kind, Outcome

_AS_GOOD = 1e-9
"""Relative differences of information that are only rounding."""


def order_pairs(
    pairs: Sequence[Candidates],
    kind: Kind,
    outcomes: Sequence[Outcome],
    *,
    shown: Mapping[frozenset[str], int],
    votes: Mapping[frozenset[str], int],
    besides: Collection[frozenset[str]] = (),
    random: Random,
) -> Iterator[tuple[Contestant, Contestant, Candidates]]:
    """The pairs as left and right, the best to show next first.

    No pair is shown to a voter again before all were: `shown` says how often this voter saw each,
    `votes` how often all did, and `besides` is on the voter's screen now. Of those that were shown
    least, the best is the one whose vote is expected to tell the most.
    """
    names = sorted({contender_of(one, kind) for pair in pairs for one in (pair.first, pair.second)})
    numbers = {name: n for n, name in enumerate(names)}
    known = [
        one
        for one in outcomes
        if contender_of(one[0], kind) in numbers and contender_of(one[1], kind) in numbers
    ]
    fit = fit_strengths(len(names), count_wins(known, kind, numbers))
    information: dict[tuple[int, int], float] = {}
    ranked = []
    for pair in pairs:
        first, second = (numbers[contender_of(one, kind)] for one in (pair.first, pair.second))
        place = (min(first, second), max(first, second))
        if place not in information:
            information[place] = fit.information(*place)
        # Rounded, so that equal ones are drawn by chance.
        worth = round(information[place] / _AS_GOOD)
        seen = shown.get(pair.images, 0)
        is_on_screen = pair.images in besides
        ranked.append(
            ((is_on_screen, seen, -worth, votes.get(pair.images, 0), random.random()), pair)
        )
    ranked.sort(key=lambda one: one[0])
    for _, pair in ranked:
        side: Literal[0, 1] = 1 if random.random() < 0.5 else 0
        left, right = (pair.first, pair.second) if side == 0 else (pair.second, pair.first)
        yield left, right, pair

"""The ranking that follows from votes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagen.arena.rating import fit_strengths, forecast_votes, rate, share_of
from imagen.arena.votes import count_outcomes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imagen.arena.rating import Rating, Share
    from imagen.arena.votes import Contestant, Kind, Outcome, VoteFilter
    from imagen.library import Library

FEW_VOTES = 60
"""Below this, a contender needs more votes."""
_EVEN = ("tie", "both_bad")

ContenderName = tuple[str, str, str]
"""Backend and model; of images, those are empty and the third is the image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedContender:
    """A model or an image in the ranking."""

    backend: str
    model: str
    image: str
    """Empty for models."""
    rating: Rating
    votes: int
    """Without skips."""
    wins: int
    losses: int
    ties: int
    both_bad: int

    @property
    def win_share(self) -> float | None:
        """Of its votes, those that it won; a tie is half of one. None without votes."""
        if not self.votes:
            return None
        return (self.wins + (self.ties + self.both_bad) / 2) / self.votes

    @property
    def needs_more(self) -> bool:
        return self.votes < FEW_VOTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """All contenders, the best first."""

    contenders: tuple[RankedContender, ...]
    votes: int
    """Without skips."""
    decisive: int
    """In which one side won."""
    ties: int
    both_bad: int
    skips: int
    left: Share | None
    """How often the left image won, of the decisive votes."""
    more_votes: int | None
    """About how many make the first place clear; None if that cannot be said."""

    @property
    def is_biased(self) -> bool:
        """Whether voters prefer a side, more than chance explains."""
        return self.left is not None and not self.left.low <= 0.5 <= self.left.high


def contender_of(contestant: Contestant, kind: Kind) -> ContenderName:
    """Who gets the votes on an image."""
    if kind == "images":
        return "", "", contestant.image
    return contestant.backend, contestant.model, ""


def count_wins(
    outcomes: Sequence[Outcome], kind: Kind, numbers: Mapping[ContenderName, int]
) -> dict[tuple[int, int], float]:
    """How often each contender beat each other one; skips do not count.

    That both are bad says nothing about which is better, as a tie: half a win for each.
    """
    wins: dict[tuple[int, int], float] = {}
    for left, right, choice, count in outcomes:
        a, b = numbers[contender_of(left, kind)], numbers[contender_of(right, kind)]
        shares = {"left": (1.0, 0.0), "right": (0.0, 1.0)} | dict.fromkeys(_EVEN, (0.5, 0.5))
        for pair, share in zip(((a, b), (b, a)), shares.get(choice, (0.0, 0.0)), strict=True):
            if share:
                wins[pair] = wins.get(pair, 0.0) + share * count
    return wins


def rank(outcomes: Sequence[Outcome], kind: Kind, entered: Sequence[Contestant] = ()) -> Ranking:
    """The ranking of these votes; contenders that entered are in it without votes too."""
    rated = [one for one in outcomes if one[2] != "skip"]
    contestants = {
        contender_of(one, kind): one
        for one in (*entered, *(side for left, right, _, _ in rated for side in (left, right)))
    }
    names = sorted(contestants)
    numbers = {name: n for n, name in enumerate(names)}
    wins = count_wins(rated, kind, numbers)
    voted = sorted({number for pair in wins for number in pair})
    ratings = rate(fit_strengths(len(names), wins), voted)
    tallies = {name: dict.fromkeys(("wins", "losses", "ties", "both_bad"), 0) for name in names}
    for left, right, choice, count in rated:
        for side, own in (("left", left), ("right", right)):
            word = {"tie": "ties", "both_bad": "both_bad", side: "wins"}.get(choice, "losses")
            tallies[contender_of(own, kind)][word] += count
    chosen = {
        word: sum(n for *_, choice, n in outcomes if choice == word)
        for word in ("left", "right", "tie", "both_bad", "skip")
    }
    decisive = chosen["left"] + chosen["right"]
    contenders = [
        RankedContender(
            backend=contestants[name].backend,
            model=contestants[name].model,
            image=contestants[name].image if kind == "images" else "",
            rating=rating,
            votes=sum(tallies[name].values()),
            **tallies[name],
        )
        for name, rating in zip(names, ratings, strict=True)
    ]
    contenders.sort(key=lambda one: (-round(one.rating.rating, 6), not one.votes))
    votes = decisive + chosen["tie"] + chosen["both_bad"]
    return Ranking(
        contenders=tuple(contenders),
        votes=votes,
        decisive=decisive,
        ties=chosen["tie"],
        both_bad=chosen["both_bad"],
        skips=chosen["skip"],
        left=share_of(chosen["left"], decisive),
        more_votes=forecast_votes(ratings, votes),
    )


def read_ranking(
    library: Library, chosen: VoteFilter, entered: Sequence[Contestant] = ()
) -> Ranking:
    """The ranking of the votes that pass the filter."""
    return rank(count_outcomes(library, chosen), chosen.kind, entered)

"""The arena as JSON: sets, pairs, votes and the ranking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from imagen.arena.votes import Choice, Kind, prompt_id
from imagen.library.schema import datetime_of
from imagen.views.base import ExactMoment, Moment, View

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.arena.ranking import RankedContender, Ranking
    from imagen.arena.rating import Share
    from imagen.arena.sets import ArenaSet
    from imagen.arena.votes import Contestant, Vote

_DIGITS = 4


class ArenaSetView(View):
    """Images to vote on: those of a comparison, or some that somebody chose."""

    id: str
    kind: Kind = Field(description="What is ranked: `models` or `images`.")
    name: str = Field(description="The prompt of a comparison.")
    contenders: int = Field(description="How many models or images.")
    votes: int = Field(description="How many votes it has, without skips.")
    changed: Moment

    @classmethod
    def of(cls, one: ArenaSet, votes: int) -> ArenaSetView:
        return cls(
            id=one.id,
            kind=one.kind,
            name=one.name,
            contenders=one.contenders,
            votes=votes,
            changed=datetime_of(one.changed_ms),
        )


class ArenaSetsView(View):
    """What can be voted on, newest first."""

    sets: tuple[ArenaSetView, ...]


class ArenaPairView(View):
    """Two images to choose from. It says nothing about what made them."""

    id: str
    set: str
    kind: Kind
    prompt: str = Field(description="What both were made from; empty if their prompts differ.")
    width: int = Field(description="Pixels; both images are sent in this size.")
    height: int
    voter: str
    number: int = Field(description="Which vote of this voter in this set it will be, from 1.")
    votes: int = Field(description="The votes of all voters in this set so far, without skips.")
    more_votes: int | None = Field(
        description="About how many votes the set needs until its first place is clear; 0 if it "
        "is, null if that cannot be said."
    )


class ContestantView(View):
    """One image of a pair, and what made it."""

    backend: str
    model: str
    image: str = Field(
        description="The unique id of an image of the library; in a comparison, its id and a file."
    )

    @classmethod
    def of(cls, one: Contestant) -> ContestantView:
        return cls(backend=one.backend, model=one.model, image=one.image)


class ArenaVoteView(View):
    """A vote, and what the two images were."""

    id: int
    set: str
    prompt: str
    seed: str | None
    left: ContestantView
    right: ContestantView
    choice: Choice
    voter: str
    milliseconds: int | None = Field(description="How long the voter took.")
    created: ExactMoment

    @classmethod
    def of(cls, vote: Vote) -> ArenaVoteView:
        return cls(
            id=vote.id,
            set=vote.set_id,
            prompt=vote.prompt,
            seed=vote.seed,
            left=ContestantView.of(vote.left),
            right=ContestantView.of(vote.right),
            choice=vote.choice,
            voter=vote.voter,
            milliseconds=vote.milliseconds,
            created=vote.created,
        )


class ArenaVotesView(View):
    """Votes, oldest first."""

    votes: tuple[ArenaVoteView, ...]


class UndoneVoteView(View):
    """A vote that was undone, and its pair, to vote on it again."""

    vote: int
    pair: ArenaPairView | None = Field(description="Null if it was forgotten, after some days.")


class ShareView(View):
    """A share, with its 95 % interval."""

    share: float
    low: float
    high: float

    @classmethod
    def of(cls, one: Share) -> ShareView:
        return cls(
            share=round(one.share, _DIGITS),
            low=round(one.low, _DIGITS),
            high=round(one.high, _DIGITS),
        )


class RankedContenderView(View):
    """A model or an image in the ranking."""

    backend: str
    model: str
    image: str = Field(description="Of a ranking of images; else empty.")
    rank_first: int = Field(description="The best rank that it may have.")
    rank_last: int = Field(description="The worst one: intervals that overlap share ranks.")
    rating: float = Field(description="1000 is the mean; 400 points are odds of 10 to 1.")
    half_width: float = Field(description="Of the 95 % interval.")
    votes: int = Field(description="Without skips.")
    wins: int
    losses: int
    ties: int
    both_bad: int
    win_share: float | None = Field(description="Of its votes; a tie is half a win.")
    needs_more: bool = Field(description="Whether it has fewer than 60 votes.")

    @classmethod
    def of(cls, one: RankedContender) -> RankedContenderView:
        share = one.win_share
        return cls(
            backend=one.backend,
            model=one.model,
            image=one.image,
            rank_first=one.rating.first_rank,
            rank_last=one.rating.last_rank,
            rating=round(one.rating.rating, 1),
            half_width=round(one.rating.half_width, 1),
            votes=one.votes,
            wins=one.wins,
            losses=one.losses,
            ties=one.ties,
            both_bad=one.both_bad,
            win_share=None if share is None else round(share, _DIGITS),
            needs_more=one.needs_more,
        )


class CountedVotesView(View):
    """A prompt or a voter, and how many votes it has."""

    id: str = Field(description="What to filter by.")
    name: str
    votes: int


class ArenaRankingView(View):
    """The ranking that follows from the votes, the best first."""

    kind: Kind
    contenders: tuple[RankedContenderView, ...]
    votes: int = Field(description="Without skips.")
    ties: int
    both_bad: int
    skips: int
    left: ShareView | None = Field(
        description="How often the left image won, of the votes in which one did."
    )
    is_biased: bool = Field(description="Whether that is more than chance explains.")
    more_votes: int | None = Field(
        description="About how many votes until the first place is clear; 0 if it is, null if "
        "that cannot be said."
    )
    prompts: tuple[CountedVotesView, ...] = Field(description="All prompts with votes.")
    voters: tuple[CountedVotesView, ...] = Field(description="All voters.")

    @classmethod
    def of(
        cls,
        ranking: Ranking,
        kind: Kind,
        prompts: Mapping[str, int],
        voters: Mapping[str, int],
    ) -> ArenaRankingView:
        return cls(
            kind=kind,
            contenders=tuple(map(RankedContenderView.of, ranking.contenders)),
            votes=ranking.votes,
            ties=ranking.ties,
            both_bad=ranking.both_bad,
            skips=ranking.skips,
            left=None if ranking.left is None else ShareView.of(ranking.left),
            is_biased=ranking.is_biased,
            more_votes=ranking.more_votes,
            prompts=tuple(
                CountedVotesView(id=prompt_id(text), name=text, votes=count)
                for text, count in prompts.items()
            ),
            voters=tuple(
                CountedVotesView(id=name, name=name, votes=count) for name, count in voters.items()
            ),
        )

"""The arena: draw a pair, vote on it without knowing what made it, and read the ranking."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from imagen.arena.export import ranking_csv, votes_csv
from imagen.arena.ranking import read_ranking
from imagen.arena.sets import ALL, create_set, find_votes, list_sets, load_set
from imagen.arena.votes import (
    LONGEST_VOTER,
    Choice,
    Side,
    count_by,
    find_pair,
    list_votes,
    record_vote,
    undo_last_vote,
)
from imagen.errors import NotFound
from imagen.runtime.arena import draw_pair, read_pair_image, show_pair, voter_name
from imagen.server.state import CallerOf, RuntimeOf
from imagen.views.arena import (
    ArenaPairView,
    ArenaRankingView,
    ArenaSetsView,
    ArenaSetView,
    ArenaVotesView,
    ArenaVoteView,
    UndoneVoteView,
)
from imagen.views.base import View

if TYPE_CHECKING:
    from imagen.arena.votes import Contestant, VoteFilter
    from imagen.runtime import Runtime

router = APIRouter(tags=["arena"], prefix="/arena")

_PAIR_HEADERS = {"Cache-Control": "private, max-age=86400, immutable"}
"""Without an ETag or a file name, which would say what the image is."""

SetId = Annotated[str, Field(max_length=200, description="A set, or `all` comparisons.")]
VoterName = Annotated[
    str,
    Field(
        max_length=2 * LONGEST_VOTER,
        description="Who votes, if several people use one client. The name of a token is put "
        "before it.",
    ),
]


class NewArenaSet(View):
    """Images of the library to rank by votes."""

    images: tuple[Annotated[str, Field(max_length=60)], ...] = Field(
        min_length=2, max_length=1000, description="Their unique ids."
    )
    name: str = Field("", max_length=1000)


class WantedPair(View):
    """Which pair to draw."""

    set: SetId = ALL
    voter: VoterName = ""
    besides: tuple[Annotated[str, Field(max_length=40)], ...] = Field(
        (), max_length=20, description="Pairs that the voter has before their eyes already."
    )


class NewVote(View):
    """A vote on a pair."""

    pair: str = Field(max_length=40)
    choice: Choice
    milliseconds: int | None = Field(None, ge=0, description="How long the voter took.")
    key: str = Field(
        "", max_length=40, description="A random word. The same one again is the same vote."
    )


class UndoneVote(View):
    """Whose last vote to undo."""

    set: SetId = ALL
    voter: VoterName = ""


class CountedVotes(View):
    """Which votes to count. All conditions must hold."""

    set: SetId = ALL
    prompt: str | None = Field(
        None, max_length=40, description="The id of a prompt, from the ranking."
    )
    voter: str | None = Field(None, max_length=200)
    tag: str | None = Field(
        None, max_length=200, description="A tag of at least one of the two images."
    )


class ExportedVotes(CountedVotes):
    """What to export, and how."""

    what: Literal["votes", "ranking"] = "votes"
    format: Literal["csv", "json"] = "csv"


@router.get("/sets")
def list_arena_sets(runtime: RuntimeOf) -> ArenaSetsView:
    """List what can be voted on: comparisons of two models or more, and sets of images."""
    library = runtime.library
    votes = count_by(library, "set_id", "models") | count_by(library, "set_id", "images")
    found = list_sets(library, runtime.settings.output.directory)
    return ArenaSetsView(sets=tuple(ArenaSetView.of(one, votes.get(one.id, 0)) for one in found))


@router.post("/sets", status_code=201)
def create_arena_set(body: NewArenaSet, runtime: RuntimeOf) -> ArenaSetView:
    """Save some images to rank by votes. The same images again are the same set."""
    library = runtime.library
    id = create_set(library, body.images, body.name)
    made = load_set(id, library, runtime.settings.output.directory)
    return ArenaSetView.of(made, count_by(library, "set_id", "images").get(id, 0))


@router.post("/pairs", status_code=201)
def draw_arena_pair(body: WantedPair, runtime: RuntimeOf, caller: CallerOf) -> ArenaPairView:
    """Draw the pair whose vote is expected to tell the most; sides are drawn by chance."""
    voter = voter_name(caller, body.voter)
    return draw_pair(body.set, voter, runtime, besides=body.besides)


@router.get(
    "/pairs/{id}/{side}",
    response_class=Response,
    responses={200: {"content": {"image/webp": {}}, "description": "The image."}},
)
def get_pair_image(id: str, side: Side, runtime: RuntimeOf) -> Response:
    """One image of a pair: as WebP, in the size of the other one, without metadata or a name."""
    data = runtime.image_pool.submit(read_pair_image, id, side, runtime).result()
    return Response(data, media_type="image/webp", headers=_PAIR_HEADERS)


@router.post("/votes", status_code=201)
def vote_on_pair(body: NewVote, runtime: RuntimeOf) -> ArenaVoteView:
    """Vote on a pair. The answer says what the two images were."""
    vote = record_vote(
        runtime.library, body.pair, body.choice, key=body.key, milliseconds=body.milliseconds
    )
    return ArenaVoteView.of(vote)


@router.post("/undo")
def undo_vote(body: UndoneVote, runtime: RuntimeOf, caller: CallerOf) -> UndoneVoteView:
    """Undo the last vote of a voter in a set, and show its pair again."""
    chosen, _ = find_votes(body.set, runtime.library, runtime.settings.output.directory)
    voter = voter_name(caller, body.voter)
    vote = undo_last_vote(runtime.library, voter, chosen.kind, chosen.set_id)
    try:
        pair = show_pair(find_pair(runtime.library, vote.pair), body.set, runtime)
    except NotFound:
        pair = None
    return UndoneVoteView(vote=vote.id, pair=pair)


@router.get("/ranking")
def get_ranking(counted: Annotated[CountedVotes, Query()], runtime: RuntimeOf) -> ArenaRankingView:
    """The ranking by Bradley and Terry, with 95 % intervals."""
    library = runtime.library
    chosen, entered = _find(counted, runtime)
    prompts = count_by(library, "prompt", chosen.kind)
    voters = count_by(library, "voter", chosen.kind)
    ranking = read_ranking(library, chosen, entered)
    return ArenaRankingView.of(ranking, chosen.kind, prompts, voters)


@router.get("/votes")
def get_votes(counted: Annotated[CountedVotes, Query()], runtime: RuntimeOf) -> ArenaVotesView:
    """The votes, oldest first, without those that were undone."""
    votes = list_votes(runtime.library, _find(counted, runtime)[0])
    return ArenaVotesView(votes=tuple(map(ArenaVoteView.of, votes)))


@router.get(
    "/export",
    response_class=Response,
    responses={200: {"content": {"text/csv": {}, "application/json": {}}}},
)
def export_arena(exported: Annotated[ExportedVotes, Query()], runtime: RuntimeOf) -> Response:
    """The votes or the ranking as a file to download."""
    if exported.format == "json":
        view = (
            get_votes(exported, runtime)
            if exported.what == "votes"
            else get_ranking(exported, runtime)
        )
        text, media_type = json.dumps(view.as_data(), indent=2) + "\n", "application/json"
    else:
        chosen, entered = _find(exported, runtime)
        if exported.what == "votes":
            text = votes_csv(list_votes(runtime.library, chosen))
        else:
            text = ranking_csv(read_ranking(runtime.library, chosen, entered))
        media_type = "text/csv"
    name = f"arena-{exported.what}.{exported.format}"
    return Response(
        text,
        media_type=media_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _find(counted: CountedVotes, runtime: Runtime) -> tuple[VoteFilter, tuple[Contestant, ...]]:
    return find_votes(
        counted.set,
        runtime.library,
        runtime.settings.output.directory,
        prompt=counted.prompt,
        voter=counted.voter,
        tag=counted.tag,
    )

"""Votes in the library: only added, counted once, undone by a row, and filtered."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select
from support.library_samples import make_record

from imagen.arena.ranking import read_ranking
from imagen.arena.sets import create_set, load_set
from imagen.arena.votes import (
    Contestant,
    Pair,
    VoteFilter,
    count_by,
    count_shown,
    find_pair,
    list_votes,
    new_pair_id,
    record_vote,
    save_pair,
    undo_last_vote,
)
from imagen.errors import NotFound, RequestError
from imagen.library import find_image, record_generation
from imagen.library.schema import arena_votes
from imagen.library.tags import change_tags

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.library import Library

_FOX, _OWL = (
    Contestant(backend="studio", model=name, image=f"compare-a/{name}.png", sha256=name * 8)
    for name in ("fox", "owl")
)


def _pair(library: Library, **values: Any) -> str:
    known: dict[str, Any] = {
        "id": new_pair_id(),
        "kind": "models",
        "set_id": "compare-a",
        "prompt": "a hill\0",
        "seed": "7",
        "left": _FOX,
        "right": _OWL,
        "width": 64,
        "height": 48,
        "voter": "ada",
    } | values
    pair = Pair(**known)
    save_pair(library, pair)
    return pair.id


def _vote(library: Library, choice: Any = "left", **values: Any) -> int:
    return record_vote(library, _pair(library, **values), choice, milliseconds=900).id


def _rows(library: Library) -> int:
    with library.reading() as connection:
        return connection.scalar(select(func.count()).select_from(arena_votes)) or 0


def test_a_vote_keeps_what_was_shown(library: Library) -> None:
    id = _pair(library)
    assert find_pair(library, id).right == _OWL
    vote = record_vote(library, id, "tie", milliseconds=1500)
    assert list_votes(library, VoteFilter()) == [vote]
    assert (vote.left, vote.right, vote.choice, vote.voter) == (_FOX, _OWL, "tie", "ada")
    assert (vote.prompt, vote.seed, vote.milliseconds, vote.pair) == ("a hill", "7", 1500, id)


def test_the_same_key_is_the_same_vote(library: Library) -> None:
    id = _pair(library)
    first = record_vote(library, id, "left", key="k", milliseconds=None)
    again = record_vote(library, id, "right", key="k", milliseconds=None)
    assert (again, _rows(library)) == (first, 1)


def test_a_pair_has_one_vote(library: Library) -> None:
    id = _pair(library)
    record_vote(library, id, "left", key="a", milliseconds=None)
    with pytest.raises(RequestError, match="has a vote already"):
        record_vote(library, id, "left", key="b", milliseconds=None)
    with pytest.raises(NotFound, match="no pair 'x' to vote on"):
        record_vote(library, "x", "left", milliseconds=None)


def test_many_at_once_make_one_vote(library: Library) -> None:
    id = _pair(library)

    def vote(_: int) -> int:
        return record_vote(library, id, "left", key="k", milliseconds=None).id

    with ThreadPoolExecutor(4) as pool:
        assert len({*pool.map(vote, range(8))}) == 1
    assert _rows(library) == 1


def test_undo_adds_a_row_and_the_pair_may_get_another_vote(library: Library) -> None:
    first = _vote(library, "left")
    id = _pair(library)
    last = record_vote(library, id, "right", milliseconds=None)
    assert undo_last_vote(library, "ada", "models", "compare-a") == last
    assert [vote.id for vote in list_votes(library, VoteFilter())] == [first]
    assert _rows(library) == 3
    record_vote(library, id, "both_bad", milliseconds=None)
    assert [vote.choice for vote in list_votes(library, VoteFilter())] == ["left", "both_bad"]


def test_undo_takes_back_only_votes_of_the_voter(library: Library) -> None:
    _vote(library, voter="bob")
    with pytest.raises(NotFound, match="no vote to undo"):
        undo_last_vote(library, "ada", "models", None)
    mine = _vote(library)
    assert undo_last_vote(library, "ada", "models", None).id == mine
    with pytest.raises(NotFound, match="no vote to undo"):
        undo_last_vote(library, "ada", "models", None)


def test_the_ranking_counts_what_was_chosen(library: Library) -> None:
    for choice in ("left", "left", "right", "tie", "both_bad", "skip"):
        _vote(library, choice)
    _vote(library, "left", left=_OWL, right=_FOX)
    ranking = read_ranking(library, VoteFilter())
    fox, owl = ranking.contenders
    assert (fox.model, fox.wins, fox.losses, fox.ties, fox.both_bad) == ("fox", 2, 2, 1, 1)
    assert (owl.model, owl.wins, owl.losses, owl.votes) == ("owl", 2, 2, 6)
    assert (fox.win_share, fox.rating.rating) == (0.5, 1000.0)
    assert (ranking.votes, ranking.decisive, ranking.skips) == (6, 4, 1)
    assert ranking.left is not None
    assert (ranking.left.share, ranking.is_biased) == (0.75, False)


def test_a_side_that_wins_too_often_is_reported(library: Library) -> None:
    for n in range(12):
        left, right = (_FOX, _OWL) if n % 2 else (_OWL, _FOX)
        _vote(library, "left", left=left, right=right)
    assert read_ranking(library, VoteFilter()).is_biased


@pytest.mark.parametrize(
    ("chosen", "count"),
    [
        ({}, 4),
        ({"voter": "bob"}, 1),
        ({"set_id": "compare-b"}, 1),
        ({"prompt": "a lake"}, 1),
        ({"voter": "bob", "set_id": "compare-b"}, 0),
        ({"kind": "images"}, 1),
    ],
)
def test_votes_are_filtered(library: Library, chosen: dict[str, Any], count: int) -> None:
    _vote(library)
    _vote(library, voter="bob")
    _vote(library, set_id="compare-b")
    _vote(library, prompt="a lake")
    _vote(library, kind="images", set_id="images-1")
    assert len(list_votes(library, VoteFilter(**chosen))) == count
    assert count_by(library, "voter", "models") == {"ada": 3, "bob": 1}


def test_votes_are_found_by_the_tag_of_an_image(library: Library) -> None:
    record_generation(library, make_record(1))
    image = find_image(library, "00000001")
    _vote(library)
    tagged = Contestant(backend="b", model="m", image="compare-a/x.png", sha256=image.sha256)
    vote = _vote(library, right=tagged)
    change_tags(library, [image], add=["portrait"])
    found = list_votes(library, VoteFilter(tag="portrait"))
    assert [one.id for one in found] == [vote]
    assert list_votes(library, VoteFilter(tag="other")) == []


def test_a_skip_counts_as_shown(library: Library) -> None:
    _vote(library, "skip")
    _vote(library, "left", left=_OWL, right=_FOX)
    _vote(library, "left", voter="bob")
    both = frozenset((_FOX.image, _OWL.image))
    assert count_shown(library, "models", "ada") == {both: 2}
    assert count_shown(library, "models", None) == {both: 3}


# --- sets of images ---


def test_a_set_has_all_pairs_of_its_images(library: Library, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        record_generation(library, make_record(number))
    uids = [find_image(library, f"0000000{number}").uid for number in (1, 2, 3)]
    id = create_set(library, uids, "foxes")
    assert create_set(library, [*reversed(uids), uids[0]]) == id
    made = load_set(id, library, tmp_path)
    assert (made.kind, made.name, made.contenders, len(made.pairs)) == ("images", "foxes", 3, 3)


def test_a_set_needs_two_images_and_has_at_most_a_hundred(library: Library, tmp_path: Path) -> None:
    record_generation(library, make_record(1))
    with pytest.raises(RequestError, match="at least two images"):
        create_set(library, [find_image(library, "00000001").uid, "0000.1"])
    with pytest.raises(RequestError, match="at most 100 images; these are 101"):
        create_set(library, [f"{n:08x}.1" for n in range(101)])
    with pytest.raises(NotFound, match="no set 'images-1'"):
        load_set("images-1", library, tmp_path)

"""Votes and rankings as CSV that spreadsheets open safely."""

from __future__ import annotations

import csv
from io import StringIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from imagen.arena.ranking import Ranking
    from imagen.arena.votes import Vote

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_VOTE_COLUMNS = (
    *("id", "created", "set", "prompt", "seed"),
    *("left_backend", "left_model", "left_image", "right_backend", "right_model", "right_image"),
    *("choice", "voter", "milliseconds"),
)
_RANKING_COLUMNS = (
    *("rank_first", "rank_last", "backend", "model", "image", "rating", "half_width"),
    *("votes", "wins", "losses", "ties", "both_bad", "win_share"),
)


def votes_csv(votes: Iterable[Vote]) -> str:
    """A line for each vote, under a line of headings."""
    return _write(
        _VOTE_COLUMNS,
        (
            (
                *(vote.id, vote.created.isoformat(), vote.set_id, vote.prompt, vote.seed),
                *(vote.left.backend, vote.left.model, vote.left.image),
                *(vote.right.backend, vote.right.model, vote.right.image),
                *(vote.choice, vote.voter, vote.milliseconds),
            )
            for vote in votes
        ),
    )


def ranking_csv(ranking: Ranking) -> str:
    """A line for each contender, the best first, under a line of headings."""
    return _write(
        _RANKING_COLUMNS,
        (
            (
                *(one.rating.first_rank, one.rating.last_rank, one.backend, one.model, one.image),
                *(round(one.rating.rating, 1), round(one.rating.half_width, 1)),
                *(one.votes, one.wins, one.losses, one.ties, one.both_bad),
                None if one.win_share is None else round(one.win_share, 4),
            )
            for one in ranking.contenders
        ),
    )


def _write(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([_plain_cell(cell) for cell in row] for row in rows)
    return text.getvalue()


def _plain_cell(cell: object) -> object:
    """A text that a spreadsheet would take for a formula gets an apostrophe before it."""
    if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS):
        return f"'{cell}"
    return cell

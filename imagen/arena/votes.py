"""Votes and the pairs that voters were shown, in the library's database.

Votes are only ever added. One that is undone stays, and a row that undoes it is added.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, get_args

from sqlalchemy import case, delete, exists, func, insert, or_, select

from imagen.core.text import one_line
from imagen.errors import NotFound, RequestError
from imagen.library.schema import (
    arena_pairs,
    arena_votes,
    datetime_of,
    images,
    stored_text,
    tags,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Row

    from imagen.library import Library

Kind = Literal["models", "images"]
"""What is ranked: the models that made the images, or the images themselves."""
Side = Literal["left", "right"]
Choice = Literal["left", "right", "tie", "both_bad", "skip"]
CHOICES: tuple[Choice, ...] = get_args(Choice)
LONGEST_VOTER = 64
_UNDO = "undo"
_DAY_MS = 24 * 3600 * 1000
_PAIR_DAYS = 7
_LONGEST_VOTE_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One of the two images of a pair, and what made it."""

    backend: str
    model: str
    image: str
    """The unique id of an image of the library; in a comparison, its id and the file."""
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two images that a voter is shown."""

    id: str
    kind: Kind
    set_id: str
    prompt: str
    """Empty if the prompts of the two differ."""
    seed: str | None
    left: Contestant
    right: Contestant
    width: int
    height: int
    """The size in which both are shown."""
    voter: str

    def side(self, side: Side) -> Contestant:
        return self.left if side == "left" else self.right


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """One vote."""

    id: int
    pair: str
    kind: Kind
    set_id: str
    prompt: str
    seed: str | None
    left: Contestant
    right: Contestant
    choice: Choice
    voter: str
    milliseconds: int | None
    """How long the voter took."""
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteFilter:
    """Which votes to count. All conditions must hold."""

    kind: Kind = "models"
    set_id: str | None = None
    prompt: str | None = None
    voter: str | None = None
    tag: str | None = None
    """A tag of at least one of the two images."""

    def condition(self) -> ColumnElement[bool]:
        """SQL that is true of the votes which were not undone and pass."""
        c = arena_votes.c
        condition = is_live() & (c.kind == self.kind)
        for column, wanted in (
            (c.set_id, self.set_id),
            (c.prompt, self.prompt),
            (c.voter, self.voter),
        ):
            if wanted is not None:
                condition &= column == stored_text(wanted)
        if self.tag is not None:
            tagged = (
                select(images.c.sha256)
                .join(tags, tags.c.image == images.c.id)
                .where(tags.c.tag == self.tag)
            )
            condition &= or_(c.left_sha256.in_(tagged), c.right_sha256.in_(tagged))
        return condition


def is_live() -> ColumnElement[bool]:
    """SQL: a vote, and one that was not undone."""
    undo = arena_votes.alias("undo")
    is_undone = exists().where(undo.c.undoes == arena_votes.c.id)
    return arena_votes.c.undoes.is_(None) & ~is_undone


# --- pairs ---


def save_pair(library: Library, pair: Pair) -> None:
    """Remember what a voter is shown under the id of the pair; forget pairs of last week."""
    now = round(time.time() * 1000)
    row = asdict(pair) | {"prompt": stored_text(pair.prompt), "created_ms": now}
    old = arena_pairs.c.created_ms < now - _PAIR_DAYS * _DAY_MS
    with library.writing() as connection:
        connection.execute(delete(arena_pairs).where(old))
        connection.execute(insert(arena_pairs).values(**row))


def new_pair_id() -> str:
    return secrets.token_hex(16)


def find_pair(library: Library, id: str) -> Pair:
    """The pair with this id. Raises NotFound."""
    with library.reading() as connection:
        return _read_pair(connection, id)


def find_pairs(library: Library, ids: Iterable[str]) -> list[Pair]:
    """Those of these pairs that are known."""
    wanted = arena_pairs.c.id.in_([*ids])
    with library.reading() as connection:
        return [*map(_pair, connection.execute(select(arena_pairs).where(wanted)))]


def _read_pair(connection: Connection, id: str, *, for_update: bool = False) -> Pair:
    query = select(arena_pairs).where(arena_pairs.c.id == stored_text(id))
    row = connection.execute(query.with_for_update() if for_update else query).first()
    if row is None:
        raise NotFound(
            f"There is no pair {one_line(id, limit=40)!r} to vote on.",
            remedy=f"Ask for a new pair: they are kept for {_PAIR_DAYS} days.",
        )
    return _pair(row)


def _pair(row: Row[Any]) -> Pair:
    values = {name: getattr(row, name) for name in Pair.__slots__}
    return Pair(**values | {"left": Contestant(**row.left), "right": Contestant(**row.right)})


# --- votes ---


def record_vote(
    library: Library, pair_id: str, choice: Choice, *, key: str = "", milliseconds: int | None
) -> Vote:
    """Add a vote on a pair. The same key again is the same vote, whatever it says.

    Raises NotFound for an unknown pair, RequestError for one that has a vote already.
    """
    key = key or secrets.token_hex(16)
    if milliseconds is not None:
        milliseconds = max(0, min(milliseconds, _LONGEST_VOTE_MS))
    with library.writing() as connection:
        pair = _read_pair(connection, pair_id, for_update=True)  # one vote on it at a time
        key = f"{pair.id}:{stored_text(key)}"
        known = connection.execute(select(arena_votes).where(arena_votes.c.key == key)).first()
        if known is not None:
            return _vote(known)
        if connection.scalar(select(exists().where((arena_votes.c.pair == pair.id) & is_live()))):
            raise RequestError(
                "This pair has a vote already.", remedy="Undo that vote, or ask for a new pair."
            )
        row = _pair_columns(pair) | {
            "key": key,
            "choice": choice,
            "milliseconds": milliseconds,
            "created_ms": round(time.time() * 1000),
        }
        connection.execute(insert(arena_votes).values(**row))
        added = select(arena_votes).where(arena_votes.c.key == key)
        return _vote(connection.execute(added).one())


def undo_last_vote(library: Library, voter: str, kind: Kind, set_id: str | None) -> Vote:
    """Undo the last vote of a voter, in one set or in all; the vote. Raises NotFound."""
    condition = VoteFilter(kind=kind, set_id=set_id, voter=voter).condition()
    last = select(arena_votes).where(condition).order_by(arena_votes.c.id.desc()).limit(1)
    with library.writing() as connection:
        row = connection.execute(last.with_for_update()).first()
        if row is None:
            raise NotFound("There is no vote to undo.")
        copied = {
            name: value
            for name, value in row._mapping.items()
            if name not in ("id", "milliseconds")
        }
        undo = copied | {
            "key": f"{_UNDO}:{row.id}",
            "undoes": row.id,
            "choice": _UNDO,
            "created_ms": round(time.time() * 1000),
        }
        connection.execute(insert(arena_votes).values(**undo))
        return _vote(row)


def list_votes(library: Library, chosen: VoteFilter) -> list[Vote]:
    """The votes, oldest first, without those that were undone."""
    query = select(arena_votes).where(chosen.condition()).order_by(arena_votes.c.id)
    with library.reading() as connection:
        return [*map(_vote, connection.execute(query))]


def prompt_id(prompt: str) -> str:
    """A short name for a prompt in addresses."""
    return sha256(prompt.encode()).hexdigest()[:12]


Outcome = tuple[Contestant, Contestant, Choice, int]
"""Left, right, what was chosen, and how often."""


def count_outcomes(library: Library, chosen: VoteFilter) -> list[Outcome]:
    """How often each choice was made; of models, without their images."""
    c = arena_votes.c
    columns = [c.left_backend, c.left_model, c.right_backend, c.right_model]
    if chosen.kind == "images":
        columns += [c.left_image, c.left_sha256, c.right_image, c.right_sha256]
    query = (
        select(*columns, c.choice, func.count().label("votes"))
        .where(chosen.condition())
        .group_by(*columns, c.choice)
        .order_by(*columns, c.choice)
    )
    with library.reading() as connection:
        rows = connection.execute(query).all()
    return [
        (_contestant(row, "left"), _contestant(row, "right"), row.choice, row.votes) for row in rows
    ]


def count_shown(library: Library, kind: Kind, voter: str | None) -> dict[frozenset[str], int]:
    """How often a voter, or all of them, judged or skipped each pair of images."""
    c = arena_votes.c
    query = select(c.left_image, c.right_image, func.count().label("votes")).where(
        VoteFilter(kind=kind, voter=voter).condition()
    )
    shown: dict[frozenset[str], int] = {}
    with library.reading() as connection:
        for row in connection.execute(query.group_by(c.left_image, c.right_image)):
            images_of_pair = frozenset((row.left_image, row.right_image))
            shown[images_of_pair] = shown.get(images_of_pair, 0) + row.votes
    return shown


def count_by(
    library: Library, column: Literal["prompt", "voter", "set_id"], kind: Kind
) -> dict[str, int]:
    """How many votes, without skips, each prompt, voter or set has; most first."""
    chosen = arena_votes.c[column]
    counted = func.sum(case((arena_votes.c.choice == "skip", 0), else_=1)).label("votes")
    query = (
        select(chosen.label("name"), counted)
        .where(VoteFilter(kind=kind).condition())
        .group_by(chosen)
        .order_by(counted.desc(), chosen)
    )
    with library.reading() as connection:
        rows = connection.execute(query).all()
    return {row.name: int(row.votes) for row in rows if row.votes}


def _pair_columns(pair: Pair) -> dict[str, object]:
    sides = {
        f"{side}_{name}": value
        for side, each in (("left", pair.left), ("right", pair.right))
        for name, value in asdict(each).items()
    }
    shared = ("kind", "set_id", "prompt", "seed", "voter")
    return sides | {name: getattr(pair, name) for name in shared} | {"pair": pair.id}


def _contestant(row: Any, side: Side) -> Contestant:
    names = Contestant.__slots__
    return Contestant(**{name: getattr(row, f"{side}_{name}", "") for name in names})


def _vote(row: Row[Any]) -> Vote:
    return Vote(
        id=row.id,
        pair=row.pair,
        kind=row.kind,
        set_id=row.set_id,
        prompt=row.prompt,
        seed=row.seed,
        left=_contestant(row, "left"),
        right=_contestant(row, "right"),
        choice=row.choice,
        voter=row.voter,
        milliseconds=row.milliseconds,
        created=datetime_of(row.created_ms),
    )

"""How SQLite finds pictures: by lists of their numbers, each in order of time.

Each condition of a query is such a list: an index that holds nothing else, or the words. The one
with the fewest numbers is gone through, and each of them looked up in the others, so that no
picture's row is read in vain. SQLite itself would guess which one that is, and read the rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, column, text

from imagen.library import fulltext
from imagen.library.stored_values import first_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection
    from sqlalchemy.sql.selectable import TextualSelect

    from imagen.library.fulltext import SearchTerm
    from imagen.library.search import Query

_REACH = 100
_READING_COSTS = 4
"""Times as much to read a prompt for its words, as to look a number up in a list."""
_NOT_TRASHED = (
    "NOT EXISTS (SELECT 1 FROM images AS t INDEXED BY images_trashed "
    "WHERE t.trashed_ms IS NOT NULL AND t.id = {key})"
)

_MISSING = "EXISTS (SELECT 1 FROM images AS m WHERE m.id = {key} AND m.missing_ms IS NOT NULL)"
"""They are few or none and seldom asked for, so no index holds them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _List:
    """The numbers of those pictures for which something holds; `{l}` stands for its alias."""

    source: str
    key: str = "{l}.id"
    holds: str = "1"
    values: Mapping[str, Any] = field(default_factory=dict)
    by_one: _List | None = None
    """The same for looking one number up, where that is done otherwise."""
    reach: int = _REACH


def select_keys(
    connection: Connection, query: Query, after: int | None = None, limit: int | None = None
) -> TextualSelect:
    """The statement that gives the numbers of the newest pictures that are wanted."""
    period, bounds = _period(query, after)
    first, *rest = _rarest_first(connection, list(_lists(query)), period, bounds)
    others = [other.by_one or other for other in rest]
    conditions = [first.holds, *period, *(_is_in(other, n) for n, other in enumerate(others))]
    if not query.in_trash:
        conditions.append(_NOT_TRASHED)
    if query.is_missing:
        conditions.append(_MISSING)
    newest = "" if limit is None else f" ORDER BY {{key}} DESC LIMIT {int(limit)}"
    sql = f"SELECT {{key}} AS id FROM {first.source} WHERE {' AND '.join(conditions)}{newest}"
    found = text(_named(sql, first, "l")).bindparams(**bounds, **_values(first, *others))
    return found.columns(column("id", BigInteger))


def _values(*lists: _List) -> dict[str, Any]:
    return {name: value for one in lists for name, value in one.values.items()}


def _named(sql: str, of: _List, alias: str) -> str:
    return sql.replace("{key}", of.key).replace("{l}", alias)


def _is_in(other: _List, number: int) -> str:
    """That a number stands in this list too."""
    found = _named(
        f"SELECT 1 FROM {other.source} WHERE {other.holds} AND {{key}} = ", other, f"o{number}"
    )
    return f"EXISTS ({found}{{key}})"


def _rarest_first(
    connection: Connection, lists: list[_List], period: Sequence[str], bounds: Mapping[str, Any]
) -> list[_List]:
    """The list whose newest numbers reach back farthest has the fewest, and comes first."""
    if len(lists) < 2:
        return lists or [_List(source="images AS {l}")]
    oldest = connection.execute(*_oldest(lists, period, bounds)).one()
    rank = {id(one): -1 if key is None else key for one, key in zip(lists, oldest, strict=True)}
    return sorted(lists, key=lambda one: rank[id(one)])


def _oldest(
    lists: Sequence[_List], period: Sequence[str], bounds: Mapping[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """Of the newest numbers of each list the oldest; none where there are not as many."""
    each = [
        _named(
            f"(SELECT {{key}} FROM {one.source} WHERE {' AND '.join([one.holds, *period])} "
            f"ORDER BY {{key}} DESC LIMIT 1 OFFSET {one.reach})",
            one,
            "l",
        )
        for one in lists
    ]
    return text(f"SELECT {', '.join(each)}"), {**bounds, **_values(*lists)}


def _period(query: Query, after: int | None) -> tuple[list[str], dict[str, int]]:
    """What is asked of the numbers themselves, and the bounds that stand in it."""
    told = {
        "{key} < :after": after,
        "{key} >= :since": None if query.since is None else first_key(query.since),
        "{key} < :until": None if query.until is None else first_key(query.until),
    }
    given = {condition: bound for condition, bound in told.items() if bound is not None}
    return list(given), {condition.rpartition(":")[2]: bound for condition, bound in given.items()}


def _lists(query: Query) -> Iterator[_List]:
    """What is asked of the picture itself, each tag, and the words."""
    yield from _of_pictures(query)
    for n, tag in enumerate(query.tags):
        values, holds = {f"tag{n}": tag}, f"{{l}}.tag = :tag{n}"
        yield _List(source="tags AS {l}", key="{l}.image", holds=holds, values=values)
    if found := fulltext.parse_query(query.text):
        yield _spoken(found)


def _of_pictures(query: Query) -> Iterator[_List]:
    """Backend, model, rating and the trash, by an index that holds all of them that are asked."""
    makers = {"backend": query.backend, "model": query.model}
    values: dict[str, Any] = {
        name: made_by for name, made_by in makers.items() if made_by is not None
    }
    holds, index = (
        [f"{{l}}.{name} = :{name}" for name in values],
        f"images_by_{'_and_'.join(values)}",
    )
    if query.rating is not None:
        holds, index = ["{l}.rating IS NOT NULL", "{l}.rating >= :rating", *holds], "images_rated"
        values["rating"] = query.rating
    if query.in_trash:
        holds, index = ["{l}.trashed_ms IS NOT NULL", *holds], "images_trashed"
    if holds:
        source = f"images AS {{l}} INDEXED BY {index}"
        yield _List(source=source, holds=" AND ".join(holds), values=values)


def _spoken(found: tuple[SearchTerm, ...]) -> _List:
    """The words; whether one prompt has them is seen by reading it: they stand there cut."""
    terms = {f"term{n}": term for n, term in enumerate(found)}
    read = (
        f"instr(' ' || {{l}}.words || ' ', :{name}) {'=' if term.is_excluded else '>'} 0"
        for name, term in terms.items()
    )
    return _List(
        source="prompts AS {l}",
        key="{l}.rowid",
        holds="{l}.words MATCH :words",
        values={"words": fulltext.sqlite_query(found)},
        by_one=_List(
            source="prompts AS {l}",
            key="{l}.rowid",
            holds=" AND ".join(read),
            values={name: fulltext.term_pattern(term) for name, term in terms.items()},
        ),
        reach=_REACH * _READING_COSTS,
    )

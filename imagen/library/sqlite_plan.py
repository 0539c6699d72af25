"""How SQLite finds the newest images: by lists of their keys, each in order of time.

Each condition of a query is such a list: an index that covers it, or the full-text index. The list
with the fewest keys is scanned, and each key is looked up in the others, so that no row of an image
is read in vain. SQLite itself would guess which list is shortest, and read the rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, column, text

from imagen.library import fulltext
from imagen.library.schema import first_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection
    from sqlalchemy.sql.selectable import TextualSelect

    from imagen.library.search import Query

    Values = Mapping[str, str | int]

_PROBE = 100
"""Lists are compared by how old their key at this position is."""
_WORDS_COST = 4
"""Reading a prompt for its words takes this many times as long as looking up a key."""
_NOT_TRASHED = (
    "NOT EXISTS (SELECT 1 FROM images AS t INDEXED BY images_trashed "
    "WHERE t.trashed_ms IS NOT NULL AND t.id = {key})"
)
_MISSING = "EXISTS (SELECT 1 FROM images AS m WHERE m.id = {key} AND m.missing_ms IS NOT NULL)"
"""Missing images are few and rarely searched for, so no index covers them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _KeyList:
    """The keys of the images that meet one condition; `{l}` is replaced by an alias."""

    source: str
    key: str = "{l}.id"
    condition: str = "1"
    values: Values = field(default_factory=dict)
    by_key: _KeyList | None = None
    """A faster form for looking up a single key."""
    probe: int = _PROBE

    def fill(self, sql: str, alias: str) -> str:
        return sql.replace("{key}", self.key).replace("{l}", alias)


def select_keys(
    connection: Connection, query: Query, after: int | None = None, limit: int | None = None
) -> TextualSelect:
    """The statement that selects the keys of the newest images that match."""
    bounds = {
        name: bound
        for name, bound in (
            ("after", after),
            ("since", None if query.since is None else first_key(query.since)),
            ("until", None if query.until is None else first_key(query.until)),
        )
        if bound is not None
    }
    operators = {"after": "<", "since": ">=", "until": "<"}
    period = [f"{{key}} {operators[name]} :{name}" for name in bounds]
    tag_lists = [
        _KeyList(
            source="tags AS {l}",
            key="{l}.image",
            condition=f"{{l}}.tag = :tag{n}",
            values={f"tag{n}": tag},
        )
        for n, tag in enumerate(query.tags)
    ]
    lists = [*_image_lists(query), *tag_lists, *_word_lists(query)]
    first, *rest = _shortest_first(connection, lists, period, bounds)
    others = [other.by_key or other for other in rest]
    conditions = [first.condition, *period]
    for number, other in enumerate(others):
        lookup = f"SELECT 1 FROM {other.source} WHERE {other.condition} AND {{key}} = "
        conditions.append(f"EXISTS ({other.fill(lookup, f'o{number}')}{{key}})")
    if not query.in_trash:
        conditions.append(_NOT_TRASHED)
    if query.is_missing:
        conditions.append(_MISSING)
    newest = "" if limit is None else f" ORDER BY {{key}} DESC LIMIT {int(limit)}"
    sql = f"SELECT {{key}} AS id FROM {first.source} WHERE {' AND '.join(conditions)}{newest}"
    statement = text(first.fill(sql, "l")).bindparams(**bounds, **_values_of(first, *others))
    return statement.columns(column("id", BigInteger))


def _values_of(*lists: _KeyList) -> dict[str, str | int]:
    return {name: value for one in lists for name, value in one.values.items()}


def _shortest_first(
    connection: Connection, lists: list[_KeyList], period: Sequence[str], bounds: Values
) -> list[_KeyList]:
    """The list whose newest keys reach back farthest has the fewest, and comes first."""
    if len(lists) < 2:
        return lists or [_KeyList(source="images AS {l}")]
    probes = [
        one.fill(
            f"(SELECT {{key}} FROM {one.source} WHERE {' AND '.join([one.condition, *period])} "
            f"ORDER BY {{key}} DESC LIMIT 1 OFFSET {one.probe})",
            "l",
        )
        for one in lists
    ]
    statement = text(f"SELECT {', '.join(probes)}")
    keys = connection.execute(statement, {**bounds, **_values_of(*lists)}).one()
    rank = {id(one): -1 if key is None else key for one, key in zip(lists, keys, strict=True)}
    return sorted(lists, key=lambda one: rank[id(one)])


def _image_lists(query: Query) -> Iterator[_KeyList]:
    """Backend, model, rating and trash, by one index that covers all that are asked for."""
    makers = {"backend": query.backend, "model": query.model}
    values: dict[str, str | int] = {
        name: value for name, value in makers.items() if value is not None
    }
    conditions = [f"{{l}}.{name} = :{name}" for name in values]
    index = f"images_by_{'_and_'.join(values)}"
    if query.rating is not None:
        conditions = ["{l}.rating IS NOT NULL", "{l}.rating >= :rating", *conditions]
        index = "images_rated"
        values["rating"] = query.rating
    if query.in_trash:
        conditions, index = ["{l}.trashed_ms IS NOT NULL", *conditions], "images_trashed"
    if conditions:
        source = f"images AS {{l}} INDEXED BY {index}"
        yield _KeyList(source=source, condition=" AND ".join(conditions), values=values)


def _word_lists(query: Query) -> Iterator[_KeyList]:
    """The full-text index; for a single image, its prompt is read and compared."""
    terms = fulltext.parse_query(query.text)
    if not terms:
        return
    patterns = {f"term{n}": fulltext.term_pattern(term) for n, term in enumerate(terms)}
    comparisons = (
        f"instr(' ' || {{l}}.words || ' ', :{name}) {'=' if term.is_excluded else '>'} 0"
        for name, term in zip(patterns, terms, strict=True)
    )
    yield _KeyList(
        source="prompts AS {l}",
        key="{l}.rowid",
        condition="{l}.words MATCH :words",
        values={"words": fulltext.sqlite_query(terms)},
        by_key=_KeyList(
            source="prompts AS {l}",
            key="{l}.rowid",
            condition=" AND ".join(comparisons),
            values=patterns,
        ),
        probe=_PROBE * _WORDS_COST,
    )

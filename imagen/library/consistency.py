"""Compares the library with the disk: what is missing, moved or changed; and mends what it can."""

from __future__ import annotations

import os
import platform
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import delete, func, select, update

from imagen.core.filesystem import file_sha256
from imagen.errors import LibraryError
from imagen.library.detail import build_sidecar
from imagen.library.import_files import no_count, update_path
from imagen.library.schema import generations, images, thumbnails
from imagen.library.search import images_of
from imagen.library.stored_values import path_of, stored_path
from imagen.library.write import delete_image
from imagen.outputs.files import sidecar_path, write_new

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Row, Select

    from imagen.library.database import Library
    from imagen.library.import_files import OnProgress

_AT_ONCE = 1000
_SETTLED_MS = 10_000
"""A file that was written later than so long after its generation may have been changed since."""


class Inconsistency(NamedTuple):
    """One picture that is not as the library has it."""

    id: str
    """Of its generation."""
    path: Path
    """As the library has it, or had it."""
    now: Path | None = None
    """Where it lies now."""
    is_mended: bool = False


@dataclass(slots=True)
class ConsistencyReport:
    """What a check found."""

    checked: int = 0
    elsewhere: int = 0
    """How many pictures lie on other machines, and were not looked at."""
    missing: list[Inconsistency] = field(default_factory=list)
    moved: list[Inconsistency] = field(default_factory=list)
    changed: list[Inconsistency] = field(default_factory=list)
    returned: list[Inconsistency] = field(default_factory=list)
    """Those that were noted as missing, and are there again."""
    sidecars: list[Inconsistency] = field(default_factory=list)
    """Those whose sidecar is lost."""
    forgotten: list[Inconsistency] = field(default_factory=list)
    """Those that were missing, and that the library no longer knows."""
    thumbnails: int = 0
    """How many belong to no picture."""

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong that was not mended: what is missing or changed can't be."""
        return not (self.missing or self.changed or self.is_mendable)

    @property
    def is_mendable(self) -> bool:
        """Whether something is wrong that `mend` would put right."""
        found = (*self.moved, *self.returned, *self.sidecars)
        return self.thumbnails > 0 or not all(one.is_mended for one in found)


def check_consistency(
    library: Library, *, mend: bool = False, on_progress: OnProgress = no_count
) -> ConsistencyReport:
    """Look at every picture of this machine that the library knows.

    A file counts as changed by its size, else by its content where it was written after it was
    made. With `mend` the new places of moved ones are noted, and that others are missing; lost
    sidecars are written again. No picture is ever deleted. Raises LibraryError.
    """
    report = ConsistencyReport()
    gone: list[Row[Any]] = []
    total = _count(library, report)
    for row in _rows(library):
        report.checked += 1
        if os.path.isfile(path_of(row.path)):
            _look_at(library, row, report, mend)
        else:
            gone.append(row)
        on_progress(report.checked, total)
    _look_for(library, gone, report, mend)
    _look_at_thumbnails(library, report, mend)
    return report


def forget_missing(library: Library, report: ConsistencyReport) -> None:
    """Take what the check did not find out of the library; the ledger and all files stay.

    What is there again meanwhile is not forgotten. Raises LibraryError.
    """
    gone = [one for one in report.missing if not os.path.lexists(one.path)]
    with library.writing() as connection:
        for one in gone:
            its = images.c.generation == one.id, images.c.path == stored_path(one.path)
            chosen = select(images.c.id).where(*its, images.c.host == platform.node())
            for key in connection.scalars(chosen).all():
                delete_image(connection, key)
    report.missing = [one for one in report.missing if one not in gone]
    report.forgotten = gone


def _count(library: Library, report: ConsistencyReport) -> int:
    counted = select(images.c.host, func.count()).group_by(images.c.host)
    with library.reading() as connection:
        found: dict[str, int] = {row[0]: row[1] for row in connection.execute(counted)}
    here = found.pop(platform.node(), 0)
    report.elsewhere = sum(found.values())
    return here


def _rows(library: Library) -> Iterator[Row[Any]]:
    """The pictures of this machine, in batches, so that nothing is locked meanwhile."""
    after: int | None = None
    while True:
        with library.reading() as connection:
            found = connection.execute(_batch(after)).all()
        yield from found
        if len(found) < _AT_ONCE:
            return
        after = found[-1].id


def _batch(after: int | None) -> Select[Any]:
    chosen = (
        select(images, generations.c.ended_ms)
        .join(generations, generations.c.id == images.c.generation)
        .where(images.c.host == platform.node())
        .order_by(images.c.id)
        .limit(_AT_ONCE)
    )
    return chosen if after is None else chosen.where(images.c.id > after)


def _look_at(library: Library, row: Row[Any], report: ConsistencyReport, mend: bool) -> None:
    """A picture whose file is there."""
    path = path_of(row.path)
    if row.missing_ms is not None:
        report.returned.append(Inconsistency(row.generation, path, path, mend))
        if mend:
            _note_missing(library, [row.id], None)
    if _is_changed(path, row):
        report.changed.append(Inconsistency(row.generation, path, path))
    elif row.sidecar is not None and not os.path.lexists(path_of(row.sidecar)):
        done = mend and _rewritten(library, row, path)
        report.sidecars.append(Inconsistency(row.generation, path, path, done))


def _is_changed(path: Path, row: Row[Any]) -> bool:
    with suppress(OSError):  # it may go away meanwhile
        now = path.stat()
        if now.st_size != row.size_bytes:
            return True
        if now.st_mtime * 1000 > row.ended_ms + _SETTLED_MS:
            return file_sha256(path) != str(row.sha256)
    return False


def _rewritten(library: Library, row: Row[Any], path: Path) -> bool:
    """Whether the sidecar could be written again, of what the library has."""
    meant = (one for one in images_of(library, row.generation) if one.key == row.id)
    picture = next(meant, None)
    if picture is None:
        return False
    beside = sidecar_path(path)
    try:
        write_new(build_sidecar(library, picture), beside)
    except (OSError, LibraryError):
        return False
    values = {"sidecar": stored_path(beside)}
    with library.writing() as connection:
        connection.execute(update(images).where(images.c.id == row.id).values(**values))
    return True


def _look_for(
    library: Library, gone: list[Row[Any]], report: ConsistencyReport, mend: bool
) -> None:
    """Pictures whose files are not where they were: by their content, where others lie."""
    there = _found_again(library, gone) if gone else {}
    lost = []
    for row in gone:
        old, new = path_of(row.path), there.get(row.id)
        if new is None:
            lost.append(row.id)
            report.missing.append(Inconsistency(row.generation, old))
            continue
        report.moved.append(Inconsistency(row.generation, old, new, mend))
        if mend:
            update_path(library, row, new)
            if row.sidecar is not None and not os.path.lexists(sidecar_path(new)):
                done = _rewritten(library, row, new)
                report.sidecars.append(Inconsistency(row.generation, new, new, done))
    if mend and lost:
        _note_missing(library, lost, round(time.time() * 1000))


def _note_missing(library: Library, keys: list[int], moment: int | None) -> None:
    """Since when they are missing; the first time counts."""
    with library.writing() as connection:
        for start in range(0, len(keys), _AT_ONCE):
            chosen = update(images).where(images.c.id.in_(keys[start : start + _AT_ONCE]))
            if moment is not None:
                chosen = chosen.where(images.c.missing_ms.is_(None))
            connection.execute(chosen.values(missing_ms=moment))


def _found_again(library: Library, gone: list[Row[Any]]) -> dict[int, Path]:
    """For the number of each that was found, where it lies: same size first, then same content."""
    by_size: dict[int, list[Row[Any]]] = {}
    for row in gone:
        by_size.setdefault(row.size_bytes, []).append(row)
    found: dict[int, Path] = {}
    known = {row.path for row in _rows(library)}
    for path in _files_below(_folders(known)):
        waiting = [row for row in _of_size(path, by_size) if row.id not in found]
        if not waiting or stored_path(path) in known:
            continue
        with suppress(OSError):
            digest = file_sha256(path)
            meant = next((row for row in waiting if row.sha256 == digest), None)
            if meant is not None:
                found[meant.id] = path
        if len(found) == len(gone):
            break
    return found


def _folders(known: Iterable[str]) -> list[Path]:
    """The folders that the library knows, without those that lie within others."""
    folders = sorted({path_of(path).parent for path in known})
    kept: list[Path] = []
    for folder in folders:
        if not any(folder.is_relative_to(other) for other in kept):
            kept.append(folder)
    return kept


def _files_below(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        for root, _, names in os.walk(folder):
            yield from (Path(root, name) for name in sorted(names))


def _of_size(path: Path, by_size: dict[int, list[Row[Any]]]) -> list[Row[Any]]:
    try:
        return by_size.get(path.stat().st_size, []) if not path.is_symlink() else []
    except OSError:
        return []


def _look_at_thumbnails(library: Library, report: ConsistencyReport, mend: bool) -> None:
    orphans = thumbnails.c.image.not_in(select(images.c.id))
    counted = select(func.count()).select_from(thumbnails).where(orphans)
    with library.reading() as connection:
        report.thumbnails = connection.execute(counted).scalar_one()
    if mend and report.thumbnails:
        with library.writing() as connection:
            connection.execute(delete(thumbnails).where(orphans))
        report.thumbnails = 0

"""Compare the library with the disk: missing, moved and changed files; and fix what can be."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import delete, func, select, update

from imagen.config.paths import host_name
from imagen.core.filesystem import file_sha256
from imagen.core.ids import image_uid
from imagen.errors import ImagenError
from imagen.library.detail import build_sidecar
from imagen.library.events import insert_image_events
from imagen.library.import_files import no_count, update_path
from imagen.library.schema import generations, images, path_of, stored_path, thumbnails
from imagen.library.search import images_of
from imagen.library.trash import find_file, move_to_trash
from imagen.library.write import delete_image
from imagen.outputs.save import sidecar_path, write_new

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Row

    from imagen.library.database import Library
    from imagen.library.import_files import OnProgress
    from imagen.library.search import LibraryImage

_BATCH = 1000
_MAX_SAVE_MS = 10_000
"""A file with a modification time later than this after its generation may have been changed."""


class Inconsistency(NamedTuple):
    """One image that is not as the library has it."""

    id: str
    """Of its generation."""
    path: Path
    """As the library has it, or had it."""
    now: Path | None = None
    """Where the file is."""
    is_fixed: bool = False


@dataclass(slots=True)
class ConsistencyReport:
    """The result of a check."""

    checked: int = 0
    elsewhere: int = 0
    """Images on other machines, which were not checked."""
    missing: list[Inconsistency] = field(default_factory=list)
    moved: list[Inconsistency] = field(default_factory=list)
    changed: list[Inconsistency] = field(default_factory=list)
    returned: list[Inconsistency] = field(default_factory=list)
    """Noted as missing before, and there again."""
    untrashed: list[Inconsistency] = field(default_factory=list)
    """In the trash, but the file is still outside: moving it was interrupted."""
    sidecars: list[Inconsistency] = field(default_factory=list)
    """Their sidecar is missing."""
    forgotten: list[Inconsistency] = field(default_factory=list)
    """They were missing and are no longer in the library."""
    thumbnails: int = 0
    """Thumbnails without an image."""

    @property
    def is_ok(self) -> bool:
        """Whether nothing is wrong that was not fixed. Missing and changed files cannot be."""
        return not (self.missing or self.changed or self.is_fixable)

    @property
    def is_fixable(self) -> bool:
        """Whether `fix` would repair something."""
        found = (*self.moved, *self.returned, *self.untrashed, *self.sidecars)
        return self.thumbnails > 0 or not all(one.is_fixed for one in found)


def check_consistency(
    library: Library, *, fix: bool = False, on_progress: OnProgress = no_count
) -> ConsistencyReport:
    """Check the file of every image on this machine.

    A file counts as changed if its size differs, or its content if it was modified after it was
    made. With `fix`, the new paths of moved files and the fact that others are missing are noted,
    lost sidecars are written again, and interrupted moves to the trash are finished. No image is
    deleted. Raises LibraryError.
    """
    report = ConsistencyReport()
    counted = select(images.c.host, func.count()).group_by(images.c.host)
    with library.reading() as connection:
        by_host: dict[str, int] = {row[0]: row[1] for row in connection.execute(counted)}
    total = by_host.pop(host_name(), 0)
    report.elsewhere = sum(by_host.values())
    absent: list[Row[Any]] = []
    for row in _iterate_rows(library):
        report.checked += 1
        if row.trashed_ms is not None and _check_trashed(library, row, report, fix):
            pass
        elif os.path.isfile(path_of(row.path)):
            _check_present(library, row, report, fix)
        else:
            absent.append(row)
        on_progress(report.checked, total)
    _check_absent(library, absent, report, fix)
    orphans = thumbnails.c.image.not_in(select(images.c.id))
    with library.reading() as connection:
        count = select(func.count()).select_from(thumbnails).where(orphans)
        report.thumbnails = connection.execute(count).scalar_one()
    if fix and report.thumbnails:
        with library.writing() as connection:
            connection.execute(delete(thumbnails).where(orphans))
        report.thumbnails = 0
    return report


def forget_missing(library: Library, report: ConsistencyReport) -> None:
    """Delete the rows of missing images; the ledger and all files stay.

    An image whose file is there again is kept. Raises LibraryError.
    """
    absent = [one for one in report.missing if not os.path.lexists(one.path)]
    removed: list[str] = []
    with library.writing() as connection:
        for one in absent:
            same = images.c.generation == one.id, images.c.path == stored_path(one.path)
            chosen = select(images.c.id).where(*same, images.c.host == host_name())
            for key in connection.scalars(chosen).all():
                removed += delete_image(connection, key)
        insert_image_events(connection, "images_removed", removed)
    report.missing = [one for one in report.missing if one not in absent]
    report.forgotten = absent


def _iterate_rows(library: Library) -> Iterator[Row[Any]]:
    """The images of this machine, in batches, so that no writer has to wait."""
    chosen = (
        select(images, generations.c.ended_ms)
        .join(generations, generations.c.id == images.c.generation)
        .where(images.c.host == host_name())
        .order_by(images.c.id)
        .limit(_BATCH)
    )
    batch = chosen
    while True:
        with library.reading() as connection:
            rows = connection.execute(batch).all()
        yield from rows
        if len(rows) < _BATCH:
            return
        batch = chosen.where(images.c.id > rows[-1].id)


def _check_trashed(library: Library, row: Row[Any], report: ConsistencyReport, fix: bool) -> bool:
    """Whether an image in the trash has its file outside: moving it was interrupted.

    Earlier versions of imagen did not move files to the trash.
    """
    image = _find_image(library, row)
    outside = find_file(library, image) if image is not None else None
    if image is None or outside is None:
        return False
    is_fixed = False
    if fix:
        with suppress(ImagenError):
            is_fixed = move_to_trash(library, image)
    report.untrashed.append(Inconsistency(row.generation, outside, outside, is_fixed))
    return True


def _check_present(library: Library, row: Row[Any], report: ConsistencyReport, fix: bool) -> None:
    path = path_of(row.path)
    if row.missing_ms is not None:
        report.returned.append(Inconsistency(row.generation, path, path, fix))
        if fix:
            _note_missing(library, [row], None)
    is_changed = False
    with suppress(OSError):  # it may be deleted meanwhile
        now = path.stat()
        is_late = now.st_mtime * 1000 > row.ended_ms + _MAX_SAVE_MS
        is_changed = now.st_size != row.size_bytes or (
            is_late and file_sha256(path) != str(row.sha256)
        )
    if is_changed:
        report.changed.append(Inconsistency(row.generation, path, path))
    elif row.sidecar is not None and not os.path.lexists(path_of(row.sidecar)):
        is_fixed = fix and _rewrite_sidecar(library, row, path)
        report.sidecars.append(Inconsistency(row.generation, path, path, is_fixed))


def _find_image(library: Library, row: Row[Any]) -> LibraryImage | None:
    return next((one for one in images_of(library, row.generation) if one.key == row.id), None)


def _rewrite_sidecar(library: Library, row: Row[Any], path: Path) -> bool:
    """Write the sidecar again from what the library has; returns whether that worked."""
    image = _find_image(library, row)
    if image is None:
        return False
    sidecar = sidecar_path(path)
    try:
        write_new(build_sidecar(library, image), sidecar)
    except (OSError, ImagenError):
        return False
    with library.writing() as connection:
        changed = update(images).where(images.c.id == row.id)
        connection.execute(changed.values(sidecar=stored_path(sidecar)))
        insert_image_events(connection, "images_changed", [image_uid(row.generation, row.number)])
    return True


def _check_absent(
    library: Library, absent: list[Row[Any]], report: ConsistencyReport, fix: bool
) -> None:
    """Look for files that are not where they were, by content."""
    found = _find_moved(library, absent) if absent else {}
    missing: list[Row[Any]] = []
    for row in absent:
        old, new = path_of(row.path), found.get(row.id)
        if new is None:
            missing.append(row)
            report.missing.append(Inconsistency(row.generation, old))
            continue
        report.moved.append(Inconsistency(row.generation, old, new, fix))
        if fix:
            update_path(library, row, new)
            if row.sidecar is not None and not os.path.lexists(sidecar_path(new)):
                is_fixed = _rewrite_sidecar(library, row, new)
                report.sidecars.append(Inconsistency(row.generation, new, new, is_fixed))
    if fix and missing:
        _note_missing(library, missing, round(time.time() * 1000))


def _note_missing(library: Library, rows: list[Row[Any]], moment: int | None) -> None:
    """Store since when they are missing (the first time counts), or that they are not."""
    changed = [row for row in rows if moment is None or row.missing_ms is None]
    with library.writing() as connection:
        for start in range(0, len(changed), _BATCH):
            keys = [row.id for row in changed[start : start + _BATCH]]
            noted = update(images).where(images.c.id.in_(keys))
            connection.execute(noted.values(missing_ms=moment))
        uids = [image_uid(row.generation, row.number) for row in changed]
        insert_image_events(connection, "images_changed", uids)


def _find_moved(library: Library, absent: list[Row[Any]]) -> dict[int, Path]:
    """The present path of each image that was found: first by size, then by content."""
    by_size: dict[int, list[Row[Any]]] = {}
    for row in absent:
        by_size.setdefault(row.size_bytes, []).append(row)
    found: dict[int, Path] = {}
    known = {row.path for row in _iterate_rows(library)}
    for path in _files_in_folders_of(known):
        with suppress(OSError):
            if path.is_symlink():
                continue
            candidates = [
                row for row in by_size.get(path.stat().st_size, []) if row.id not in found
            ]
            if not candidates or stored_path(path) in known:
                continue
            digest = file_sha256(path)
            match = next((row for row in candidates if row.sha256 == digest), None)
            if match is not None:
                found[match.id] = path
        if len(found) == len(absent):
            break
    return found


def _files_in_folders_of(paths: Iterable[str]) -> Iterator[Path]:
    """Every file in or below the folders of these paths."""
    outer: list[Path] = []
    for folder in sorted({path_of(path).parent for path in paths}):
        if not any(folder.is_relative_to(other) for other in outer):
            outer.append(folder)
    for folder in outer:
        for root, _, names in os.walk(folder):
            yield from (Path(root, name) for name in sorted(names))

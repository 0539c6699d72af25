"""The library: whether it opens and is sound, and what waits in its outbox."""

from __future__ import annotations

import os
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from imagen.core.text import one_line
from imagen.doctor.findings import Check, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.config import Settings
    from imagen.library import Library
    from imagen.library.outbox import PendingDelivery

_RETRY = "Try it again with: imagen sync --retry"
_REBUILD = (
    "Your pictures are where they are. Move the file away, and `imagen library add` makes another "
    "out of them."
)


def checks(settings: Settings, environ: Mapping[str, str], *, quick: bool) -> Iterator[Check]:
    """That it opens, that it is sound, and what waits to be told."""
    section = "library"
    if not settings.library.enabled:
        off = Finding(subject="library", state="note", says="off: library.enabled is false")
        yield Check(section=section, subject="library", look=lambda: [off])
        return
    if not _is_there(settings.library_at):
        later = Finding(subject="library", says=f"{settings.library_at}, not made yet")
        yield Check(section=section, subject="library", look=lambda: [later])
        return
    if quick and "://" in settings.library_at:
        unasked = Finding(subject="library", says=f"{settings.library_at}, not asked")
        yield Check(section=section, subject="library", look=lambda: [unasked])
        return
    looks = {"library": _opened, "outbox": _outbox}
    for subject, look in looks.items():
        yield Check(section=section, subject=subject, look=partial(look, settings, environ))
    if not quick:
        look = partial(_sound, settings, environ)
        yield Check(section=section, subject="integrity", look=look, when_late="warning")


def _is_there(at: str) -> bool:
    """A file that is missing will be made; looking at it must not make it."""
    return "://" in at or os.path.lexists(at)


def _opened(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    from imagen.library import Query, count_images, open_library
    from imagen.library.migrations import version_of

    with open_library(settings, environ=environ) as library:
        with library.reading() as connection:
            version = version_of(connection)
        pictures = count_images(library, Query())
    noun = "picture" if pictures == 1 else "pictures"
    says = f"{library.at}, version {version}, {pictures} {noun}"
    if library.is_read_only:
        remedies = ("Let imagen write its file and the folder it is in.",)
        says = f"{says}; it can be read, but not written"
        yield Finding(subject="library", state="warning", says=says, remedies=remedies)
    else:
        yield Finding(subject="library", says=says)


def _sound(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    from imagen.library import open_library

    with open_library(settings, environ=environ) as library:
        faults = _faults(library) if library.is_sqlite else []
        _search(library)
    if not faults:
        yield Finding(subject="integrity", says="sound, and can be searched")
    for fault in faults:
        says, remedies = one_line(fault), (_REBUILD,)
        yield Finding(subject="integrity", state="broken", says=says, remedies=remedies)


def _faults(library: Library) -> list[str]:
    """What SQLite finds wrong with its file: https://www.sqlite.org/pragma.html#pragma_quick_check"""
    with library.reading() as connection:
        said = connection.exec_driver_sql("PRAGMA quick_check(3)").scalars().all()
    return [line for line in said if line != "ok"]


def _search(library: Library) -> None:
    """Raises LibraryError where its full-text search does not work."""
    from imagen.library import Query, search_images

    search_images(library, Query(text="imagen"), limit=1)


def _outbox(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    from imagen.library import open_library
    from imagen.library.outbox import list_unsent

    with open_library(settings, environ=environ) as library:
        found = list_unsent(library)
    stuck = [waiting for waiting in found if waiting.state == "stuck"]
    yield from _waiting([waiting for waiting in found if waiting.state != "stuck"])
    for (kind, why), number in Counter(map(_reason, stuck)).items():
        says = f"{number} for the {kind} stuck: {why}"
        yield Finding(subject="outbox", state="broken", says=says, remedies=(_RETRY,))


def _waiting(found: list[PendingDelivery]) -> Iterator[Finding]:
    if not found:
        yield Finding(subject="outbox", says="nothing waits")
        return
    kinds = ", ".join(
        f"{n} for the {k}" for k, n in Counter(w.delivery.kind for w in found).items()
    )
    errors = dict.fromkeys(one_line(w.last_error) for w in found if w.last_error)
    if not errors:
        remedy = "`imagen sync` sends it now."
        yield Finding(subject="outbox", state="note", says=f"{kinds} wait", remedies=(remedy,))
        return
    says = f"{kinds} wait to be tried again: {'; '.join(errors)}"
    yield Finding(subject="outbox", state="warning", says=says, remedies=(_RETRY,))


def _reason(waiting: PendingDelivery) -> tuple[str, str]:
    return waiting.delivery.kind, one_line(waiting.last_error)

"""A watcher wakes at once, whichever process has written."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

from imagen.config import LibrarySettings, Settings
from imagen.library import open_library
from imagen.library.events import insert_image_events
from imagen.library.wakeup import LibraryWatcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen.library import Library

_DEADLINE_SECONDS = 30.0


def _is_woken(watcher: LibraryWatcher, write: Callable[[], None]) -> bool:
    """Whether a wait that would last forever ends after this was written."""
    has_woken = threading.Event()

    def wait() -> None:
        watcher.wait(10 * _DEADLINE_SECONDS)
        has_woken.set()

    watcher.wait(_DEADLINE_SECONDS)  # the first look of its thread
    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    write()
    return has_woken.wait(_DEADLINE_SECONDS)


def test_a_watcher_of_events_wakes_after_a_commit(library: Library, library_url: str) -> None:
    watcher = LibraryWatcher(library, "imagen_events")

    def write() -> None:
        settings = Settings(library=LibrarySettings(url=library_url))
        with open_library(settings) as other, other.writing() as connection:
            insert_image_events(connection, "images_changed", ["a.1"])

    with closing(watcher):
        assert _is_woken(watcher, write)


def test_a_watcher_wakes_after_another_process_has_written(sqlite_path: str) -> None:
    settings = Settings(library=LibrarySettings(url=sqlite_path))
    with open_library(settings) as library:
        watcher = LibraryWatcher(library, "imagen_events")

        def write() -> None:
            with closing(sqlite3.connect(sqlite_path)) as connection, connection:
                connection.execute(
                    "INSERT INTO events (job, at_ms, kind, data) VALUES ('', 0, 'state', '{}')"
                )

        with closing(watcher):
            assert _is_woken(watcher, write)

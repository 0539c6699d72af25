"""Wake the threads that wait for jobs or events, whichever process writes them."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote
from weakref import WeakSet

from sqlalchemy import text

from imagen.errors import ImagenError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from imagen.library.database import Library

Channel = Literal["imagen_jobs", "imagen_events"]
"""What can be waited for: jobs that are put in line or cancelled, and events."""
_LOOK_SECONDS = 0.05
"""How often to look whether another process has written to an SQLite file: microseconds a look."""
_POLL_SECONDS = 1.0
"""How often to wake everybody while the database cannot say that something has changed."""
_MARKS: dict[Channel, str] = {
    "imagen_jobs": "SELECT (SELECT seq FROM sqlite_sequence WHERE name = 'deliveries'), "
    "(SELECT COUNT(*) FROM deliveries WHERE cancel = 1)",
    "imagen_events": "SELECT seq FROM sqlite_sequence WHERE name = 'events'",
}
"""What changes with each of them, and not with anything else."""
_WATCHERS: WeakSet[LibraryWatcher] = WeakSet()
"""Those of this process that watch files."""
_LOCK = threading.Lock()
"""Held to change or list the watchers."""


def notify(connection: Connection, channel: Channel) -> None:
    """Wake the waiting threads of all processes once this transaction is committed."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"NOTIFY {channel}"))


def look_now(library: Library) -> None:
    """Let the watchers of this process see at once what was written to this library."""
    with _LOCK:
        watchers = [*_WATCHERS]
    for watcher in watchers:
        watcher.look(library.at)


class LibraryWatcher:
    """Watches one channel of a library in a thread, which begins with the first wait."""

    def __init__(self, library: Library, channel: Channel) -> None:
        self._library = library
        self._channel = channel
        self._changed = threading.Condition()
        self._changes = 0
        self._seen = threading.local()
        self._look = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def wait(self, seconds: float) -> None:
        """Return after so many seconds, or once something has changed since the last wait."""
        with self._changed:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._watch, name=self._channel, daemon=True)
                self._thread.start()
            seen = getattr(self._seen, "changes", -1)
            self._changed.wait_for(lambda: self._changes != seen, seconds)
            self._seen.changes = self._changes

    def wake(self) -> None:
        """Let every wait of this process return."""
        with self._changed:
            self._changes += 1
            self._changed.notify_all()

    def look(self, at: str) -> None:
        """Look for changes now, if the library at this place is the one that is watched."""
        if at == self._library.at:
            self._look.set()

    def close(self) -> None:
        with _LOCK:
            _WATCHERS.discard(self)
        self._closed.set()
        self._look.set()
        self.wake()
        if self._thread is not None:
            self._thread.join(2 * _POLL_SECONDS)

    def _watch(self) -> None:
        while not self._closed.is_set():
            with suppress(ImagenError, Exception):
                if self._library.is_sqlite:
                    self._watch_file()
                else:
                    self._listen()
            self.wake()
            self._closed.wait(_POLL_SECONDS)

    def _watch_file(self) -> None:
        address = f"file:{quote(self._library.at)}?mode=rw"
        connection = sqlite3.connect(address, uri=True, isolation_level=None)
        with _LOCK:
            _WATCHERS.add(self)
        with closing(connection):
            version, marks = None, None
            while not self._closed.is_set():
                self._look.clear()
                # It changes when another connection commits, of this process or any other.
                found = connection.execute("PRAGMA data_version").fetchone()
                if found != version:
                    version = found
                    new = connection.execute(_MARKS[self._channel]).fetchone()
                    if new != marks:
                        marks = new
                        self.wake()
                self._look.wait(_LOOK_SECONDS)

    def _listen(self) -> None:
        """Wait for notifications on a connection of its own.

        Behind a pooler of transactions none would arrive, so it sends one to itself: until it is
        heard, everybody is woken once a second.
        """
        with self._library.reading() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            connection.rollback()
            connection.detach()  # or LISTEN would stay in the pool
            driver.autocommit = True
            driver.execute(f"LISTEN {self._channel}")
            self.wake()
            with self._library.writing() as other:
                notify(other, self._channel)
            is_heard = False
            while not self._closed.is_set():
                heard = bool(list(driver.notifies(timeout=_POLL_SECONDS, stop_after=1)))
                is_heard = is_heard or heard
                if heard or not is_heard:
                    self.wake()

"""Wake the threads that wait for jobs, once another process may have put or cancelled one."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

from sqlalchemy import text

from imagen.errors import ImagenError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from imagen.library.database import Library

_CHANNEL = "imagen_jobs"
_LOOK_SECONDS = 0.05
"""How often to look whether another process has written to an SQLite file: microseconds a look."""
_POLL_SECONDS = 1.0
"""How often to wake everybody while the database cannot say that something has changed."""
_MARKS = (
    "SELECT (SELECT seq FROM sqlite_sequence WHERE name = 'deliveries'), "
    "(SELECT COUNT(*) FROM deliveries WHERE cancel = 1)"
)
"""What changes with each put and cancel, and not with the progress of jobs."""


def notify(connection: Connection) -> None:
    """Wake the waiting threads of all processes once this transaction is committed."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"NOTIFY {_CHANNEL}"))


class QueueWatcher:
    """Watches the queue of a library in a thread, which begins with the first wait."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._changed = threading.Condition()
        self._changes = 0
        self._seen = threading.local()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def wait(self, seconds: float) -> None:
        """Return after so many seconds, or once something has changed since the last wait."""
        with self._changed:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._watch, name="queue", daemon=True)
                self._thread.start()
            seen = getattr(self._seen, "changes", -1)
            self._changed.wait_for(lambda: self._changes != seen, seconds)
            self._seen.changes = self._changes

    def wake(self) -> None:
        """Let every wait of this process return."""
        with self._changed:
            self._changes += 1
            self._changed.notify_all()

    def close(self) -> None:
        self._closed.set()
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
        with closing(connection):
            version, marks = None, None
            while not self._closed.is_set():
                # It changes when another connection commits, of this process or any other.
                found = connection.execute("PRAGMA data_version").fetchone()
                if found != version:
                    version = found
                    new = connection.execute(_MARKS).fetchone()
                    if new != marks:
                        marks = new
                        self.wake()
                self._closed.wait(_LOOK_SECONDS)

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
            driver.execute(f"LISTEN {_CHANNEL}")
            self.wake()
            with self._library.writing() as other:
                notify(other)
            is_heard = False
            while not self._closed.is_set():
                heard = bool(list(driver.notifies(timeout=_POLL_SECONDS, stop_after=1)))
                is_heard = is_heard or heard
                if heard or not is_heard:
                    self.wake()

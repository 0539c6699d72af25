"""The events of the library as they happen, of every process, for the clients of this one."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from imagen.errors import LibraryError
from imagen.library.wakeup import LibraryWatcher

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from imagen.jobs.sql_store import SqlJobStore
    from imagen.library.events import LibraryEvent

    Listener = Callable[[Sequence[LibraryEvent]], None]

_IDLE_SECONDS = 5.0
"""How often to look although nothing says that there are new events."""
_OUTAGE_SECONDS = 1.0
_PAGE = 500


class EventFeed:
    """Reads new events in a thread, and passes them on in order. Threads may share it."""

    def __init__(self, store: SqlJobStore) -> None:
        self._store = store
        self._watcher = LibraryWatcher(store.library, "imagen_events")
        self._seq = store.last_event()
        self._listeners: list[Listener] = []
        self._has_new = threading.Condition()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    @property
    def last(self) -> int:
        """The number of the last event that is passed on, or was."""
        return self._seq

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Have a function called with each batch of new events, in the feed's thread.

        It must return soon. Returns what ends that.
        """
        with self._has_new:
            self._listeners.append(listener)

        def stop() -> None:
            with self._has_new:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return stop

    def wait(self, after: int, seconds: float) -> bool:
        """Whether there is an event after this one, now or within so many seconds."""
        with self._has_new:
            return self._has_new.wait_for(
                lambda: self._seq > after or self._closed.is_set(), seconds
            )

    def close(self) -> None:
        self._closed.set()
        self._watcher.close()
        with self._has_new:
            self._has_new.notify_all()
        self._thread.join(2 * _OUTAGE_SECONDS)

    def _run(self) -> None:
        while not self._closed.is_set():
            self._watcher.wait(_IDLE_SECONDS)
            try:
                while new := self._store.events_after(self._seq, limit=_PAGE):
                    self._pass_on(new)
            except LibraryError:  # the database is away: the events are read later
                self._closed.wait(_OUTAGE_SECONDS)

    def _pass_on(self, new: Sequence[LibraryEvent]) -> None:
        with self._has_new:
            listeners = list(self._listeners)
            self._seq = new[-1].seq  # who listens from now on gets what follows
            self._has_new.notify_all()
        for listener in listeners:
            listener(new)

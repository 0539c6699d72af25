"""Wait while the database of the library is away, and repeat what it must not miss."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

from imagen.errors import LibraryUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 2.0


def retry_until_reachable(
    work: Callable[[], T],
    *,
    stop: threading.Event | None = None,
    on_outage: Callable[[LibraryUnreachable | None], None] = lambda _: None,
) -> T:
    """The result of `work`, which is repeated while it raises LibraryUnreachable.

    So `work` must do the same however often it is done: writes are fenced. `on_outage` is called
    with the first error, and with None once the database is back. Raises LibraryUnreachable if
    `stop` is set.
    """
    stop = stop or threading.Event()
    pause = _FIRST_PAUSE_SECONDS
    is_away = False
    try:
        while True:
            try:
                return work()
            except LibraryUnreachable as error:
                if not is_away:
                    is_away = True
                    on_outage(error)
                if stop.wait(pause):
                    raise
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
    finally:
        if is_away:
            on_outage(None)

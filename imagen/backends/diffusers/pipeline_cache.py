"""The one pipeline that this process keeps loaded between jobs."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

T = TypeVar("T")


class PipelineCache(Generic[T]):
    """Holds one loaded value until another is needed or `drop` is called.

    Only one thread uses it at a time. `after_drop` runs whenever the value has been let go.
    """

    def __init__(self, after_drop: Callable[[], None]) -> None:
        self._after_drop = after_drop
        self._lock = Lock()
        self._key: Hashable = None
        self._values: list[T] = []
        self._drop_requested = False

    @contextmanager
    def using(self, key: Hashable, load: Callable[[], T]) -> Iterator[T]:
        """The value for this key, loaded if another is held; waits while another thread uses it."""
        try:
            with self._lock:
                self._drop_if_requested()
                if not self._values or self._key != key:
                    self._clear()
                    self._values, self._key = [load()], key
                yield self._values[0]
        finally:
            self._drop_when_idle()

    @property
    def is_in_use(self) -> bool:
        return self._lock.locked()

    def drop(self) -> None:
        """Let the value go: now, or when the thread that uses it is done."""
        self._drop_requested = True
        self._drop_when_idle()

    def _drop_when_idle(self) -> None:
        if self._drop_requested and self._lock.acquire(blocking=False):
            try:
                self._drop_if_requested()
            finally:
                self._lock.release()

    def _drop_if_requested(self) -> None:
        if self._drop_requested:
            self._drop_requested = False
            self._clear()

    def _clear(self) -> None:
        if self._values:
            self._values, self._key = [], None
            self._after_drop()

"""The one pipeline that this process keeps loaded, and who may use it."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

T = TypeVar("T")


class Shelf(Generic[T]):
    """Room for one thing that is dear to make: it stays until another is wanted, or none.

    Only one thread uses it at a time.
    """

    def __init__(self, clean: Callable[[], None]) -> None:
        self._clean = clean
        self._lock = Lock()
        self._key: Hashable = None
        self._kept: list[T] = []
        self._is_unwanted = False

    @contextmanager
    def using(self, key: Hashable, make: Callable[[], T]) -> Iterator[T]:
        """The thing of this key, made if another lies there; waits until it is not in use."""
        try:
            with self._lock:
                self._sweep()
                if not self._kept or self._key != key:
                    self._forget()
                    self._kept, self._key = [make()], key
                yield self._kept[0]
        finally:
            self.tidy()

    @property
    def is_in_use(self) -> bool:
        """Whether a thread uses it, or makes it."""
        return self._lock.locked()

    def drop(self) -> None:
        """Let it go: at once, or as soon as who uses it is done."""
        self._is_unwanted = True
        self.tidy()

    def tidy(self) -> None:
        """Let go what was dropped while it was in use."""
        if self._is_unwanted and self._lock.acquire(blocking=False):
            try:
                self._sweep()
            finally:
                self._lock.release()

    def _sweep(self) -> None:
        if self._is_unwanted:
            self._is_unwanted = False
            self._forget()

    def _forget(self) -> None:
        if self._kept:
            self._kept, self._key = [], None
            self._clean()

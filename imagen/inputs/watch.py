"""Watch a folder for images: which files are new, and when each of them is complete."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from imagen.core.image_file import is_complete, read_image_file
from imagen.errors import MissingDependency, RequestError
from imagen.inputs.folder import is_image_name

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Iterable, Iterator

_SETTLED_SECONDS = 1.0
"""A file that has not changed for so long may be complete."""
_GIVE_UP_SECONDS = 15.0
"""A file that has not changed for so long, and cannot be read, is reported."""
_RESCAN_SECONDS = 60.0
"""How often the whole folder is looked at: a system may lose reports of changes."""
_RETRY_SECONDS = 5.0
_TICK_MS = 250
_POLL_MS = 1000

_Signature = tuple[int, int]
"""The size and the time of change of a file."""


class CompleteImage(NamedTuple):
    """A file that is complete."""

    path: Path
    sha256: str


class UnreadableImage(NamedTuple):
    """A file that has stopped changing, and is not an image that imagen can read."""

    path: Path
    error: RequestError


@dataclass(slots=True)
class _Candidate:
    signature: _Signature | None
    since: float
    """When it had this signature first."""
    next_look: float


class FolderWatch:
    """The images of a folder, and which of them were handed out already."""

    def __init__(
        self,
        folder: Path,
        *,
        is_recursive: bool = False,
        excluded: Collection[Path] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._is_recursive = is_recursive
        self._excluded = [os.path.realpath(path) for path in excluded]
        self._clock = clock
        self._candidates: dict[Path, _Candidate] = {}
        self._known: dict[Path, _Signature] = {}
        """What was handed out."""
        self._next_scan = clock()  # something may appear just before the watch begins

    @property
    def is_waiting(self) -> bool:
        """Whether there are files that may not be complete yet."""
        return bool(self._candidates)

    def scan(self, *, is_skipped: bool = False) -> None:
        """Note every image of the folder; if skipped, they are not handed out."""
        seen = set()
        for root, folders, names in os.walk(self._folder):
            folders[:] = sorted(
                name
                for name in folders
                if self._is_recursive
                and not name.startswith(".")
                and os.path.realpath(os.path.join(root, name)) not in self._excluded
            )
            for name in sorted(names):
                path = Path(root, name)
                seen.add(path)
                self.notice(path, is_skipped=is_skipped)
        for path in self._known.keys() - seen:
            del self._known[path]

    def notice(self, path: Path, *, is_skipped: bool = False) -> None:
        """Note a file that was added or changed, unless it was handed out as it is now.

        One that is skipped counts as handed out.
        """
        if self._folder not in path.parents:
            return
        below = path.relative_to(self._folder)
        if not is_image_name(below) or (len(below.parts) > 1 and not self._is_recursive):
            return
        folder = os.path.realpath(path.parent)
        if any(folder == one or folder.startswith(os.path.join(one, "")) for one in self._excluded):
            return
        signature = _sign(path)
        is_known = path in self._candidates or self._known.get(path) == signature
        if signature is not None and is_skipped:
            self._known[path] = signature
        elif signature is not None and not is_known:
            now = self._clock()
            self._candidates[path] = _Candidate(None, now, now)

    def put_back(self, path: Path) -> None:
        """Hand a file out again some seconds later: it could not be used yet."""
        self._known.pop(path, None)
        now = self._clock()
        self._candidates[path] = _Candidate(_sign(path), now, now + _RETRY_SECONDS)

    def update(self, changed: Iterable[Path]) -> Iterator[CompleteImage | UnreadableImage]:
        """Note changed files, and now and then all of them; then `check`."""
        for path in changed:
            self.notice(path)
        if self._clock() >= self._next_scan:
            self._next_scan = self._clock() + _RESCAN_SECONDS
            self.scan()
        yield from self.check()

    def check(self) -> Iterator[CompleteImage | UnreadableImage]:
        """The files that are complete by now, and those that will not be."""
        now = self._clock()
        for path, candidate in sorted(self._candidates.items()):
            signature = _sign(path)
            if signature is None:
                del self._candidates[path]
            elif signature != candidate.signature:
                candidate.signature, candidate.since = signature, now
                candidate.next_look = now + _SETTLED_SECONDS
            elif now >= candidate.next_look:
                try:
                    image = read_image_file(str(path))
                    if not is_complete(image.data):
                        raise RequestError(f"image: {path} is not complete.")
                except RequestError as error:
                    if now - candidate.since < _GIVE_UP_SECONDS:  # a slow copy may have paused
                        candidate.next_look = now + (now - candidate.since)
                        continue
                    result: CompleteImage | UnreadableImage = UnreadableImage(path, error)
                else:
                    if _sign(path) != signature:  # it changed while it was read
                        continue
                    result = CompleteImage(path, image.sha256)
                self._known[path] = signature
                del self._candidates[path]
                yield result


def _sign(path: Path) -> _Signature | None:
    """The signature of a regular file; None for anything else."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return (status.st_size, status.st_mtime_ns) if path.is_file() else None


def require_watchfiles() -> None:
    """Raises MissingDependency without the package that reports changes."""
    if find_spec("watchfiles") is None:
        raise MissingDependency("watchfiles", "watch", purpose="watching a folder")


def watch_changes(
    folder: Path, stop: threading.Event, *, is_recursive: bool, is_polled: bool
) -> Iterator[list[Path]]:
    """The files that were added or changed, several times a second; often none. Until `stop`.

    `is_polled` is for network shares, which report no changes. Raises MissingDependency.
    """
    require_watchfiles()
    from watchfiles import Change, watch

    batches = watch(
        folder,
        watch_filter=None,
        debounce=_TICK_MS,
        step=50,
        rust_timeout=_TICK_MS,
        yield_on_timeout=True,
        stop_event=stop,
        raise_interrupt=False,
        force_polling=True if is_polled else None,
        poll_delay_ms=_POLL_MS,
        recursive=is_recursive,
        ignore_permission_denied=True,
    )
    for changes in batches:
        yield [Path(name) for change, name in sorted(changes) if change != Change.deleted]

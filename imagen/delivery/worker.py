"""Send the deliveries that wait in the outbox, and retry failed ones later."""

from __future__ import annotations

import os
import random
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from imagen import delivery as targets
from imagen.config.paths import host_name, make_own_folder
from imagen.core import filesystem
from imagen.core.text import one_line
from imagen.delivery.background import read_sync_failure, write_sync_failure
from imagen.errors import BackendError, ConfigError, ImagenError, RateLimited, Unauthorized
from imagen.library import outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from imagen.config import Settings
    from imagen.library import Delivery, Library
    from imagen.library.outbox import PendingDelivery

    OnProgress = Callable[[int, int], None]
    FindFile = Callable[[Delivery], Path | None]

_PAUSES = (30.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0)
"""Seconds until the next attempt, by the number of earlier ones; then always the last."""
_MAX_ERROR_LENGTH = 400


@dataclass(frozen=True, slots=True)
class FailedDelivery:
    """A delivery that failed."""

    pending: PendingDelivery
    """As it was before the attempt."""
    error: ImagenError
    pauses: tuple[float, ...] | None
    """Seconds until the next attempt, by the number of earlier ones; None if it is stuck."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncResult:
    """What was sent and what failed."""

    sent: tuple[Delivery, ...] = ()
    failed: tuple[FailedDelivery, ...] = ()

    @property
    def is_unset(self) -> bool:
        """Whether a delivery failed because a setting or a variable is missing."""
        return any(
            isinstance(one.error, ConfigError) and one.pending.delivery.kind != "mirror"
            for one in self.failed
        )

    def __add__(self, later: SyncResult) -> SyncResult:
        return SyncResult(sent=self.sent + later.sent, failed=self.failed + later.failed)


def _no_progress(done: int, total: int) -> None: ...


def _find_nothing(_: Delivery) -> None: ...


def sync(
    library: Library,
    settings: Settings,
    environ: Mapping[str, str] = os.environ,
    *,
    on_progress: OnProgress = _no_progress,
    is_stopped: Callable[[], bool] = lambda: False,
    draw: Callable[[], float] = random.random,
    notes: dict[str, str] | None = None,
    find_file: FindFile = _find_nothing,
) -> SyncResult:
    """Send what is due, until nothing is or `is_stopped`.

    Several processes may do this at once: each claims its own deliveries. A destination that fails
    is skipped for the rest of the pass and does not hold up the others. `notes` collects warnings
    as `delivery.send` does. `find_file` finds a copy of an image that is on another machine. Raises
    LibraryError.
    """
    notes = {} if notes is None else notes
    current = _Pass(library, settings, environ, draw, notes, find_file)
    while not is_stopped() and (claimed := outbox.claim(library, limit=1)):
        done = len(current.sent) + len(current.failed)
        on_progress(done, done + 1 + outbox.count_due(library))
        current.send(claimed[0])
    return SyncResult(sent=tuple(current.sent), failed=tuple(current.failed))


@dataclass(frozen=True, slots=True)
class _Pass:
    """One pass through what is due."""

    library: Library
    settings: Settings
    environ: Mapping[str, str]
    draw: Callable[[], float]
    notes: dict[str, str]
    find_file: FindFile
    sent: list[Delivery] = field(default_factory=list)
    failed: list[FailedDelivery] = field(default_factory=list)
    down: dict[tuple[str, str], FailedDelivery] = field(default_factory=dict)
    """The first failure of each destination that does not work."""
    up: set[tuple[str, str]] = field(default_factory=set)
    """Destinations that accepted a delivery."""

    def send(self, pending: PendingDelivery) -> None:
        """Send one delivery and note the outcome in the outbox."""
        earlier = self.down.get(_destination(pending.delivery))
        if earlier is not None:  # it was added after its destination failed
            outbox.release(self.library, pending)
            self._hold_destination(earlier)
            return
        placed = self._with_current_paths(pending)
        if placed is None:
            return
        try:
            facts = targets.send(placed.delivery, self.settings, self.environ, self.notes)
        except ImagenError as error:
            self._fail(pending, error)
        except KeyboardInterrupt:
            outbox.release(self.library, pending)
            raise
        else:
            outbox.mark_sent(self.library, pending, facts)
            self.sent.append(pending.delivery)
            destination = _destination(pending.delivery)
            if destination not in self.up:  # it works again
                self.up.add(destination)
                seconds = _PAUSES[-1]
                outbox.advance_destination(self.library, pending.delivery, seconds=seconds)

    def _with_current_paths(self, pending: PendingDelivery) -> PendingDelivery | None:
        """The delivery with its files' present paths; None if it cannot be sent from here."""
        if pending.delivery.kind != "cloud":
            return pending
        placed = outbox.with_current_paths(self.library, pending)
        if placed is not None and (reason := other_machine_reason(placed.delivery)):
            copy = self.find_file(placed.delivery)
            if copy is not None:
                payload = placed.delivery.payload | {"file": str(copy), "sidecar": None}
                found = placed.delivery.model_copy(update={"payload": payload})
                return replace(placed, delivery=found)
            outbox.postpone(self.library, pending, reason, seconds=_PAUSES[-1])
            return None
        return placed

    def _fail(self, pending: PendingDelivery, error: ImagenError) -> None:
        pauses = pauses_after(error, self.draw)
        failure = FailedDelivery(pending, error, pauses)
        self.failed.append(failure)
        is_redirect = type(error) is BackendError
        if error.retryable or is_redirect or isinstance(error, ConfigError | Unauthorized):
            # Anything else for this destination would fail alike.
            self.down[_destination(pending.delivery)] = failure
            self._hold_destination(failure)
        seconds = None if pauses is None else pauses[min(pending.attempts, len(pauses) - 1)]
        outbox.mark_failed(self.library, pending, format_error(error), again_in_seconds=seconds)

    def _hold_destination(self, failure: FailedDelivery) -> None:
        reason = format_error(failure.error)
        outbox.hold_destination(self.library, failure.pending, reason, pauses=failure.pauses)


def _destination(delivery: Delivery) -> tuple[str, str]:
    return delivery.kind, delivery.destination


def other_machine_reason(delivery: Delivery) -> str:
    """A sentence if an image is on another machine and not here as well; otherwise ""."""
    host = delivery.payload.get("host", host_name())
    if delivery.kind != "cloud" or host == host_name():
        return ""
    if os.path.exists(delivery.payload.get("file", "")):
        return ""
    return f"The image is on {one_line(str(host))}; it is sent when imagen sync runs there."


def pauses_after(error: ImagenError, draw: Callable[[], float]) -> tuple[float, ...] | None:
    """Seconds until the next attempt, by the number of earlier ones; None for no more attempts.

    ConfigError is retried too: another shell may have the missing variables or configuration.
    """
    if not error.retryable and not isinstance(error, ConfigError):
        return None
    requested = error.retry_after_seconds if isinstance(error, RateLimited) else None
    jitter = 0.75 + draw() / 4  # so that many machines do not retry at the same moment
    return tuple(max(seconds * jitter, requested or 0.0) for seconds in _PAUSES)


def format_error(error: ImagenError) -> str:
    """The message of an error and, on a second line, its remedy."""
    parts = (one_line(part, limit=_MAX_ERROR_LENGTH) for part in (error.message, error.remedy))
    return "\n".join(part for part in parts if part)


def sync_alone(
    library: Library,
    settings: Settings,
    environ: Mapping[str, str] = os.environ,
    *,
    unless_running: bool = False,
    on_progress: OnProgress = _no_progress,
    is_stopped: Callable[[], bool] = lambda: False,
    notes: dict[str, str] | None = None,
    find_file: FindFile = _find_nothing,
) -> SyncResult:
    """`sync` under the lock of the state directory; records failures for other commands.

    With `unless_running`, nothing is sent if another process holds the lock: that one sends it.
    """
    result = SyncResult()
    notes = {} if notes is None else notes
    while True:
        with _sync_lock(settings.state_dir) as is_alone:
            if unless_running and not is_alone:
                return result
            synced = sync(
                library,
                settings,
                environ,
                on_progress=on_progress,
                is_stopped=is_stopped,
                notes=notes,
                find_file=find_file,
            )
            if synced.sent or synced.failed or read_sync_failure(settings.state_dir):
                record_failures(library, settings)
            result += synced
        # A process that saw the lock a moment ago may have left its deliveries to this one.
        if is_stopped() or not outbox.count_due(library):
            return result


def record_failures(library: Library, settings: Settings) -> None:
    """Write a line about unsent deliveries that failed; remove it if there are none.

    `cloud sync: <error> (3 waiting; imagen sync)`
    """
    failed = [
        one
        for one in outbox.list_unsent(library)
        if one.attempts and one.last_error and not other_machine_reason(one.delivery)
    ]
    if not failed:
        write_sync_failure(settings.state_dir, "")
        return
    target = "webhook" if failed[0].delivery.kind == "webhook" else "cloud sync"
    error = failed[0].last_error.partition("\n")[0].rstrip(".")
    states = Counter(one.state for one in failed)
    counts = ", ".join(
        f"{states[state]} {state}" for state in ("waiting", "stuck") if states[state]
    )
    command = "imagen sync --retry" if states["stuck"] else "imagen sync"
    write_sync_failure(settings.state_dir, f"{target}: {error} ({counts}; {command})")


@contextmanager
def _sync_lock(state_dir: Path) -> Iterator[bool]:
    """Whether this process got the lock, and no other sync of this state directory is running."""
    try:
        make_own_folder(state_dir)
        lock = filesystem.lock(state_dir / "sync.lock")
    except OSError:  # claims in the outbox keep processes apart without it
        yield True
        return
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.release()

"""Sends what waits in the outbox: each thing once, and again later where that makes sense."""

from __future__ import annotations

import os
import platform
import random
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imagen import delivery as sinks
from imagen.config.paths import make_own_folder
from imagen.core import locks
from imagen.core.text import one_line
from imagen.delivery.sync_failure import read_failure, write_failure
from imagen.errors import BackendError, ConfigError, ImagenError, RateLimited, Unauthorized
from imagen.library import outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from imagen.config import Settings
    from imagen.library import Delivery, Library
    from imagen.library.outbox import PendingDelivery

    OnProgress = Callable[[int, int], None]

_PAUSES = (30.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0)
"""Seconds, by the number of attempts before; the last one for any more."""
_LONGEST_REASON = 400


@dataclass(frozen=True, slots=True)
class FailedDelivery:
    """One delivery that was tried in vain, and how long such ones wait for their next attempt."""

    waiting: PendingDelivery
    """As it was before."""
    error: ImagenError
    pauses: tuple[float, ...] | None
    """After so many attempts so many seconds; None where it is stuck."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """What became of all that was tried."""

    sent: tuple[Delivery, ...] = ()
    failed: tuple[FailedDelivery, ...] = ()

    @property
    def is_unset(self) -> bool:
        """Whether something can't be sent for want of a setting, or of a variable."""
        return any(
            isinstance(one.error, ConfigError) and one.waiting.delivery.kind != "mirror"
            for one in self.failed
        )

    def __add__(self, later: Synced) -> Synced:
        return Synced(sent=self.sent + later.sent, failed=self.failed + later.failed)


@dataclass(frozen=True, slots=True)
class _Pass:
    """One go through what is due, so far."""

    library: Library
    settings: Settings
    environ: Mapping[str, str]
    draw: Callable[[], float]
    notes: dict[str, str]
    sent: list[Delivery] = field(default_factory=list)
    down: dict[tuple[str, str], FailedDelivery] = field(default_factory=dict)
    """To each destination with which something is wrong, what failed there first."""
    failed: list[FailedDelivery] = field(default_factory=list)
    up: set[tuple[str, str]] = field(default_factory=set)
    """Destinations at which something arrived."""


def _ignore(done: int, total: int) -> None: ...


def sync(
    library: Library,
    settings: Settings,
    environ: Mapping[str, str] = os.environ,
    *,
    on_progress: OnProgress = _ignore,
    is_stopped: Callable[[], bool] = lambda: False,
    draw: Callable[[], float] = random.random,
    notes: dict[str, str] | None = None,
) -> Synced:
    """Send what is due, until nothing is, or `is_stopped`.

    Of several processes at it each sends other things. A destination with which something is wrong
    is left alone for the rest of the pass, and does not hold up the others. `notes` collects what
    is learned of destinations, as in `sinks.send`. Raises LibraryError.
    """
    this = _Pass(library, settings, environ, draw, {} if notes is None else notes)
    while not is_stopped() and (found := outbox.claim(library, limit=1)):
        done = len(this.sent) + len(this.failed)
        on_progress(done, done + 1 + outbox.count_due(library))
        _one(this, found[0])
    return Synced(sent=tuple(this.sent), failed=tuple(this.failed))


def _one(this: _Pass, waiting: PendingDelivery) -> None:
    earlier = this.down.get(_destination(waiting.delivery))
    if earlier is not None:  # it was posted since
        outbox.release(this.library, waiting)
        _let_rest(this, earlier)
        return
    placed = _placed(this.library, waiting)
    if placed is None:
        return
    try:
        facts = sinks.send(placed.delivery, this.settings, this.environ, this.notes)
    except ImagenError as error:
        _fail(this, waiting, error)
    except KeyboardInterrupt:
        outbox.release(this.library, waiting)
        raise
    else:
        outbox.sent(this.library, waiting, facts)
        _succeed(this, waiting.delivery)


def _succeed(this: _Pass, delivery: Delivery) -> None:
    """What waited for the end of an outage need not wait any longer."""
    this.sent.append(delivery)
    if _destination(delivery) not in this.up:
        this.up.add(_destination(delivery))
        outbox.hurry(this.library, delivery, seconds=_PAUSES[-1])


def _placed(library: Library, waiting: PendingDelivery) -> PendingDelivery | None:
    """With the present places of its files; None where it can't be sent from here, or is not to be
    sent any more."""
    if waiting.delivery.kind != "cloud":
        return waiting
    placed = outbox.placed(library, waiting)
    if placed is not None and (where := elsewhere(placed.delivery)):
        outbox.put_off(library, waiting, where, seconds=_PAUSES[-1])
        return None
    return placed


def elsewhere(delivery: Delivery) -> str:
    """A sentence where a picture lies on another machine, and not here as well."""
    host = delivery.payload.get("host", platform.node())
    if delivery.kind != "cloud" or host == platform.node():
        return ""
    if os.path.exists(delivery.payload.get("file", "")):
        return ""
    return (
        f"It lies on another machine, {one_line(str(host))}, and goes when imagen sync runs there."
    )


def _fail(this: _Pass, waiting: PendingDelivery, error: ImagenError) -> None:
    pauses = pauses_after(error, this.draw)
    failure = FailedDelivery(waiting, error, pauses)
    this.failed.append(failure)
    if _is_about_all(error):
        this.down[_destination(waiting.delivery)] = failure
        _let_rest(this, failure)
    seconds = None if pauses is None else pauses[min(waiting.attempts, len(pauses) - 1)]
    outbox.failed(this.library, waiting, reason(error), again_in_seconds=seconds)


def _let_rest(this: _Pass, failure: FailedDelivery) -> None:
    outbox.rest(this.library, failure.waiting, reason(failure.error), pauses=failure.pauses)


def _is_about_all(error: ImagenError) -> bool:
    """Whether whatever else goes to the same destination would fail alike."""
    is_moved = type(error) is BackendError  # a redirect
    return error.retryable or is_moved or isinstance(error, ConfigError | Unauthorized)


def _destination(delivery: Delivery) -> tuple[str, str]:
    return delivery.kind, delivery.destination


def pauses_after(error: ImagenError, draw: Callable[[], float]) -> tuple[float, ...] | None:
    """How many seconds to wait, by the number of attempts before; None for ever.

    Another shell may have the variables and the configuration that are missing in this one, so
    these errors are waited for as well.
    """
    if not error.retryable and not isinstance(error, ConfigError):
        return None
    asked = error.retry_after_seconds if isinstance(error, RateLimited) else None
    part = 0.75 + draw() / 4  # not all at once, where many machines wait for one server
    return tuple(max(seconds * part, asked or 0.0) for seconds in _PAUSES)


def reason(error: ImagenError) -> str:
    """What is kept of an error: its sentence, and on a second line what to do about it."""
    told = (one_line(part, limit=_LONGEST_REASON) for part in (error.message, error.remedy))
    return "\n".join(part for part in told if part)


def sync_alone(
    library: Library,
    settings: Settings,
    environ: Mapping[str, str] = os.environ,
    *,
    unless_running: bool = False,
    on_progress: OnProgress = _ignore,
    is_stopped: Callable[[], bool] = lambda: False,
    notes: dict[str, str] | None = None,
) -> Synced:
    """The same, told to other processes of this state folder: with `unless_running`, one that is at
    it already sends what is due, and this one nothing. Failures are recorded for other commands."""
    done = Synced()
    notes = {} if notes is None else notes
    while True:
        with _alone(settings.state_dir) as is_alone:
            if unless_running and not is_alone:
                return done
            synced = sync(
                library,
                settings,
                environ,
                on_progress=on_progress,
                is_stopped=is_stopped,
                notes=notes,
            )
            if synced.sent or synced.failed or read_failure(settings.state_dir):
                record_failures(library, settings)
            done += synced
        # What was posted a moment ago may have found us still at it.
        if is_stopped() or not outbox.count_due(library):
            return done


def record_failures(library: Library, settings: Settings) -> None:
    """Keep a line about what failed and is not sent yet, or remove it where nothing is left."""
    failed = [
        one
        for one in outbox.unsent(library)
        if one.attempts and one.last_error and not elsewhere(one.delivery)
    ]
    write_failure(settings.state_dir, _failure_line(failed) if failed else "")


def _failure_line(failed: Sequence[PendingDelivery]) -> str:
    """`cloud sync: <error> (3 waiting; imagen sync)`."""
    first = failed[0]
    where = "webhook" if first.delivery.kind == "webhook" else "cloud sync"
    error = first.last_error.partition("\n")[0].rstrip(".")
    states = Counter(one.state for one in failed)
    counts = ", ".join(
        f"{states[state]} {state}" for state in ("waiting", "stuck") if states[state]
    )
    command = "imagen sync --retry" if states["stuck"] else "imagen sync"
    return f"{where}: {error} ({counts}; {command})"


@contextmanager
def _alone(state_dir: Path) -> Iterator[bool]:
    """Whether no other sync of this state folder is at work; none will be, while the block runs."""
    try:
        make_own_folder(state_dir)
        mine = locks.lock(state_dir / "sync.lock")
    except OSError:  # what is claimed is claimed, with a lock or without
        yield True
        return
    try:
        yield mine is not None
    finally:
        if mine is not None:
            mine.release()

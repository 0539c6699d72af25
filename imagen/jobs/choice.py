"""Which queues a place of an engine asks for its next job. Pure: no clock, no I/O.

Three rules, in this order:

- Tail: each waiting job goes to the place that would end it first. A place that would end none of
  them first declines, so that the last jobs of a batch do not wait for its slowest engine.
- Priority comes before everything else.
- Affinity: jobs of the model that is loaded come first, for a limited number of jobs and time, so
  that no other model starves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from imagen.jobs.queue import queue_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from imagen.jobs.model import Speed, WaitingQueue

    Speeds = Mapping[tuple[str, str], Speed]
    """By backend and model."""

FAVOURED_JOBS = 20
FAVOURED_SECONDS = 300.0
"""How long the loaded model is favoured while jobs of other models wait."""
_UNKNOWN_SECONDS = 1.0
"""How long a job takes where nothing was ever measured: only compared with itself."""
_MOST_PLACED = 2000
"""With more waiting jobs than this, the end of the queue is far away, and no place declines."""

_LATE_FACTOR = 2.0
_RESCUE_FACTOR = 1.2


class RunningJob(NamedTuple):
    """What a place does now."""

    backend: str
    affinity: str
    seconds: float
    """How long it has taken so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One place of one engine, here or in another worker that lives."""

    backends: tuple[str, ...]
    """The backends that share it."""
    running: RunningJob | None = None


@dataclass(frozen=True, slots=True)
class Favour:
    """The model that a place has loaded, and how long it was favoured over waiting ones."""

    affinity: str | None = None
    jobs: int = 0
    since: float = 0.0

    def after(self, affinity: str, now: float, *, is_other_waiting: bool) -> Favour:
        """The favour once a job of this model was taken."""
        if affinity != self.affinity or not is_other_waiting:
            return Favour(affinity, int(is_other_waiting), now)
        return Favour(affinity, self.jobs + 1, self.since if self.jobs else now)

    def is_over(self, now: float) -> bool:
        """Whether it is the turn of another model."""
        if not self.jobs:
            return False
        return self.jobs >= FAVOURED_JOBS or now - self.since >= FAVOURED_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What one place knows when it looks for its next job."""

    place: Place
    others: Sequence[Place]
    waiting: Sequence[WaitingQueue]
    """The queues with due jobs of all pools that `place` serves."""
    pools: Mapping[str, Sequence[str]]
    """The backends of each of these pools."""
    speeds: Speeds
    favour: Favour = Favour()

    def groups(self, now: float, declined_seconds: float = 0.0) -> list[list[str]]:
        """The queues to ask, the first group first; none if the place declines.

        `declined_seconds` is how long it has declined while the same jobs waited. Once it could
        have ended one of them by itself, the others are not as fast as they seemed.
        """
        usable = list(self._usable(declined_seconds))
        if not usable:
            return []
        best = max(queue.priority for queue in usable)
        urgent = [queue for queue in usable if queue.priority == best]
        first = [queue for queue in urgent if queue.affinity == self._next_affinity(urgent, now)]
        return [_names(first), _names(urgent), _names(usable)]

    def is_late(self, pool: str, seconds_left: float) -> bool:
        """Whether the job of this place, of this pool, would be done sooner if begun anew.

        It has taken more than twice its usual time, and one of the others would end it, after all
        that waits for them, in clearly less time than its own engine still needs.
        """
        running = self.place.running
        if running is None:
            return False
        known = self.speeds.get((running.backend, running.affinity))
        slowest = [s.seconds for (_, model), s in self.speeds.items() if model == running.affinity]
        usual = max(known.seconds, known.last_seconds) if known else max(slowest, default=0.0)
        if not usual or running.seconds <= _LATE_FACTOR * usual:
            return False
        free_at = [self._remaining(place) for place in self.others]
        for queue in self._in_order():
            durations = self._durations(queue.pool, queue.affinity)
            for _ in range(min(queue.jobs, _MOST_PLACED) if durations else 0):
                end, number = _first_end(free_at, durations)
                free_at[number] = end
        durations = self._durations(pool, running.affinity)
        return _first_end(free_at, durations)[0] * _RESCUE_FACTOR < seconds_left

    def _next_affinity(self, urgent: Sequence[WaitingQueue], now: float) -> str:
        """The model whose turn it is, of those with the most urgent jobs."""
        loaded = self.favour.affinity
        other = [queue for queue in urgent if queue.affinity != loaded]
        if loaded is not None and (len(other) < len(urgent)):
            if not other or not self.favour.is_over(now):
                return loaded
            return min(other, key=lambda queue: queue.oldest).affinity
        # A model that another place has loaded can wait for that place.
        elsewhere = {place.running.affinity for place in self.others if place.running is not None}
        return min(other, key=lambda queue: (queue.affinity in elsewhere, queue.oldest)).affinity

    def _usable(self, declined_seconds: float) -> Iterator[WaitingQueue]:
        """The queues of which this place would end a job first."""
        free_at = [self._remaining(place) for place in self.others]
        own_free_at, placed = 0.0, 0
        for queue in self._in_order():
            own = self._seconds(self.place, queue.pool, queue.affinity)
            if own is None:
                continue
            durations = self._durations(queue.pool, queue.affinity)
            is_usable = declined_seconds >= max(own, _UNKNOWN_SECONDS)
            for _ in range(queue.jobs):
                placed += 1
                end, number = _first_end(free_at, durations)
                if own_free_at + own <= end:
                    own_free_at += own
                    is_usable = True
                else:
                    free_at[number] = end
                if placed >= _MOST_PLACED:
                    is_usable = True
                    break
            if is_usable:
                yield queue

    def _in_order(self) -> list[WaitingQueue]:
        return sorted(self.waiting, key=lambda queue: (-queue.priority, queue.oldest))

    def _durations(self, pool: str, affinity: str) -> list[tuple[int, float]]:
        """How long a job takes at each of the others that can run it, by their number."""
        return [
            (number, seconds)
            for number, place in enumerate(self.others)
            if (seconds := self._seconds(place, pool, affinity)) is not None
        ]

    def _seconds(self, place: Place, pool: str, affinity: str) -> float | None:
        """How long a job takes at a place; None if it cannot run there."""
        members = self.pools.get(pool, (pool,))
        known = [self._usual(name, affinity) for name in place.backends if name in members]
        if not known:
            return None
        running = place.running
        is_overdue = running is not None and running.seconds > self._usual(
            running.backend, running.affinity
        )
        # An engine that is late is as slow as it is now, until it has ended a job again.
        return max(min(known), running.seconds if running is not None and is_overdue else 0.0)

    def _remaining(self, place: Place) -> float:
        if place.running is None:
            return 0.0
        usual = self._usual(place.running.backend, place.running.affinity)
        return max(0.0, usual - place.running.seconds)

    def _usual(self, backend: str, affinity: str) -> float:
        """Seconds of a job, believing the last one if it was worse than the mean.

        Where it was never measured, as long as on the fastest engine.
        """
        known = self.speeds.get((backend, affinity))
        if known is not None:
            return max(known.seconds, known.last_seconds)
        same = [speed.seconds for (_, model), speed in self.speeds.items() if model == affinity]
        return min(same or [speed.seconds for speed in self.speeds.values()] or [_UNKNOWN_SECONDS])


def _first_end(
    free_at: Sequence[float], durations: Sequence[tuple[int, float]]
) -> tuple[float, int]:
    """When the first of these places would end a job, and its number."""
    ends = ((free_at[number] + seconds, number) for number, seconds in durations)
    return min(ends, default=(float("inf"), -1))


def _names(queues: Sequence[WaitingQueue]) -> list[str]:
    return list(dict.fromkeys(queue_name(queue.pool, queue.affinity) for queue in queues))

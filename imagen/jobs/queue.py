"""The port of the queue: which worker gets which job next.

A queue carries only the ids of jobs. The truth about a job is its row in the library (`sql_store`):
a delivery that contradicts it is dropped, and a row without a delivery gets a new one. A delivery
is never repeated: a job that is to run again gets a new one in the transaction that changes its
row, which holds its token. So a token is a fence: what a former owner does with it has no effect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Connection

ADOPTION_PRIORITY = 1_000_000
"""Added to the priority of a job whose worker died: it may be at its engine already."""


class JobDelivery(NamedTuple):
    """One job in the hands of the queue."""

    job: str
    token: str
    """Identifies this delivery; never used again."""
    queue: str


class HeldDelivery(NamedTuple):
    """What a beat says about a delivery that this worker holds."""

    is_mine: bool
    """False once another worker may have it: the job has to be let go."""
    is_cancelled: bool


class JobQueue(Protocol):
    """Deliveries of jobs to workers. Every method raises LibraryUnreachable, within seconds.

    It is then unknown whether the call took effect. Threads may share a queue.
    """

    def put_many(self, connection: Connection, puts: Sequence[Put]) -> list[str]:
        """Put jobs in line, in the caller's transaction: the tokens of their deliveries, in order.

        The caller keeps each token in the row of its job, in the same transaction.
        """

    def fetch(self, groups: Sequence[Sequence[str]]) -> JobDelivery | None:
        """The best due delivery of the first of these groups of queues that has one.

        The best has the highest priority, then the smallest token. It is this worker's until
        `stalled` lists it. None if none is due.
        """

    def wait(self, seconds: float) -> None:
        """Return after so many seconds, and early if a job may have been put or cancelled.

        What happened since the last `wait` of this thread counts too.
        """

    def wake(self) -> None:
        """Let every `wait` of this process return now."""

    def beat(self, held: Collection[str]) -> dict[str, HeldDelivery]:
        """Say that this worker lives and works on exactly these tokens."""

    def is_beat_fresh(self) -> bool:
        """Whether the last beat is recent enough to fetch; a frozen process must beat first."""

    def finish(self, token: str) -> None:
        """Remove a delivery; nothing happens if it is gone already."""

    def stalled(self) -> list[JobDelivery]:
        """Deliveries whose worker was silent for too long, left, or no longer names them.

        Changes nothing.
        """

    def cancel_many(self, connection: Connection, tokens: Sequence[str]) -> None:
        """In the caller's transaction: remove waiting deliveries; tell the workers of held ones."""

    def live(self) -> set[str]:
        """The tokens of all deliveries that wait or are held."""

    def close(self, *, is_handed_over: bool = True) -> None:
        """Leave: what this worker still holds is stalled at once if it is handed over."""


class Put(NamedTuple):
    """One of many jobs to put in line."""

    job: str
    queue: str
    priority: int = 0
    delay_seconds: float = 0.0


def queue_name(pool: str, affinity: str) -> str:
    """The queue of the jobs of one pool that need one model."""
    return f"{pool}/{affinity}"

"""Wait for a job while its progress is reported to the host."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from imagen.jobs.model import ENDED, PARENTS
from imagen.net.threads import Background
from imagen.views.jobs import fraction_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from imagen.jobs.model import QueuedJob
    from imagen.library.events import LibraryEvent
    from imagen.runtime import Runtime

    Report = Callable[["JobState"], Awaitable[None]]

T = TypeVar("T")

_LOOK_SECONDS = 2.0
"""How often to look at a job although no event came."""
_PAUSE_SECONDS = 0.1
_MOST_CHILDREN = 2000


class JobState(NamedTuple):
    """How far a job is."""

    fraction: float | None
    message: str
    is_over: bool


async def submit_for_host(
    submit: Callable[[], T], id_of: Callable[[T], str | None], cancel: Callable[[str], object]
) -> T:
    """What `submit` returns, from a thread.

    If the host cancels its request before, the job that was submitted is cancelled.
    """
    submitting = asyncio.ensure_future(asyncio.to_thread(submit))

    def undo(made: asyncio.Future[T]) -> None:
        if made.exception() is None and (id := id_of(made.result())):
            Background(partial(cancel, id))

    try:
        return await asyncio.shield(submitting)
    except asyncio.CancelledError:
        submitting.add_done_callback(undo)
        raise


async def follow_job(
    id: str, runtime: Runtime, seconds: float, report: Report, *, cancels: bool
) -> JobState:
    """Return once the job has ended, or after so many seconds; it goes on then.

    With `cancels`, the job is cancelled if the host cancels its request. Raises NotFound.
    """
    loop, changed = asyncio.get_running_loop(), asyncio.Event()

    def note(batch: Sequence[LibraryEvent]) -> None:
        if any(event.job for event in batch):
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(changed.set)

    until, last = loop.time() + seconds, None
    stop = runtime.events.listen(note)
    try:
        while True:
            changed.clear()
            state = await asyncio.to_thread(read_state, id, runtime)
            left = until - loop.time()
            if state.is_over or left <= 0:
                return state
            if state != last:
                last = state
                await report(state)
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, _LOOK_SECONDS)):
                    await changed.wait()
            await asyncio.sleep(min(_PAUSE_SECONDS, max(0.0, until - loop.time())))
    except asyncio.CancelledError:
        if cancels:
            await asyncio.shield(asyncio.to_thread(runtime.store.cancel, id))
        raise
    finally:
        stop()


def read_state(id: str, runtime: Runtime) -> JobState:
    """How far a job is, or all jobs of a parent. Raises NotFound."""
    job = runtime.store.read(id)
    if job.kind not in PARENTS:
        return JobState(fraction_of(job), _describe(job), job.state in ENDED)
    children = runtime.store.list_jobs(parent=id, limit=_MOST_CHILDREN)
    over = [one.state in ENDED for one in children]
    shares = [
        1.0 if is_over else fraction_of(one) or 0.0
        for one, is_over in zip(children, over, strict=True)
    ]
    fraction = sum(shares) / len(shares) if shares else None
    return JobState(fraction, f"{sum(over)} of {len(over)} jobs done", job.state in ENDED)


def _describe(job: QueuedJob) -> str:
    progress = job.progress or {}
    step, steps = progress.get("step"), progress.get("steps")
    at = f", step {step} of {steps}" if step and steps else ""
    return f"{progress.get('stage') or job.state}{at}"

"""The state of this process, its queue and its engines."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from imagen import __version__
from imagen.jobs.overview import count_unserved
from imagen.views.jobs import PauseView
from imagen.views.status import EngineStatusView, QueueStatusView, StatusView

if TYPE_CHECKING:
    from imagen.backends.base import Gpu
    from imagen.jobs.model import QueueState
    from imagen.runtime.runtime import Runtime

_DONE: tuple[QueueState, ...] = ("done",)
_RECENT_JOBS = 100
"""So many ended jobs are searched for the model that an engine has loaded."""


def read_status(runtime: Runtime, *, asks_engines: bool) -> StatusView:
    """The state; with the memory of their GPUs if the engines are asked."""
    store, now = runtime.store, datetime.now(UTC)
    workers, running, waiting = store.workers(), store.running(), store.waiting()
    pauses = {
        name: PauseView(until=one.until, error=one.error)
        for name, one in store.pauses().items()
        if one.until > now
    }
    models: dict[str, str] = {}
    for job in (*running, *store.list_jobs(states=_DONE, limit=_RECENT_JOBS)):
        if job.resource and job.affinity:
            models.setdefault(job.resource, job.affinity)
    served = {one.name: one for worker in workers for one in worker.resources}
    pools: dict[str, int] = {}
    for queue in waiting:
        pools[queue.pool] = pools.get(queue.pool, 0) + queue.jobs
    return StatusView(
        version=__version__,
        started=runtime.started,
        uptime_seconds=round((now - runtime.started).total_seconds(), 1),
        backend=runtime.backend,
        model=runtime.settings.server.model,
        max_upload_bytes=runtime.settings.server.max_upload_mb * 2**20,
        has_worker=runtime.has_worker,
        workers=len(workers),
        queue=QueueStatusView(
            running=len(running),
            waiting=sum(pools.values()),
            pools=pools,
            unserved=count_unserved(waiting, workers, runtime.settings),
        ),
        engines=tuple(
            EngineStatusView(
                name=name,
                backends=one.backends,
                at_once=one.at_once,
                busy=sum(job.resource == name and job.is_at_engine for job in running),
                model=models.get(name),
                paused=pauses.get(name),
                gpus=_find_gpus(one.backends, runtime) if asks_engines else (),
            )
            for name, one in served.items()
        ),
    )


def _find_gpus(backends: tuple[str, ...], runtime: Runtime) -> tuple[Gpu, ...]:
    """Those of the engine, which the first of its backends that this process knows reports."""
    known = next((name for name in backends if name in runtime.settings.backends), None)
    return runtime.engines.backend(known, is_asked=True).gpus if known else ()

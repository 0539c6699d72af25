"""The runtime: settings, library, queue, stored files, events and a worker, opened once."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from imagen.engines.directory import EngineDirectory
from imagen.errors import ImagenError
from imagen.jobs.blobs import open_blobs
from imagen.jobs.sql_store import open_job_store
from imagen.jobs.worker import StopRequest, WorkerEvent, run_worker
from imagen.pipeline.record import record_pending
from imagen.runtime.event_feed import EventFeed
from imagen.runtime.model_directory import ModelDirectory
from imagen.runtime.thumbnails import Thumbnails

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from imagen.config import Settings
    from imagen.jobs.blobs import BlobStore
    from imagen.jobs.sql_store import SqlJobStore
    from imagen.library import Library

_MOST_DECODING = 4
_FINISH_SECONDS = 4.0
"""How long the jobs of engines of this process may go on once the runtime is closed."""
_ABORT_SECONDS = 2.0


@dataclass(kw_only=True)
class Runtime:
    """What the clients of this process share. Threads may share it."""

    settings: Settings
    store: SqlJobStore
    blobs: BlobStore
    events: EventFeed
    engines: EngineDirectory
    models: ModelDirectory
    image_pool: ThreadPoolExecutor
    """For what decodes images: few at a time, so that memory is bounded."""
    thumbnails: Thumbnails
    has_worker: bool
    """Whether this process runs the jobs of the queue itself."""
    run_worker: Callable[[Mapping[str, Any], Sequence[str]], None]
    """Runs a worker with other settings for some backends until the runtime is closed."""
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def use_backends(self, names: Iterable[str], configuration: Settings) -> None:
        """Offer and run backends that were added to the configuration since it was read.

        Everything else stays as it was, except the default backend.
        """
        with self._lock:
            new = {
                name: configuration.backends[name]
                for name in names
                if name not in self.settings.backends
            }
            if not new:
                return
            default = configuration.default_backend
            backends = {**self.settings.backends, **new}
            if default not in backends and default not in self.settings.pools:
                default = self.settings.default_backend
            changes = {"backends": backends, "default_backend": default}
            settings = self.settings.model_copy(update=changes)
            if self.has_worker:
                self.run_worker(changes, tuple(new))
            self.engines = EngineDirectory(settings)
            self.models = ModelDirectory(self.engines, settings)
            self.settings = settings

    @property
    def library(self) -> Library:
        return self.store.library

    @property
    def backend(self) -> str:
        """The backend or pool of requests that name none."""
        return self.models.default


@contextmanager
def open_runtime(
    settings: Settings,
    *,
    has_worker: bool = True,
    backends: Sequence[str] | None = None,
    on_event: Callable[[WorkerEvent], None] = lambda _: None,
    stop: StopRequest | None = None,
) -> Iterator[Runtime]:
    """Open everything for the block, and run a worker in it.

    At the end, or once `stop` is set, jobs at servers and services are let go, and those of this
    process get a few seconds to finish. Raises ConfigError if the library is switched off,
    LibraryError.
    """
    with ExitStack() as stack:
        store = stack.enter_context(open_job_store(settings))
        record_pending(store.library, settings)
        blobs = open_blobs(settings, store.library)
        events = EventFeed(store)
        stack.callback(events.close)
        pool = ThreadPoolExecutor(min(_MOST_DECODING, os.cpu_count() or 1), "images")
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        stop = stop or StopRequest()

        def run_another(changes: Mapping[str, Any], names: Sequence[str] | None) -> None:
            changed = settings.model_copy(update=changes)
            stack.enter_context(_run_worker(changed, names, on_event, stop))

        if has_worker:
            run_another({}, backends)
        for_clients = settings.for_clients()
        engines = EngineDirectory(for_clients)
        yield Runtime(
            settings=for_clients,
            store=store,
            blobs=blobs,
            events=events,
            engines=engines,
            models=ModelDirectory(engines, for_clients),
            image_pool=pool,
            thumbnails=Thumbnails(store.library, settings, pool),
            has_worker=has_worker,
            run_worker=run_another,
        )


@contextmanager
def _run_worker(
    settings: Settings,
    backends: Sequence[str] | None,
    on_event: Callable[[WorkerEvent], None],
    stop: StopRequest,
) -> Iterator[None]:
    def run() -> None:
        try:
            run_worker(settings, backends=backends, stop=stop, on_event=on_event)
        except ImagenError as error:
            on_event(WorkerEvent("failed_worker", error.message, code=error.code))

    thread = threading.Thread(target=run, name="worker", daemon=True)
    thread.start()
    try:
        yield
    finally:
        if not stop.is_set:
            stop.set()
        thread.join(_FINISH_SECONDS)
        stop.set()
        thread.join(_ABORT_SECONDS)

"""Figures of a worker and its queue for Prometheus, on a port of this machine.

Labels are names from the configuration and codes of errors: no prompts, no ids, no users.
"""

from __future__ import annotations

import re
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from imagen.core.text import one_line
from imagen.errors import ConfigError, ImagenError, MissingDependency
from imagen.jobs.clock import now_ms
from imagen.jobs.sql_store import open_job_store
from imagen.jobs.worker import OUTCOMES
from imagen.library.schema import milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

    from imagen.config import Settings
    from imagen.jobs.sql_store import SqlJobStore
    from imagen.jobs.worker import WorkerEvent

_ADDRESS = re.compile(r"(?:(?P<host>[^:\s]+|\[[0-9A-Fa-f:]+\]):)?(?P<port>\d{1,5})")
_SECONDS = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800)


def parse_address(text: str) -> tuple[str, int]:
    """The host and port of `[HOST:]PORT`; by default only this machine can connect."""
    match = _ADDRESS.fullmatch(text)
    port = int(match["port"]) if match else 0
    if match is None or not 0 < port < 65536:
        raise ConfigError(
            f"{one_line(text, limit=60)!r} is not a port.",
            remedy="Use a port such as 9108, or 0.0.0.0:9108 for other machines.",
        )
    return (match["host"] or "127.0.0.1").strip("[]"), port


@contextmanager
def serve_metrics(
    settings: Settings, address: tuple[str, int]
) -> Iterator[Callable[[WorkerEvent], None]]:
    """Serve the metrics during the block; its value counts the events of the worker.

    Raises MissingDependency without the client of Prometheus, ConfigError if the port is taken.
    """
    try:
        from prometheus_client import CollectorRegistry, start_http_server
    except ModuleNotFoundError as error:
        raise MissingDependency("prometheus_client", "metrics", purpose="metrics") from error
    host, port = address
    registry = CollectorRegistry()
    with open_job_store(settings) as store:
        counters = WorkerMetrics(registry)
        registry.register(_QueueCollector(store))
        try:
            server, thread = start_http_server(port, addr=host, registry=registry)
        except OSError as error:
            raise ConfigError(
                f"The metrics cannot be served on {host}:{port}: {error.strerror or error}.",
                remedy="Choose another port.",
            ) from error
        try:
            yield counters
        finally:
            server.shutdown()
            server.server_close()
            thread.join(5.0)


class WorkerMetrics:
    """Counts the events of one worker. It is called from several threads."""

    def __init__(self, registry: CollectorRegistry) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        self._jobs = Counter(
            "imagen_jobs",
            "Jobs that this worker ended or gave back.",
            ("backend", "outcome"),
            registry=registry,
        )
        self._failures = Counter(
            "imagen_job_failures",
            "Errors of jobs, by their code.",
            ("backend", "code"),
            registry=registry,
        )
        self._seconds = Histogram(
            "imagen_job_seconds",
            "Duration of jobs that succeeded.",
            ("backend",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._busy = Gauge(
            "imagen_worker_jobs", "Jobs that this worker has.", ("backend",), registry=registry
        )
        self._outages = Counter(
            "imagen_database_outages", "How often the database was away.", registry=registry
        )
        self._is_away = Gauge(
            "imagen_database_away", "1 while the database is away.", registry=registry
        )
        self._lock = threading.Lock()
        self._began: dict[str, float] = {}

    def __call__(self, event: WorkerEvent) -> None:
        now = time.monotonic()
        if event.kind == "started":
            self._busy.labels(event.backend).inc()
            with self._lock:
                self._began[event.job] = now
        elif event.kind in OUTCOMES:
            with self._lock:
                began = self._began.pop(event.job, None)
            if began is not None:
                self._busy.labels(event.backend).dec()
            self._jobs.labels(event.backend, event.kind).inc()
            if event.kind == "done" and began is not None:
                self._seconds.labels(event.backend).observe(now - began)
        elif event.kind == "outage":
            self._outages.inc()
            self._is_away.set(1)
        elif event.kind == "reconnected":
            self._is_away.set(0)
        if event.code and event.job:
            self._failures.labels(event.backend, event.code).inc()


class _QueueCollector:
    """Reads the queue when Prometheus asks; without the database these figures are missing."""

    def __init__(self, store: SqlJobStore) -> None:
        self._store = store

    def describe(self) -> Iterable[Metric]:
        """Nothing: the database may be away while the collector is registered."""
        return ()

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.metrics_core import GaugeMetricFamily

        try:
            waiting, running = self._store.waiting(), self._store.running()
            pauses, workers = self._store.pauses(), self._store.workers()
            with self._store.library.reading() as connection:
                now = now_ms(connection)
        except ImagenError:
            return

        def gauge(name: str, help: str, label: str, values: Iterable[tuple[str, float]]) -> Metric:
            family = GaugeMetricFamily(f"imagen_{name}", help, labels=[label])
            sums: dict[str, float] = {}
            for value, number in values:
                sums[value] = sums.get(value, 0) + number
            for value, number in sums.items():
                family.add_metric([value], number)
            return family

        yield gauge("queued_jobs", "Jobs that wait.", "pool", ((q.pool, q.jobs) for q in waiting))
        yield gauge(
            "running_jobs", "Jobs that run anywhere.", "backend", ((r.backend, 1) for r in running)
        )
        served = {one.name: one.at_once for worker in workers for one in worker.resources}
        yield gauge("engine_places", "Places of each engine.", "engine", served.items())
        busy = [(row.resource, 1) for row in running if row.resource and row.is_at_engine]
        free = [(name, 0) for name in served]
        yield gauge("engine_places_busy", "Places with a job.", "engine", [*free, *busy])
        paused = {name: float(milliseconds(p.until) > now) for name, p in pauses.items()}
        paused = dict.fromkeys(served, 0.0) | paused
        yield gauge("engine_paused", "1 while it gets no jobs.", "engine", paused.items())
        yield GaugeMetricFamily("imagen_workers", "Living workers.", value=len(workers))

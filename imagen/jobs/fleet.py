"""The queue of several machines: Procrastinate on PostgreSQL carries the ids of the jobs.

Procrastinate's tables are in a schema of their own beside the library's. Its locks, retries, tasks
and workers are not used: a delivery is one of its jobs, and is deleted once it is over.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import contextmanager, suppress
from datetime import timedelta
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any, TypeVar

from procrastinate import App, PsycopgConnector, SyncPsycopgConnector
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job as CarriedJob
from procrastinate.jobs import Status
from psycopg import Error as DriverError
from psycopg.errors import ForeignKeyViolation, RaiseException
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import text

from imagen.errors import ImagenError, LibraryError, LibraryUnreachable
from imagen.jobs.clock import Stopwatch
from imagen.jobs.queue import HeldDelivery, JobDelivery, Put
from imagen.library.database import SCHEMA, is_temporary
from imagen.library.migrations import lock_for_writing
from imagen.library.wakeup import LibraryWatcher, notify

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence

    from procrastinate.manager import JobManager
    from psycopg import AsyncConnection
    from sqlalchemy import Connection

    from imagen.library import Library

T = TypeVar("T")
_QUEUE_SCHEMA = "imagen_queue"
_PATH = f"SET LOCAL search_path TO {SCHEMA}, {_QUEUE_SCHEMA}"
_TASK = "imagen"
_CALL_SECONDS = 5.0
_CANCEL_SECONDS = 8.0
"""psycopg asks the server to cancel a call that took too long, which may take as long again."""
_FORGET_SECONDS = 86_400
"""After so long without a beat, the row of a worker is deleted. Sooner, one that merely slept
would have to register again."""
_PUTS_AT_ONCE = 1000
_LONGEST_NAME = 40
"""Bytes of a queue's name: it becomes a part of a channel's name, which PostgreSQL limits to 63."""


class FleetQueue:
    """A `JobQueue` of Procrastinate.

    Procrastinate's API for workers is async: it runs in a thread of its own, which begins with the
    first call of a worker and goes on while the worker's own threads are blocked.
    """

    def __init__(self, library: Library, *, stall_seconds: float = 20.0) -> None:
        self._library = library
        self._stall_seconds = stall_seconds
        # Never opened: it is used on connections of the library alone.
        self._sync = App(connector=SyncPsycopgConnector()).job_manager
        self._watcher = LibraryWatcher(library, "imagen_jobs")
        self._last_beat: Stopwatch | None = None
        self._unnamed_since: dict[int, float] = {}
        """Deliveries that this worker has by Procrastinate's word, and that no beat named."""
        self._lock = threading.Lock()
        self._client: _AsyncClient | None = None
        migrate_queue(library)

    def put_many(self, connection: Connection, puts: Sequence[Put]) -> list[str]:
        if not puts:
            return []
        connection.execute(text(_PATH))
        now = connection.scalar(text("SELECT clock_timestamp()"))
        carried = [
            CarriedJob(
                queue=short_queue(one.queue),
                lock=None,
                queueing_lock=None,
                task_name=_TASK,
                task_kwargs={"job": one.job, "queue": one.queue},
                priority=one.priority,
                scheduled_at=now + timedelta(seconds=one.delay_seconds)
                if one.delay_seconds > 0
                else None,
            )
            for one in puts
        ]
        tokens: list[str] = []
        with _translate_errors():
            for first in range(0, len(carried), _PUTS_AT_ONCE):
                some = carried[first : first + _PUTS_AT_ONCE]
                driver = connection.connection.driver_connection
                added = self._sync.batch_defer_jobs(some, connection=driver)
                tokens += [str(one.id) for one in added]
        notify(connection, "imagen_jobs")
        return tokens

    def fetch(self, groups: Sequence[Sequence[str]]) -> JobDelivery | None:
        named = [[short_queue(queue) for queue in group] for group in groups]
        found = self._call(lambda client: client.fetch(named))
        return None if found is None else _delivery(found)

    def wait(self, seconds: float) -> None:
        self._watcher.wait(seconds)

    def wake(self) -> None:
        self._watcher.wake()

    def beat(self, held: Collection[str]) -> dict[str, HeldDelivery]:
        mine = self._call(lambda client: client.beat())
        now = time.monotonic()
        self._last_beat = Stopwatch()
        unnamed = {id for id in mine if str(id) not in held}
        self._unnamed_since = {id: self._unnamed_since.get(id, now) for id in unnamed}
        cancelled = {str(id): is_cancelled for id, is_cancelled in mine.items()}
        return {
            token: HeldDelivery(token in cancelled, cancelled.get(token, False)) for token in held
        }

    def is_beat_fresh(self) -> bool:
        last = self._last_beat
        return last is not None and last.seconds < self._stall_seconds / 2

    def finish(self, token: str) -> None:
        self._call(lambda client: client.finish(int(token)))

    def stalled(self) -> list[JobDelivery]:
        oldest = time.monotonic() - self._stall_seconds
        strays = {id for id, since in self._unnamed_since.items() if since <= oldest}
        found = self._call(lambda client: client.stalled(self._stall_seconds, strays))
        return [_delivery(one) for one in found]

    def cancel_many(self, connection: Connection, tokens: Sequence[str]) -> None:
        if not tokens:
            return
        connection.execute(text(_PATH))
        driver = connection.connection.driver_connection
        with _translate_errors():
            for token in tokens:
                self._sync.cancel_job_by_id(
                    int(token), abort=True, delete_job=True, connection=driver
                )
        notify(connection, "imagen_jobs")

    def live(self) -> set[str]:
        # Listing them by its API builds an object of each: seconds for a long queue.
        ids = text(
            f"SELECT id FROM {_QUEUE_SCHEMA}.procrastinate_jobs WHERE status IN ('todo', 'doing')"
        )
        with self._library.reading() as connection:
            return {str(id) for id in connection.scalars(ids)}

    def close(self, *, is_handed_over: bool = True) -> None:
        self._watcher.close()
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close(is_handed_over=is_handed_over)
            with suppress(ImagenError), self._library.writing() as connection:
                notify(connection, "imagen_jobs")

    def _call(self, work: Callable[[_AsyncClient], Awaitable[T]]) -> T:
        with self._lock:
            if self._client is None:
                self._client = _AsyncClient(self._library)
            client = self._client
        return client.call(work(client))


class _AsyncClient:
    """The connections of one worker, on an event loop in a daemon thread."""

    def __init__(self, library: Library) -> None:
        self._url = library.engine.url.set(drivername="postgresql").render_as_string(
            hide_password=False
        )
        # psycopg does not work with the other kind of loop, which is the default on Windows.
        self._loop = asyncio.SelectorEventLoop()
        self._opened: tuple[AsyncConnectionPool[Any], JobManager] | None = None
        self._worker: int | None = None
        self._opening = asyncio.Lock()
        logging.getLogger("psycopg.pool").addHandler(logging.NullHandler())
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="queue-connections", daemon=True
        )
        self._thread.start()

    def call(self, work: Awaitable[T]) -> T:
        """The result of an async call. Raises LibraryUnreachable if it takes too long."""

        async def bounded() -> T:
            async with asyncio.timeout(_CALL_SECONDS):
                return await work

        future = asyncio.run_coroutine_threadsafe(bounded(), self._loop)
        with _translate_errors():
            return future.result(_CALL_SECONDS + _CANCEL_SECONDS)

    async def fetch(self, groups: Sequence[Sequence[str]]) -> CarriedJob | None:
        manager, worker = await self._open()
        for group in filter(None, groups):
            try:
                found = await manager.fetch_job(group, worker)
            except ConnectorException as error:
                if not isinstance(error.__cause__, ForeignKeyViolation):
                    raise
                self._worker = None  # it was silent for a day
                manager, worker = await self._open()
                found = await manager.fetch_job(group, worker)
            if found is not None:
                return found
        return None

    async def beat(self) -> dict[int, bool]:
        """What this worker has, and whether it is to be cancelled."""
        manager, worker = await self._open()
        await manager.update_heartbeat(worker)
        held = await manager.list_jobs_async(worker_id=worker, status="doing")
        return {job.id: job.abort_requested for job in held if job.id is not None}

    async def finish(self, id: int) -> None:
        manager, _ = await self._open()
        job = CarriedJob(id=id, queue="", lock=None, queueing_lock=None, task_name=_TASK)
        try:
            await manager.finish_job(job, status=Status.SUCCEEDED, delete_job=True)
        except ConnectorException as error:
            if not isinstance(error.__cause__, RaiseException):  # it is gone already
                raise

    async def stalled(self, seconds: float, strays: Collection[int]) -> list[CarriedJob]:
        """The deliveries of other workers that are silent, and these of this one."""
        manager, worker = await self._open()
        silent = await manager.get_stalled_jobs(seconds_since_heartbeat=seconds, task_name=_TASK)
        found = [job for job in silent if job.worker_id != worker]
        if strays:
            own = await manager.list_jobs_async(worker_id=worker, status="doing")
            found += [job for job in own if job.id in strays]
        return found

    def close(self, *, is_handed_over: bool) -> None:
        async def leave() -> None:
            if self._opened is None:
                return
            pool, manager = self._opened
            if is_handed_over and self._worker is not None:
                await manager.unregister_worker(self._worker)
            await pool.close(timeout=1.0)

        with suppress(ImagenError):
            self.call(leave())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()

    async def _open(self) -> tuple[JobManager, int]:
        """What to call, and the id of this worker."""
        async with self._opening:
            if self._opened is None:
                connector = PsycopgConnector()
                pool = AsyncConnectionPool(
                    self._url,
                    min_size=1,
                    max_size=4,
                    timeout=_CALL_SECONDS,
                    configure=_prepare,
                    check=AsyncConnectionPool.check_connection,
                    open=False,
                    kwargs={"connect_timeout": 5, "tcp_user_timeout": 10_000, "keepalives_idle": 5},
                )
                await pool.open(wait=False)  # a pool that failed to open cannot be opened again
                await connector.open_async(pool)
                self._opened = pool, App(connector=connector).job_manager
            manager = self._opened[1]
            if self._worker is None:
                await manager.prune_stalled_workers(_FORGET_SECONDS)
                self._worker = await manager.register_worker()
            return manager, self._worker


async def _prepare(connection: AsyncConnection[Any]) -> None:
    await connection.set_autocommit(True)
    await connection.execute(f"SET search_path TO {_QUEUE_SCHEMA}")
    await connection.execute("SET lock_timeout = '4s'")


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Raise LibraryError for errors of Procrastinate and its driver."""
    try:
        yield
    except TimeoutError as error:
        raise LibraryUnreachable("The queue of the library did not answer in time.") from error
    except (ConnectorException, DriverError) as error:
        cause = error.__cause__ if isinstance(error, ConnectorException) else error
        if cause is None or is_temporary(cause):
            raise LibraryUnreachable("The queue of the library cannot be reached.") from error
        raise LibraryError(f"The queue of the library refused a call: {cause}.") from error


def _delivery(job: CarriedJob) -> JobDelivery:
    facts = job.task_kwargs
    return JobDelivery(str(facts["job"]), str(job.id), str(facts["queue"]))


def short_queue(queue: str) -> str:
    """The name of a queue at Procrastinate: its own, or its beginning and a hash if it is long."""
    whole = queue.encode()
    if len(whole) <= _LONGEST_NAME:
        return queue
    return (
        whole[: _LONGEST_NAME - 17].decode(errors="ignore") + "~" + sha256(whole).hexdigest()[:16]
    )


def migrate_queue(library: Library) -> None:
    """Create Procrastinate's tables, or bring them up to the version that is installed.

    Raises LibraryError if they are of a newer version.
    """
    scripts = {
        file.name: file
        for file in files("procrastinate.sql.migrations").iterdir()
        if file.name.endswith(".sql")
    }
    ledger = f"{_QUEUE_SCHEMA}.imagen_scripts"
    with library.reading() as connection:
        is_there = connection.scalar(text("SELECT to_regclass(:name)"), {"name": ledger})
        done = set(connection.scalars(text(f"SELECT name FROM {ledger}"))) if is_there else set()
    _refuse_newer(done, scripts)
    if done == scripts.keys():
        return
    with library.writing() as connection:
        lock_for_writing(connection)
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {_QUEUE_SCHEMA}"))
        connection.execute(text(f"CREATE TABLE IF NOT EXISTS {ledger} (name TEXT PRIMARY KEY)"))
        done = set(connection.scalars(text(f"SELECT name FROM {ledger}")))
        _refuse_newer(done, scripts)
        connection.execute(text(f"SET LOCAL search_path TO {_QUEUE_SCHEMA}"))
        for name in sorted(scripts.keys() - done):
            driver: Any = connection.connection.driver_connection
            with _translate_errors():
                driver.execute(scripts[name].read_text(encoding="utf-8"))
            connection.execute(text(f"INSERT INTO {ledger} VALUES (:name)"), {"name": name})


def _refuse_newer(done: Collection[str], scripts: Collection[str]) -> None:
    if unknown := sorted(set(done) - set(scripts)):
        raise LibraryError(
            "The queue of the library was set up by a newer Procrastinate, which knows "
            f"{unknown[-1]}. Nothing was changed.",
            remedy="Update procrastinate on this machine.",
        )

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
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import exists, func, insert, select, text

from imagen.errors import (
    ConfigError,
    ImagenError,
    LibraryError,
    LibraryUnreachable,
    MissingDependency,
)
from imagen.jobs.clock import now_ms
from imagen.jobs.embedded import EmbeddedQueue
from imagen.jobs.queue import HeldDelivery, JobDelivery, Put
from imagen.jobs.wakeup import QueueWatcher, notify
from imagen.library.database import SCHEMA, is_temporary
from imagen.library.migrations import lock_for_writing
from imagen.library.schema import jobs, queue_facts, workers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence

    from procrastinate.jobs import Job as CarriedJob
    from procrastinate.manager import JobManager
    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool
    from sqlalchemy import Connection

    from imagen.config import Settings
    from imagen.jobs.queue import JobQueue
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


def open_queue(library: Library, settings: Settings, worker_id: str = "") -> JobQueue:
    """The queue that carries the jobs of this library; it is chosen once, by its first user.

    Raises ConfigError if the settings ask for another one while there are jobs or workers;
    MissingDependency without the package that the library needs.
    """
    stall = settings.jobs.lease_seconds
    if library.is_read_only or _choose_queue(library, settings.jobs.queue) == "embedded":
        return EmbeddedQueue(library, worker_id, stall_seconds=stall)
    if not _has_procrastinate():
        raise MissingDependency("procrastinate", "fleet", purpose="the jobs of this library")
    return FleetQueue(library, stall_seconds=stall)


def _has_procrastinate() -> bool:
    return all(find_spec(name) for name in ("procrastinate", "psycopg_pool"))


def _choose_queue(library: Library, asked: str) -> str:
    """The queue that the library records, or this one from now on."""
    if asked == "procrastinate" and library.is_sqlite:
        raise ConfigError(
            "jobs.queue is procrastinate, but the library is not in PostgreSQL.",
            remedy="Set library.url to postgresql://user@host/database, or leave out jobs.queue.",
        )
    recorded = select(queue_facts.c.value).where(queue_facts.c.name == "queue")
    with library.reading() as connection:
        current = connection.scalar(recorded)
    if current is not None and asked in ("auto", current):
        return str(current)
    with library.writing() as connection:
        lock_for_writing(connection)
        current = connection.scalar(recorded)
        if current is None:
            is_fleet = not library.is_sqlite and _has_procrastinate()
            wanted = asked if asked != "auto" else "procrastinate" if is_fleet else "embedded"
            connection.execute(insert(queue_facts).values(name="queue", value=wanted))
            return wanted
        if asked in ("auto", current):
            return str(current)
        _refuse_switch(connection, str(current), asked)
        change = queue_facts.update().where(queue_facts.c.name == "queue")
        connection.execute(change.values(value=asked))
        return asked


def _refuse_switch(connection: Connection, current: str, asked: str) -> None:
    """Raise ConfigError while the queue that is in use has jobs or workers."""
    live = [state for state in ("queued", "running", "cancelling")]
    waiting = select(exists().where(jobs.c.state.in_(live)))
    minute_ago = now_ms(connection) - 60_000
    working = select(func.count()).where(workers.c.seen_ms > minute_ago)
    if connection.scalar(waiting) or connection.scalar(working):
        raise ConfigError(
            f"jobs.queue is {asked}, but {current} carries the jobs of this library, and there are "
            "jobs that have not ended or workers that are running.",
            remedy=f"Leave jobs.queue at {current} or auto, or let the jobs end with: imagen worker"
            " --drain; then stop the workers, and try again a minute later.",
        )


class FleetQueue:
    """A `JobQueue` of Procrastinate.

    Procrastinate's API for workers is async: it runs in a thread of its own, which begins with the
    first call of a worker and goes on while the worker's own threads are blocked.
    """

    def __init__(self, library: Library, *, stall_seconds: float = 20.0) -> None:
        from procrastinate import App, SyncPsycopgConnector

        self._library = library
        self._stall_seconds = stall_seconds
        # Never opened: it is used on connections of the library alone.
        self._sync = App(connector=SyncPsycopgConnector()).job_manager
        self._watcher = QueueWatcher(library)
        self._beat_at: tuple[float, float] | None = None
        self._unnamed_since: dict[int, float] = {}
        """Deliveries that this worker has by Procrastinate's word, and that no beat named."""
        self._lock = threading.Lock()
        self._client: _AsyncClient | None = None
        migrate_queue(library)

    def put(
        self,
        connection: Connection,
        job: str,
        queue: str,
        *,
        priority: int = 0,
        delay_seconds: float = 0.0,
    ) -> str:
        return self.put_many(connection, [Put(job, queue, priority, delay_seconds)])[0]

    def put_many(self, connection: Connection, puts: Sequence[Put]) -> list[str]:
        if not puts:
            return []
        from procrastinate.jobs import Job

        connection.execute(text(_PATH))
        now = connection.scalar(text("SELECT clock_timestamp()"))
        carried = [
            Job(
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
        notify(connection)
        return tokens

    def fetch(self, groups: Sequence[Sequence[str]]) -> JobDelivery | None:
        for group in groups:
            if group:
                queues = [short_queue(queue) for queue in group]
                found = self._call(lambda client, queues=queues: client.fetch(queues))
                if found is not None:
                    return _delivery(found)
        return None

    def wait(self, seconds: float) -> None:
        self._watcher.wait(seconds)

    def wake(self) -> None:
        self._watcher.wake()

    def beat(self, held: Collection[str]) -> dict[str, HeldDelivery]:
        mine = self._call(lambda client: client.beat())
        now = time.monotonic()
        self._beat_at = now, time.time()
        unnamed = {id for id in mine if str(id) not in held}
        self._unnamed_since = {id: self._unnamed_since.get(id, now) for id in unnamed}
        cancelled = {str(id): is_cancelled for id, is_cancelled in mine.items()}
        return {
            token: HeldDelivery(token in cancelled, cancelled.get(token, False)) for token in held
        }

    def is_beat_fresh(self) -> bool:
        if self._beat_at is None:
            return False
        # The monotonic clock stops while a computer sleeps.
        age = max(time.monotonic() - self._beat_at[0], time.time() - self._beat_at[1])
        return age < self._stall_seconds / 2

    def finish(self, token: str) -> None:
        self._call(lambda client: client.finish(int(token)))

    def stalled(self) -> list[JobDelivery]:
        oldest = time.monotonic() - self._stall_seconds
        strays = {id for id, since in self._unnamed_since.items() if since <= oldest}
        found = self._call(lambda client: client.stalled(self._stall_seconds, strays))
        return [_delivery(one) for one in found]

    def cancel(self, connection: Connection, token: str) -> None:
        connection.execute(text(_PATH))
        driver = connection.connection.driver_connection
        with _translate_errors():
            self._sync.cancel_job_by_id(
                int(token), abort=True, delete_job=True, connection=driver
            )
        notify(connection)

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
                notify(connection)

    def _call(self, work: Callable[[_AsyncClient], Awaitable[T]]) -> T:
        with self._lock:
            if self._client is None:
                self._client = _AsyncClient(self._library, self._stall_seconds)
            client = self._client
        return client.call(work(client))


class _AsyncClient:
    """The connections of one worker, on an event loop in a daemon thread."""

    def __init__(self, library: Library, stall_seconds: float) -> None:
        self._url = library.engine.url.set(drivername="postgresql").render_as_string(
            hide_password=False
        )
        self._stall_seconds = stall_seconds
        # psycopg does not work with the other kind of loop, which is the default on Windows.
        self._loop = asyncio.SelectorEventLoop()
        self._opened: tuple[AsyncConnectionPool[Any], JobManager] | None = None
        self._worker: int | None = None
        self._registering = asyncio.Lock()
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

    async def fetch(self, queues: Sequence[str]) -> CarriedJob | None:
        from procrastinate.exceptions import ConnectorException
        from psycopg.errors import ForeignKeyViolation

        manager = await self._manager()
        try:
            return await manager.fetch_job(queues=queues, worker_id=await self._register())
        except ConnectorException as error:
            if not isinstance(error.__cause__, ForeignKeyViolation):
                raise
            self._worker = None  # it was silent for a day
            return await manager.fetch_job(queues=queues, worker_id=await self._register())

    async def beat(self) -> dict[int, bool]:
        """What this worker has, and whether it is to be cancelled."""
        manager, worker = await self._manager(), await self._register()
        await manager.update_heartbeat(worker)
        held = await manager.list_jobs_async(worker_id=worker, status="doing")
        return {job.id: job.abort_requested for job in held if job.id is not None}

    async def finish(self, id: int) -> None:
        from procrastinate.exceptions import ConnectorException
        from procrastinate.jobs import Job, Status
        from psycopg.errors import RaiseException

        manager = await self._manager()
        job = Job(id=id, queue="", lock=None, queueing_lock=None, task_name=_TASK)
        try:
            await manager.finish_job(job, status=Status.SUCCEEDED, delete_job=True)
        except ConnectorException as error:
            if not isinstance(error.__cause__, RaiseException):  # it is gone already
                raise

    async def stalled(self, seconds: float, strays: Collection[int]) -> list[CarriedJob]:
        """The deliveries of other workers that are silent, and these of this one."""
        manager, worker = await self._manager(), await self._register()
        silent = await manager.get_stalled_jobs(
            seconds_since_heartbeat=seconds, task_name=_TASK
        )
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

    async def _manager(self) -> JobManager:
        if self._opened is None:
            from procrastinate import App, PsycopgConnector
            from psycopg_pool import AsyncConnectionPool

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
            await pool.open(wait=False)  # a pool that could not be opened cannot be tried again
            await connector.open_async(pool)
            self._opened = pool, App(connector=connector).job_manager
        return self._opened[1]

    async def _register(self) -> int:
        """The id of this worker."""
        async with self._registering:
            if self._worker is None:
                manager = await self._manager()
                await manager.prune_stalled_workers(_FORGET_SECONDS)
                self._worker = await manager.register_worker()
        return self._worker


async def _prepare(connection: AsyncConnection[Any]) -> None:
    await connection.set_autocommit(True)
    await connection.execute(f"SET search_path TO {_QUEUE_SCHEMA}")
    await connection.execute("SET lock_timeout = '4s'")


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Raise LibraryError for errors of Procrastinate and its driver."""
    from procrastinate.exceptions import ConnectorException
    from psycopg import Error

    try:
        yield
    except TimeoutError as error:
        raise LibraryUnreachable("The queue of the library did not answer in time.") from error
    except (ConnectorException, Error) as error:
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
    return whole[: _LONGEST_NAME - 17].decode(errors="ignore") + "~" + sha256(whole).hexdigest()[:16]


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

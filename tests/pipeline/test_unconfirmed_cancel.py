"""A job that was to end, and may go on at its engine all the same, is not forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from simulators.replicate import COMMUNITY, Replicate, ReplicateSwitches

from imagen.config import LibrarySettings, OutputSettings, Settings
from imagen.core.request import Request
from imagen.core.result import Progress, no_progress
from imagen.errors import Cancelled, TimedOut
from imagen.jobs import file_store
from imagen.jobs.recover import recover
from imagen.library import Query, search_images
from imagen.library.schema import generations
from imagen.pipeline.generate import generate
from imagen.pipeline.record import open_library_synced

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("replicate_token")
_ASKED = Request(prompt="a fox", seed=7, width=64, height=64)


@pytest.fixture
def cloud() -> Iterator[Replicate]:
    """A Replicate that goes on with what is cancelled."""
    with Replicate(seconds=1.5, late=True) as cloud:
        yield cloud


def _settings(place: Path, cloud: Replicate) -> Settings:
    usual = {"type": "replicate", "model": COMMUNITY, "base_url": cloud.url}
    return Settings(
        default_backend="cloud",
        backends={"cloud": usual | {"wait_seconds": 0, "poll_seconds": 0.05}},
        state_dir=place / "state",
        output=OutputSettings(directory=place / "out"),
        library=LibrarySettings(url=str(place / "library.db")),
    )


def _cancel(progress: Progress) -> None:
    if progress.stage == "running":
        raise Cancelled


def _in_library(settings: Settings) -> tuple[int, int]:
    """How many generations, and how many images."""
    with open_library_synced(settings) as library, library.reading() as connection:
        known = connection.execute(generations.select()).all()
        return len(known), len(search_images(library, Query()).images)


def test_image_of_an_unconfirmed_cancel_can_be_fetched(cloud: Replicate, tmp_path: Path) -> None:
    settings = _settings(tmp_path, cloud)
    with pytest.raises(Cancelled) as caught:
        generate(_ASKED, settings, on_progress=_cancel)
    (id,) = file_store.pending(settings.state_dir)
    assert caught.value.remedy.endswith(f"Fetch it again with: imagen resume {id}")
    assert recover(id, settings, no_progress).outcome == "fetched"
    assert (cloud.submissions, _in_library(settings)) == (1, (1, 1))


def test_unstopped_timeout_is_not_a_failure_yet(cloud: Replicate, tmp_path: Path) -> None:
    def end(progress: Progress) -> None:
        if progress.stage == "running":
            raise TimedOut("It took too long.")

    settings = _settings(tmp_path, cloud)
    with pytest.raises(TimedOut):
        generate(_ASKED, settings, on_progress=end)
    (id,) = file_store.pending(settings.state_dir)
    assert _in_library(settings) == (0, 0)
    assert recover(id, settings, no_progress).outcome == "fetched"
    assert (cloud.submissions, _in_library(settings)) == (1, (1, 1))


def test_confirmed_cancel_deletes_the_job(cloud: Replicate, tmp_path: Path) -> None:
    cloud.switches = ReplicateSwitches(seconds=60)
    settings = _settings(tmp_path, cloud)
    with pytest.raises(Cancelled):
        generate(_ASKED, settings, on_progress=_cancel)
    assert file_store.pending(settings.state_dir) == []

"""What was to stay out of the cloud stays out of it, however late it comes to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from simulators.supabase import SERVICE_KEY

from imagen.config import LibrarySettings, OutputSettings, Settings
from imagen.core.request import Request
from imagen.core.result import no_progress
from imagen.jobs import file_store
from imagen.jobs.recover import recover
from imagen.library import Query, search_images
from imagen.library.outbox import list_unsent
from imagen.pipeline.generate import generate
from imagen.pipeline.record import open_library_synced

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.core.result import Progress

_ASKED = Request(prompt="a fox", seed=7, width=32, height=32)


class _Killed(BaseException):
    """Ends a run like a kill: without any cleanup."""


@pytest.fixture
def clouded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """With a cloud, to which every image is to go."""
    monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", SERVICE_KEY)
    return Settings(
        owner_user_id="3b241101-e2bb-4255-8caf-4136c566a962",
        state_dir=tmp_path / "state",
        output=OutputSettings(directory=tmp_path / "out"),
        library=LibrarySettings(url=str(tmp_path / "library.db")),
    )


def _without_cloud(settings: Settings) -> Settings:
    output = settings.output.model_copy(update={"cloud_sync": "off"})
    return settings.model_copy(update={"output": output})


def _killed(settings: Settings) -> str:
    def kill(_: Progress) -> None:
        raise _Killed

    with pytest.raises(_Killed):
        generate(_ASKED, settings, on_progress=kill)
    (id,) = file_store.pending(settings.state_dir)
    return id


def _known_and_to_the_cloud(settings: Settings) -> tuple[int, int]:
    with open_library_synced(settings) as library:
        going = sum(one.delivery.kind == "cloud" for one in list_unsent(library))
        return len(search_images(library, Query()).images), going


def test_image_fetched_later_is_uploaded(clouded: Settings) -> None:
    assert recover(_killed(clouded), clouded, no_progress).outcome == "fetched"
    assert _known_and_to_the_cloud(clouded) == (1, 1)


def test_no_cloud_on_resume_is_respected(clouded: Settings) -> None:
    assert recover(_killed(clouded), _without_cloud(clouded), no_progress).outcome == "fetched"
    assert _known_and_to_the_cloud(clouded) == (1, 0)


def test_no_cloud_of_the_original_command_is_respected(clouded: Settings) -> None:
    id = _killed(_without_cloud(clouded))
    assert recover(id, clouded, no_progress, output=clouded.output).outcome == "fetched"
    assert _known_and_to_the_cloud(clouded) == (1, 0)


def test_no_cloud_is_respected_for_a_waiting_job(clouded: Settings, tmp_path: Path) -> None:
    folder = LibrarySettings(url=str(tmp_path))
    generate(_ASKED, _without_cloud(clouded).model_copy(update={"library": folder}))
    assert _known_and_to_the_cloud(clouded) == (1, 0)

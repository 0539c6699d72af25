"""Comparisons on one GPU, and after interrupted processes."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from simulators.supabase import SERVICE_KEY

from imagen.comparison import compare
from imagen.config import LibrarySettings, Settings, UsageSettings
from imagen.core.request import Request
from imagen.core.result import no_progress
from imagen.errors import Failed, RequestError
from imagen.jobs import file_store
from imagen.library import GenerationRecord, Query, search_images
from imagen.library.outbox import list_unsent
from imagen.pipeline.record import build_failure, open_library_synced
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagen.core.result import OnProgress, Progress

_NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
_ASKED = Request(prompt="a fox", width=64, height=64, steps=1, seed=1)


def _settings(place: Path, **urls: str) -> Settings:
    blocks = {n: {"type": "comfyui", "workflow": "sd15", "url": url} for n, url in urls.items()}
    return Settings(backends=blocks, state_dir=place / "state")


def _freed(server: ComfyUI) -> int:
    return sum(request.path.endswith("/free") for request in server.requests)


def test_compare_frees_the_memory_of_an_engine_before_another_works(tmp_path: Path) -> None:
    with ComfyUI() as first, ComfyUI() as second:
        settings = _settings(tmp_path, one=first.url, two=second.url)
        compare(_ASKED, ["one", "two"], settings, folder=tmp_path / "c")
        assert (_freed(first), _freed(second)) == (1, 0)


def test_compare_keeps_the_memory_of_an_engine_for_two_backends(tmp_path: Path) -> None:
    with ComfyUI() as server:
        settings = _settings(tmp_path, one=server.url, two=server.url)
        compare(_ASKED, ["one", "two"], settings, folder=tmp_path / "c")
        assert _freed(server) == 0


def test_compare_frees_nothing_of_an_engine_that_did_not_work(tmp_path: Path) -> None:
    with ComfyUI() as first, ComfyUI() as second:
        settings = _settings(tmp_path, one=first.url, two=second.url)
        compare(_ASKED, ["one", "two"], settings, folder=tmp_path / "c")
        compare(_ASKED, ["one", "two"], settings, folder=tmp_path / "c")
        assert (_freed(first), _freed(second)) == (1, 0)


def test_compare_takes_up_the_job_of_a_killed_process(tmp_path: Path) -> None:
    with ComfyUI() as server:
        settings = _settings(tmp_path, one=server.url)
        with pytest.raises(_Killed):
            compare(_ASKED, ["one"], settings, folder=tmp_path / "c", watch=_killing)
        posted = len(server.prompts)
        made = compare(_ASKED, ["one"], settings, folder=tmp_path / "c")
        assert (posted, len(server.prompts), made.failed) == (1, 1, ())
    assert file_store.pending(tmp_path / "state") == []


def test_compare_reports_a_lost_job_before_repeating_it(tmp_path: Path) -> None:
    with ComfyUI() as server:
        settings = _settings(tmp_path, one=server.url)
        with pytest.raises(_Killed):
            compare(_ASKED, ["one"], settings, folder=tmp_path / "c", watch=_killing)
        server.restart(empty=True)
        server.files.clear("output")
        (cell,) = compare(_ASKED, ["one"], settings, folder=tmp_path / "c").cells
        assert (len(server.prompts), cell.error and cell.error.code) == (1, "lost")
        assert cell.error is not None
        assert cell.error.remedy.endswith(
            "It may have run, so it is not repeated automatically. Run this again to repeat it."
        )
        made = compare(_ASKED, ["one"], settings, folder=tmp_path / "c")
        assert (len(server.prompts), made.failed) == (2, ())
    assert file_store.pending(tmp_path / "state") == []


def test_compare_submits_a_job_that_never_arrived_under_its_id(tmp_path: Path) -> None:
    with ComfyUI() as server:
        settings = _settings(tmp_path, one=server.url)
        with pytest.raises(_Killed):
            compare(_ASKED, ["one"], settings, folder=tmp_path / "c", watch=_killing)
        (id,) = file_store.pending(tmp_path / "state")
        job = file_store.read(id, tmp_path / "state")
        engine = {"prompt_id": id, "client_id": "c"}
        sent = job.ticket.model_copy(update={"engine": engine})
        file_store.write(job.with_ticket(sent), tmp_path / "state")
        server.restart(empty=True)
        made = compare(_ASKED, ["one"], settings, folder=tmp_path / "c")
        assert (made.failed, [body["prompt_id"] for body in server.prompts]) == ((), [id, id])


def test_compare_reports_missing_images_before_repeating_them(
    tmp_path: Path,
) -> None:
    with ComfyUI() as server:
        settings = _settings(tmp_path, one=server.url)
        with pytest.raises(_Killed):
            compare(_ASKED, ["one"], settings, folder=tmp_path / "c", watch=_killing)
        (id,) = file_store.pending(tmp_path / "state")
        job = file_store.read(id, tmp_path / "state")
        entry = GenerationRecord(
            id=id,
            backend="one",
            ticket=job.ticket,
            request=_ASKED,
            created_at=_NOON,
            ended_at=_NOON,
        )
        file_store.write(job.with_record(entry), tmp_path / "state")
        (cell,) = compare(_ASKED, ["one"], settings, folder=tmp_path / "c").cells
        assert (len(server.prompts), cell.error and cell.error.message) == (
            1,
            "It was generated and saved before, and its images are no longer in the folder.",
        )
        assert file_store.pending(tmp_path / "state") == []
        made = compare(_ASKED, ["one"], settings, folder=tmp_path / "c")
        assert (len(server.prompts), made.failed) == (2, ())


def test_compare_leaves_a_cell_to_the_process_that_works_on_it(tmp_path: Path) -> None:
    with ComfyUI() as server:
        settings = _settings(tmp_path, one=server.url)
        with pytest.raises(_Killed):
            compare(_ASKED, ["one"], settings, folder=tmp_path / "c", watch=_killing)
        (id,) = file_store.pending(tmp_path / "state")
        with file_store.try_lock(id, tmp_path / "state"):
            (cell,) = compare(_ASKED, ["one"], settings, folder=tmp_path / "c").cells
        assert cell.error is not None
        assert cell.error.message == f"Another process is working on {id}."
        assert file_store.pending(tmp_path / "state") == [id]


def test_compare_reports_a_failure_of_a_killed_process_before_repeating_it(
    tmp_path: Path,
) -> None:
    with ComfyUI() as server:
        settings = _settings(tmp_path, one=server.url)
        with pytest.raises(_Killed):
            compare(_ASKED, ["one"], settings, folder=tmp_path / "c", watch=_killing)
        (id,) = file_store.pending(tmp_path / "state")
        job = file_store.read(id, tmp_path / "state")
        file_store.write(
            job.with_record(build_failure(job, Failed("Out of memory."))), tmp_path / "state"
        )
        (cell,) = compare(_ASKED, ["one"], settings, folder=tmp_path / "c").cells
        assert cell.error is not None
        assert (cell.error.code, cell.error.message) == ("failed", "Out of memory.")
        assert (len(server.prompts), file_store.pending(tmp_path / "state")) == (1, [])
        made = compare(_ASKED, ["one"], settings, folder=tmp_path / "c")
        assert (len(server.prompts), made.failed) == (2, ())


def test_compare_records_a_cell_that_was_saved_before_a_kill(
    tmp_path: Path,
) -> None:
    with ComfyUI() as server:
        settings = _settings(tmp_path, one=server.url)
        (tmp_path / "file").write_text("not a folder")
        broken = LibrarySettings(url=str(tmp_path / "file" / "library.db"))
        first = compare(
            _ASKED,
            ["one"],
            settings.model_copy(update={"library": broken}),
            folder=tmp_path / "c",
        )
        record = tmp_path / "c" / "compare.json"
        record.write_text(json.dumps(json.loads(record.read_text()) | {"cells": []}))
        second = compare(_ASKED, ["one"], settings, folder=tmp_path / "c")
        assert [cell.files for cell in second.cells] == [cell.files for cell in first.cells]
        assert (second.failed, len(server.prompts)) == ((), 1)
    assert file_store.pending(tmp_path / "state") == []
    with open_library_synced(settings) as library:
        assert len(search_images(library, Query()).images) == 1


def test_compare_keeps_the_delivery_settings_of_a_resumed_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", SERVICE_KEY)
    owner = {
        "owner_user_id": "3b241101-e2bb-4255-8caf-4136c566a962",
        "usage": UsageSettings(mirror="off"),
    }
    with ComfyUI() as server:
        clouded = _settings(tmp_path, one=server.url).model_copy(update=owner)
        off = clouded.output.model_copy(update={"cloud_sync": "off"})
        here = clouded.model_copy(update={"output": off})
        with pytest.raises(_Killed):
            compare(_ASKED, ["one"], here, folder=tmp_path / "c", watch=_killing)
        compare(_ASKED, ["one"], clouded, folder=tmp_path / "c")
    with open_library_synced(clouded) as library:
        assert (len(search_images(library, Query()).images), list_unsent(library)) == (1, [])


def test_two_processes_cannot_run_one_comparison_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    settings = Settings(state_dir=tmp_path / "state")
    told: list[str] = []

    def watch(_: str) -> AbstractContextManager[OnProgress]:
        with pytest.raises(RequestError) as caught:
            compare(_ASKED, ["mock"], settings, folder=folder)
        told.append(caught.value.message)
        return nullcontext(no_progress)

    compare(_ASKED, ["mock"], settings, folder=folder, watch=watch)
    assert told == [f"Another process is working on the comparison in {folder}."]
    assert [path.name for path in folder.glob(".*")] == []


class _Killed(BaseException):
    """Simulate a process that ends here."""


@contextmanager
def _killing(label: str) -> Iterator[OnProgress]:
    """Ends the process after fetching and before saving."""
    assert label == "one"

    def tell(progress: Progress) -> None:
        if progress.stage == "done":
            raise _Killed

    yield tell

"""What is left behind is brought to its end, and nothing is made twice."""

from __future__ import annotations

from contextlib import closing, nullcontext
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from simulators.replicate import COMMUNITY, Replicate
from sqlalchemy import select

from imagen.config import Budget, LibrarySettings, OutputSettings, Settings
from imagen.core.request import Request
from imagen.core.result import Progress, no_progress
from imagen.core.ticket import Estimate
from imagen.errors import Cancelled, Failed, LetGo, Lost, OverBudget, RequestError, Unavailable
from imagen.jobs import file_store
from imagen.jobs.recover import recover, recover_all, resume
from imagen.library import Query, search_images
from imagen.library.schema import generations
from imagen.pipeline.generate import create_jobs, generate, open_named, prepare, run_job
from imagen.pipeline.record import build_failure, open_library_synced
from imagen.testing.comfyui import ComfyUI, FailureSwitches

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from imagen.core.result import OnProgress
    from imagen.jobs.model import Job

_ASKED = Request(prompt="a fox", seed=7, width=64, height=64, steps=2)


class _Killed(BaseException):
    """Ends a run like a kill: without any cleanup."""


@pytest.fixture
def server() -> Iterator[ComfyUI]:
    with ComfyUI() as server:
        yield server


@pytest.fixture
def settings(server: ComfyUI, tmp_path: Path) -> Settings:
    block = {"type": "comfyui", "url": server.url, "workflow": "sd15", "lost_seconds": 0.2}
    return Settings(
        default_backend="studio",
        backends={"studio": block},
        state_dir=tmp_path / "state",
        output=OutputSettings(directory=tmp_path / "out"),
        library=LibrarySettings(url=str(tmp_path / "library.db")),
    )


def _killed_at(settings: Settings, stage: str) -> str:
    """The ticket of a run that was killed when its progress told of this stage."""

    def kill(progress: Progress) -> None:
        if progress.stage == stage:
            raise _Killed

    with pytest.raises(_Killed):
        generate(_ASKED, settings, on_progress=kill)
    (id,) = file_store.pending(settings.state_dir)
    return id


def _planned(settings: Settings) -> Job:
    """A job that was written down, and whose process died then."""
    with closing(open_named("studio", settings)) as engine:
        (ticket,) = prepare(engine, _ASKED, settings)
    job = create_jobs([ticket], _ASKED, settings)[0]
    file_store.write(job, settings.state_dir)
    return job


def _in_library(settings: Settings) -> int:
    with open_library_synced(settings) as library:
        return len(search_images(library, Query()).images)


def test_recover_fetches_a_submitted_job(server: ComfyUI, settings: Settings) -> None:
    id = _killed_at(settings, "fetching")
    done = recover(id, settings, no_progress)
    assert (done.outcome, len(server.prompts), _in_library(settings)) == ("fetched", 1, 1)
    assert file_store.pending(settings.state_dir) == []


def test_recovered_job_can_be_let_go_and_recovered_again(
    server: ComfyUI, settings: Settings
) -> None:
    def let_go(progress: Progress) -> None:
        if progress.stage == "running":
            raise LetGo("not now")

    job = _planned(settings)
    with pytest.raises(LetGo):
        recover(job.id, settings, let_go)
    assert file_store.read(job.id, settings.state_dir).state == "submitted"
    done = recover(job.id, settings, no_progress)
    assert (done.outcome, len(server.prompts), _in_library(settings)) == ("fetched", 1, 1)


def test_recover_submits_a_planned_job(server: ComfyUI, settings: Settings) -> None:
    job = _planned(settings)
    done = recover(job.id, settings, no_progress)
    assert (done.outcome, len(server.prompts), _in_library(settings)) == ("generated", 1, 1)


def test_recover_resubmits_a_job_that_never_arrived(server: ComfyUI, settings: Settings) -> None:
    job = _planned(settings)
    sent = job.with_ticket(job.ticket.sent(prompt_id=job.id, client_id="c"))
    file_store.write(sent, settings.state_dir)
    done = recover(job.id, settings, no_progress)
    assert (done.outcome, len(server.prompts), _in_library(settings)) == ("regenerated", 1, 1)


def test_job_that_never_arrived_is_not_a_failure(server: ComfyUI, settings: Settings) -> None:
    job = _planned(settings)
    sent = job.ticket.sent(prompt_id=job.id, client_id="c")
    file_store.write(job.with_ticket(sent), settings.state_dir)
    known: set[str] = set()

    def look(progress: Progress) -> None:
        if progress.stage == "running":
            known.update(_states(settings))

    assert recover(job.id, settings, look).outcome == "regenerated"
    assert (known, len(server.prompts)) == (set(), 1)


def _states(settings: Settings) -> list[str]:
    with open_library_synced(settings) as library, library.reading() as connection:
        return list(connection.execute(select(generations.c.state)).scalars())


def test_recover_records_saved_images(server: ComfyUI, settings: Settings) -> None:
    broken = settings.model_copy(
        update={"library": LibrarySettings(url=str(settings.state_dir / "none" / "x.db"))}
    )
    settings.state_dir.mkdir()
    (settings.state_dir / "none").write_text("in the way")
    (made,) = generate(_ASKED, broken)
    assert "The library could not record it: The library cannot be created in " in made.remark
    (id,) = file_store.pending(settings.state_dir)
    done = recover(id, settings, no_progress)
    assert done.generation is not None
    assert [saved.path for saved in done.generation.saved] == [saved.path for saved in made.saved]
    assert (done.outcome, len(server.prompts), _in_library(settings)) == ("saved", 1, 1)


def test_recover_records_a_failure(server: ComfyUI, settings: Settings) -> None:
    job = _planned(settings)
    file_store.write(
        job.with_record(build_failure(job, Failed("Out of memory."))), settings.state_dir
    )
    done = recover(job.id, settings, no_progress)
    assert done.error is not None
    assert (done.outcome, done.error.code, done.error.message) == (
        "failed",
        "failed",
        "Out of memory.",
    )
    assert (len(server.prompts), file_store.pending(settings.state_dir)) == (0, [])


def test_recorded_failure_has_the_engines_id(server: ComfyUI, settings: Settings) -> None:
    server.switches = FailureSwitches(empty_success=True)
    with pytest.raises(Failed):
        generate(_ASKED, settings)
    with open_library_synced(settings) as library, library.reading() as connection:
        (kept,) = connection.execute(generations.select()).all()
    assert (kept.ticket["submitted"], kept.ticket["engine"]["prompt_id"]) == (True, kept.id)
    assert kept.model == "v1-5-pruned-emaonly-fp16.safetensors"


def test_opening_the_library_records_waiting_jobs(settings: Settings) -> None:
    elsewhere = settings.model_copy(
        update={"library": LibrarySettings(url=str(settings.state_dir))}
    )
    settings.state_dir.mkdir()
    generate(_ASKED, elsewhere)  # a folder cannot be a library
    assert len(file_store.pending(settings.state_dir)) == 1
    assert (_in_library(settings), file_store.pending(settings.state_dir)) == (1, [])


def test_opening_the_library_does_not_lock_unfinished_jobs(settings: Settings) -> None:
    _planned(settings)
    folder = settings.state_dir / "tickets"
    before = folder.stat().st_mtime_ns
    assert (_in_library(settings), folder.stat().st_mtime_ns) == (0, before)


def test_recover_leaves_busy_jobs_alone(settings: Settings) -> None:
    job = _planned(settings)
    with file_store.try_lock(job.id, settings.state_dir):
        assert recover(job.id, settings, no_progress).outcome == "busy"
        with pytest.raises(RequestError, match=f"Another process is working on {job.id}"):
            resume(job.id, settings)
    assert file_store.pending(settings.state_dir) == [job.id]


def test_recover_does_not_resubmit_a_lost_job(server: ComfyUI, settings: Settings) -> None:
    id = _killed_at(settings, "running")
    server.restart(empty=True)
    done = recover(id, settings, no_progress)
    assert (done.outcome, len(server.prompts), _states(settings)) == ("failed", 1, ["failed"])
    assert isinstance(done.error, Lost)
    assert done.error.remedy == (
        f"It may have run. Submit it again with: imagen resume --resubmit {id}\n"
        f"Forget it with: imagen resume {id} --forget"
    )
    assert file_store.pending(settings.state_dir) == [id]


def test_recover_resubmits_a_lost_job_on_request(server: ComfyUI, settings: Settings) -> None:
    id = _killed_at(settings, "running")
    server.restart(empty=True)
    done = recover(id, settings, no_progress, resubmit=True)
    assert (done.outcome, len(server.prompts), _in_library(settings)) == ("resubmitted", 2, 1)
    assert done.id == id
    assert file_store.pending(settings.state_dir) == []


def test_resubmission_counts_against_budgets(server: ComfyUI, settings: Settings) -> None:
    id = _killed_at(settings, "running")
    job = file_store.read(id, settings.state_dir)
    paid = job.ticket.model_copy(update={"estimate": Estimate(usd=1.0, basis="by the list")})
    file_store.write(job.with_ticket(paid), settings.state_dir)
    server.restart(empty=True)
    limited = settings.model_copy(update={"budgets": (Budget(amount=0.5, per="day"),)})
    done = recover(id, limited, no_progress, resubmit=True)
    assert (type(done.error), len(server.prompts)) == (OverBudget, 1)
    assert file_store.pending(settings.state_dir) == [id]
    assert recover(id, settings, no_progress, resubmit=True).outcome == "resubmitted"


def test_resubmitted_job_is_locked(settings: Settings, server: ComfyUI) -> None:
    id = _killed_at(settings, "running")
    server.restart(empty=True)
    in_hand: list[bool] = []

    def look(progress: Progress) -> None:
        if progress.stage == "running":
            in_hand.extend(
                file_store.is_worked_on(other, settings.state_dir)
                for other in file_store.pending(settings.state_dir)
            )

    recover(id, settings, look, resubmit=True)
    assert set(in_hand) == {True}


@pytest.mark.usefixtures("replicate_token")
def test_recover_never_resubmits_an_uncertain_loss(tmp_path: Path) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)  # as if the clock had been set back since
    with Replicate() as cloud:
        block = {"type": "replicate", "base_url": cloud.url, "model": COMMUNITY}
        settings = Settings(backends={"studio": block}, state_dir=tmp_path / "state")
        job = _planned(settings)
        file_store.write(
            job.with_ticket(job.ticket.sent(began=later.isoformat())), settings.state_dir
        )
        done = recover(job.id, settings, no_progress, resubmit=True)
        assert (done.outcome, cloud.submissions) == ("failed", 0)
        assert isinstance(done.error, Lost)
        assert done.error.remedy.endswith(f"\nForget it with: imagen resume {job.id} --forget")
    assert file_store.pending(settings.state_dir) == [job.id]


def test_recovered_images_go_to_their_original_folder(settings: Settings, tmp_path: Path) -> None:
    id = _killed_at(settings, "fetching")
    elsewhere = settings.output.model_copy(update={"directory": tmp_path / "elsewhere"})
    moved = settings.model_copy(update={"output": elsewhere})
    (saved,) = resume(id, moved).saved
    assert saved.path.parent == settings.output.directory


def test_recovered_images_go_to_a_new_folder(settings: Settings, tmp_path: Path) -> None:
    id = _killed_at(settings, "fetching")
    elsewhere = settings.output.model_copy(update={"directory": tmp_path / "elsewhere"})
    (saved,) = resume(id, settings, output=elsewhere).saved
    assert saved.path.parent == tmp_path / "elsewhere"


def test_unreachable_engine_keeps_its_job(server: ComfyUI, settings: Settings) -> None:
    id = _killed_at(settings, "running")
    server.stop()
    done = recover(id, settings, no_progress)
    assert (done.outcome, type(done.error)) == ("failed", Unavailable)
    assert file_store.pending(settings.state_dir) == [id]
    server.start()
    assert recover(id, settings, no_progress).outcome == "fetched"


def test_planned_job_stays_if_its_engine_is_unreachable(
    server: ComfyUI, settings: Settings
) -> None:
    job = _planned(settings)
    server.stop()
    done = recover(job.id, settings, no_progress)
    assert isinstance(done.error, Unavailable)
    assert done.error.remedy.endswith(f"\nTry it again with: imagen resume {job.id}")
    server.restart()
    assert recover(job.id, settings, no_progress).outcome == "generated"


def test_recover_all_skips_a_job_that_another_process_finished(settings: Settings) -> None:
    first, second, third = _planned(settings), _planned(settings), _planned(settings)

    def watch(label: str) -> AbstractContextManager[OnProgress]:
        if label == first.id[:8]:
            file_store.forget(second.id, settings.state_dir)
        return nullcontext(no_progress)

    assert [one.id for one in recover_all(settings, watch)] == [first.id, third.id]


def test_recover_all_continues_after_a_failure(settings: Settings) -> None:
    lost, other = _planned(settings), _planned(settings)
    gone = settings.backends | {"gone": settings.backends["studio"] | {"url": "http://127.0.0.1:9"}}
    ticket = lost.ticket.model_copy(update={"backend": "gone"})
    file_store.write(lost.with_ticket(ticket), settings.state_dir)
    both = settings.model_copy(update={"backends": gone})
    done = list(recover_all(both, lambda _: nullcontext(no_progress)))
    assert {one.id: one.outcome for one in done} == {lost.id: "failed", other.id: "generated"}


def test_recover_reports_an_unreadable_job(settings: Settings) -> None:
    (settings.state_dir / "tickets").mkdir(parents=True)
    (settings.state_dir / "tickets" / "a.json").write_text("{")
    (done,) = recover_all(settings, lambda _: nullcontext(no_progress))
    assert done.error is not None
    assert (done.outcome, done.job) == ("failed", None)
    assert "cannot be read; it may be from another version of imagen." in done.error.message


def test_recover_all_ends_when_cancelled(server: ComfyUI, settings: Settings) -> None:
    job = _planned(settings)
    server.submit_foreign(seconds=5)

    def cancel(progress: Progress) -> None:
        if progress.stage == "queued":
            raise Cancelled

    with pytest.raises(Cancelled):
        recover(job.id, settings, cancel)
    assert server.queue_state()[1] == []
    assert file_store.pending(settings.state_dir) == []


def test_recovered_files_are_named_by_the_original_time(settings: Settings) -> None:
    id = _killed_at(settings, "fetching")
    began = file_store.read(id, settings.state_dir).began.replace(year=2001)
    job = file_store.read(id, settings.state_dir).model_copy(update={"began": began})
    file_store.write(job, settings.state_dir)
    (saved,) = resume(id, settings).saved
    assert saved.path.name == f"{began:%Y-%m-%d-%H%M%S}-a-fox-7.png"


def test_recover_does_not_save_a_file_twice(settings: Settings) -> None:
    id = _killed_at(settings, "fetching")
    job = file_store.read(id, settings.state_dir)
    with closing(open_named("studio", settings)) as engine:
        first = run_job(engine, job, settings, no_progress, is_resumed=True)
    file_store.write(job, settings.state_dir)  # as if it had been killed before this was forgotten
    (saved,) = resume(id, settings).saved
    assert saved.path == first.saved[0].path
    assert len(list(settings.output.directory.glob("*.png"))) == 1
    assert _in_library(settings) == 1


def test_equal_image_of_another_job_is_not_reused(settings: Settings) -> None:
    named = settings.output.model_copy(update={"name": "fox"})
    settings = settings.model_copy(update={"output": named})
    (first,) = generate(_ASKED, settings)
    id = _killed_at(settings, "fetching")
    (saved,) = resume(id, settings).saved
    assert (first.saved[0].path.name, saved.path.name) == ("fox.png", "fox-2.png")
    assert _in_library(settings) == 2


def test_resume_raises_the_error_of_a_job(server: ComfyUI, settings: Settings) -> None:
    job = _planned(settings)
    with (
        file_store.try_lock(job.id, settings.state_dir),
        pytest.raises(RequestError, match=f"Another process is working on {job.id}"),
    ):
        resume(job.id, settings)
    server.stop()
    with pytest.raises(Unavailable):
        resume(job.id, settings)
    assert file_store.pending(settings.state_dir) == [job.id]

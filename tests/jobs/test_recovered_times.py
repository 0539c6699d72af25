"""How long a job took in all: known of one that this process sends, and of no other."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from imagen.config import LibrarySettings, OutputSettings, Settings
from imagen.core.request import Request
from imagen.jobs import file_store
from imagen.jobs.recover import resume
from imagen.pipeline.generate import create_jobs, generate, open_named, prepare
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagen.core.result import Progress
    from imagen.jobs.model import Job

_ASKED = Request(prompt="a fox", seed=7, width=64, height=64, steps=2)


class _Killed(BaseException):
    """Ends a run like a kill: without any cleanup."""


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with ComfyUI() as server:
        block = {"type": "comfyui", "url": server.url, "workflow": "sd15", "lost_seconds": 0.2}
        yield Settings(
            default_backend="studio",
            backends={"studio": block},
            state_dir=tmp_path / "state",
            output=OutputSettings(directory=tmp_path / "out"),
            library=LibrarySettings(enabled=False),
        )


@pytest.fixture
def job(settings: Settings) -> Job:
    """One that was written down, and whose process died then."""
    with closing(open_named("studio", settings)) as engine:
        (ticket,) = prepare(engine, _ASKED, settings)
    job = create_jobs([ticket], _ASKED, settings)[0]
    file_store.write(job, settings.state_dir)
    return job


def _die_fetching(progress: Progress) -> None:
    if progress.stage == "fetching":
        raise _Killed


def test_recovered_job_has_only_the_engines_time(
    settings: Settings,
) -> None:
    with pytest.raises(_Killed):
        generate(_ASKED, settings, on_progress=_die_fetching)
    (id,) = file_store.pending(settings.state_dir)
    facts = resume(id, settings).result.facts
    assert facts.latency_seconds is None
    assert facts.executing_seconds is not None


def test_unsubmitted_job_is_timed(settings: Settings, job: Job) -> None:
    assert resume(job.id, settings).result.facts.latency_seconds is not None


def test_resubmitted_job_is_timed(settings: Settings, job: Job) -> None:
    sent = job.with_ticket(job.ticket.sent(prompt_id=job.id, client_id="c"))
    file_store.write(sent, settings.state_dir)
    assert resume(job.id, settings).result.facts.latency_seconds is not None

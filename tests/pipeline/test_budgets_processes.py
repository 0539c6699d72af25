"""Budgets under several processes at once: nothing is overrun, and each job counts once."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from simulators.replicate import Replicate

from imagen import generate, load_settings
from imagen.comparison import compare
from imagen.config import Budget, LibrarySettings, Settings
from imagen.core.request import Request
from imagen.core.ticket import Estimate, Ticket, new_id
from imagen.errors import OverBudget
from imagen.jobs.file_store import write
from imagen.jobs.model import Job
from imagen.library import GenerationRecord
from imagen.pipeline.budgets import refuse_over_budget
from imagen.pipeline.record import open_library_synced, record

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Barrier

_SPAWN = multiprocessing.get_context("spawn")
_ASKED = Request(prompt="a fox", width=64, height=64)
_PROCESSES = 5


def _ready(barrier: Barrier) -> Settings:
    """Wait for the others, with all that a check of the budget needs loaded."""
    settings = load_settings()
    with open_library_synced(settings):
        barrier.wait(60)
    return settings


def _generate(number: int, barrier: Barrier, outcomes: Queue[str]) -> None:
    settings = _ready(barrier)
    try:
        generate(_ASKED.with_values({"seed": number}), settings)
    except OverBudget:
        outcomes.put("refused")
    else:
        outcomes.put("made")


def _compare(number: int, barrier: Barrier, outcomes: Queue[str]) -> None:
    settings = _ready(barrier)
    made = compare(_ASKED, ["cloud"], settings, folder=Path(f"c{number}"))
    outcomes.put("refused" if made.failed else "made")


@pytest.mark.usefixtures("replicate_token")
@pytest.mark.parametrize("work", [_generate, _compare])
def test_simultaneous_processes_stay_within_the_budget(
    work: Callable[[int, Barrier, Queue[str]], None],
) -> None:
    with Replicate(seconds=2.0) as cloud:
        _configure(cloud.url, amount=0.0065)
        barrier, outcomes = _SPAWN.Barrier(_PROCESSES), _SPAWN.Queue()
        workers = [
            _SPAWN.Process(target=work, args=(number, barrier, outcomes))
            for number in range(_PROCESSES)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(120)
        found = sorted(outcomes.get(timeout=10) for _ in workers)
        assert (found, cloud.submissions) == (["made", "made", *["refused"] * 3], 2)


def _configure(url: str, *, amount: float) -> None:
    """A model at $0.003 an image."""
    block = {"type": "replicate", "model": "black-forest-labs/flux-schnell", "base_url": url}
    budgets = [{"amount": amount, "per": "day"}]
    whole = {"default_backend": "cloud", "backends": {"cloud": block}, "budgets": budgets}
    Path("imagen.yaml").write_text(json.dumps(whole))


def test_job_that_is_being_recorded_counts_once(tmp_path: Path) -> None:
    settings = Settings(
        state_dir=tmp_path / "state",
        library=LibrarySettings(url=str(tmp_path / "library.db")),
        budgets=(Budget(amount=0.2, per="day"),),
    )
    jobs = [Job(ticket=_ticket(0.01), request=_ASKED, kind="replicate") for _ in range(20)]
    for job in jobs:
        write(job, settings.state_dir)
    mover = Thread(target=_end_all, args=(jobs, settings))
    mover.start()
    said = set()
    while mover.is_alive():
        with pytest.raises(OverBudget) as caught:
            refuse_over_budget([_ticket(0.01)], settings)
        said.add(caught.value.message.partition(": ")[2])
    mover.join()
    assert said == {"$0.20 was spent today, and this would cost $0.01."}


def _ticket(usd: float) -> Ticket:
    estimate = Estimate(usd=usd, basis="by the list")
    return Ticket(id=new_id(), backend="cloud", request=_ASKED, receipt={}, estimate=estimate)


def _end_all(jobs: list[Job], settings: Settings) -> None:
    """Each job comes to its end as one does: its ticket knows it first, then the library."""
    for job in jobs:
        entry = GenerationRecord(
            id=job.id,
            backend="cloud",
            ticket=job.ticket,
            request=_ASKED,
            facts={"cost_usd": 0.01},
            created_at=job.began,
            ended_at=job.began,
        )
        write(job.with_record(entry), settings.state_dir)
        record(entry, settings)

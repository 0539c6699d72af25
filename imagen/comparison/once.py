"""Makes each run of a comparison once: what an earlier process began or saved is taken up."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from imagen.comparison.record import RECORD_NAME
from imagen.core.result import Facts, Result
from imagen.core.ticket import id_from
from imagen.errors import Lost, OutputError
from imagen.jobs import file_store
from imagen.outputs import SavedImage, find_saved
from imagen.pipeline.budgets import planned_within_budgets
from imagen.pipeline.generate import Generation, create_job, run_job
from imagen.pipeline.record import record, recorded_error, with_job_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from imagen.backends import Backend
    from imagen.config import Settings
    from imagen.core.request import Request
    from imagen.core.result import OnProgress
    from imagen.core.ticket import Ticket
    from imagen.library.records import GenerationRecord


def with_stable_id(ticket: Ticket, *place: object) -> Ticket:
    """The ticket under the id that this place of a comparison always has, in any process."""
    text = json.dumps([str(part) for part in place])
    return ticket.model_copy(update={"id": id_from(sha256(text.encode()).hexdigest())})


def find_begun(runs: Iterable[Ticket], folder: Path, state_dir: Path) -> set[str]:
    """The ids of the runs that an earlier process began: its budgets allowed them then."""
    left = set(file_store.pending(state_dir))
    return {run.id for run in runs if run.id in left or any(_recovered(run.id, folder))}


def run_once(
    engine: Backend,
    ticket: Ticket,
    asked: Request,
    settings: Settings,
    on_progress: OnProgress,
    *,
    before: Sequence[Ticket] = (),
) -> Generation:
    """Make the run of a ticket that was `numbered`; what is left of it is fetched instead.

    `before` are the tickets of the same comparison that were made already, for its budgets.
    Raises RequestError where another process is at work on it; Lost where its engine had it and
    forgot it, and OutputError where its pictures are gone: made anew it would be another run.
    """
    if ticket.id in file_store.pending(settings.state_dir):
        return _taken_up(engine, ticket, settings, on_progress)
    if there := _saved_before(ticket, settings):
        return there
    job = create_job(ticket, asked, settings)
    with planned_within_budgets([job], settings, before=before):
        return run_job(engine, job, settings, on_progress)


def _taken_up(
    engine: Backend, ticket: Ticket, settings: Settings, on_progress: OnProgress
) -> Generation:
    with file_store.claim(ticket.id, settings.state_dir) as job:
        if job is None:
            raise file_store.job_busy(ticket.id)
        settings = with_job_settings(settings, job)
        if job.entry is not None:
            return _kept(job.entry, ticket, settings)
        try:
            return run_job(engine, job, settings, on_progress, is_resumed=True)
        except Lost as error:
            if error.never_ran:
                return run_job(engine, job.unsent(), settings, on_progress, is_resumed=True)
            if error.is_certain:
                raise error.with_remedy(_MAY_HAVE_RUN) from error
            raise


_MAY_HAVE_RUN = (
    "It may have run, so it is not made again by itself. It is when this is run once more."
)


def _kept(entry: GenerationRecord, ticket: Ticket, settings: Settings) -> Generation:
    """What came to its end in a process that was killed then."""
    record(entry, settings)
    if entry.state == "failed":
        raise recorded_error(entry)
    made = _saved_before(ticket, settings)
    if made is None:
        raise OutputError(
            "It was made and saved before, and its pictures are not in the folder any more.",
            remedy="Run this once more to make it anew.",
        )
    return made


def _saved_before(ticket: Ticket, settings: Settings) -> Generation | None:
    """The run, where its pictures lie in the folder with sidecars that tell of this ticket."""
    found = list(_recovered(ticket.id, settings.output.directory))
    if not found:
        return None
    facts = Facts.of(found[0][1])
    saved = tuple(sorted((one for one, _ in found), key=lambda one: one.index))
    return Generation(ticket=ticket, result=Result(outputs=(), facts=facts), saved=saved)


def _recovered(id: str, folder: Path) -> Iterator[tuple[SavedImage, dict[str, Any]]]:
    for sidecar in sorted(folder.glob("*.json")):
        if sidecar.name != RECORD_NAME and (found := find_saved(sidecar, ticket=id)) is not None:
            yield found

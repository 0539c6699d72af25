"""What the commands of the queue share: open it, and find jobs by the words of a person."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

from imagen.cli.completers import complete_queued_jobs
from imagen.cli.options import settings_from_options
from imagen.errors import ImagenError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from imagen.config import Settings
    from imagen.jobs.model import QueuedJob
    from imagen.jobs.overview import PlainJob
    from imagen.jobs.sql_store import SqlJobStore

_FAILED_EXIT_CODE = 4
_PAGE = 500

job_argument = click.argument("word", metavar="JOB", shell_complete=complete_queued_jobs)
jobs_argument = click.argument(
    "words", metavar="JOB...", nargs=-1, required=True, shell_complete=complete_queued_jobs
)


@contextmanager
def open_queue(config_path: Path | None) -> Iterator[tuple[SqlJobStore, Settings]]:
    """The queue of this configuration; raises ConfigError if its library is off."""
    from imagen.jobs.sql_store import open_job_store

    settings = settings_from_options(config_path)
    with open_job_store(settings) as store:
        yield store, settings


def find_job(word: str, store: SqlJobStore, settings: Settings) -> QueuedJob | PlainJob:
    """The job of the queue, or of a plain command, that a person named; raises RequestError."""
    from imagen.jobs import file_store
    from imagen.jobs.overview import list_plain_jobs

    try:
        return store.read(store.resolve_id(word))
    except RequestError as error:
        with suppress(RequestError):
            id = file_store.resolve_id(word, settings.state_dir)
            return next(one for one in list_plain_jobs(settings.state_dir) if one.id == id)
        raise error from None


def find_queued_jobs(
    words: Sequence[str], store: SqlJobStore, settings: Settings
) -> list[QueuedJob]:
    """The jobs of the queue that a person named; raises RequestError, also for a plain one."""
    from imagen.jobs.overview import PlainJob

    found: dict[str, QueuedJob] = {}
    for word in words:
        job = find_job(word, store, settings)
        if isinstance(job, PlainJob):
            raise RequestError(
                f"{job.id} is the job of a plain command, which is not in the queue.",
                remedy=f"Finish it with: imagen resume {job.id}\n"
                f"Discard it with: imagen resume {job.id} --forget",
            )
        found[job.id] = job
    return list(found.values())


def exit_code_of(job: QueuedJob) -> int:
    """The exit code of a command whose job ended like this."""
    if job.state == "done":
        return 0
    if job.state == "cancelled":
        return 130
    code = (job.error or {}).get("code")
    kinds = [ImagenError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    return next((kind.exit_code for kind in kinds[1:] if kind.code == code), _FAILED_EXIT_CODE)

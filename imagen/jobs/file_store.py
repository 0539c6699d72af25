"""Jobs on disk: written before anything is submitted, deleted once the library has their images.

A job is a ticket with everything another process needs to finish it. A process that works on a job
holds a lock on its file.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from pydantic import ValidationError

from imagen.config.paths import make_own_folder
from imagen.core.filesystem import Lock, is_held, lock, make_private_folder
from imagen.core.ids import count_back, is_id
from imagen.core.text import did_you_mean
from imagen.errors import ImagenError, LetGo, OutputError, RequestError
from imagen.jobs.model import Job

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_FOLDER = "tickets"
_PAUSES = (0.01, 0.05, 0.2, 0.5)
"""Seconds to wait for a file that another process has open for a moment."""


@contextmanager
def plan_jobs(jobs: Sequence[Job], state_dir: Path) -> Iterator[None]:
    """Write jobs to disk before the first of them is submitted, and hold them for the block.

    If the block fails, those that were never submitted are forgotten. If the process dies or lets
    go they stay, unless it dies before all are written. Raises OutputError if they cannot be
    written, RequestError if another process works on one of them.
    """
    remove_leftovers(state_dir)
    with ExitStack() as locks:
        for job in jobs:
            locks.enter_context(lock_job(job.id, state_dir))
        try:
            with _all_or_none(jobs, state_dir):
                for job in jobs:
                    write(job, state_dir)
            yield
        except LetGo:
            raise
        except ImagenError:
            for job in jobs:
                _forget_unsubmitted(job.id, state_dir)
            raise


@contextmanager
def _all_or_none(jobs: Sequence[Job], state_dir: Path) -> Iterator[None]:
    """List several jobs in a file while they are written: if it is left, `pending` drops them."""
    if len(jobs) < 2:
        yield
        return
    plan = _path(jobs[0].id, state_dir).with_suffix(".plan")
    try:
        with open(os.open(plan, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write("\n".join(job.id for job in jobs))
            file.flush()
            os.fsync(file.fileno())
        yield
    except OSError as error:
        raise _unwritable(plan.parent, error) from error
    finally:
        with suppress(OSError):
            plan.unlink(missing_ok=True)


def _forget_unsubmitted(id: str, state_dir: Path) -> None:
    with suppress(OutputError):
        job = _parse(_path(id, state_dir))
        if not job.ticket.submitted and job.record is None:
            forget(id, state_dir)


@contextmanager
def lock_job(id: str, state_dir: Path) -> Iterator[None]:
    """Hold a job for the block, whether it is on disk yet or not.

    Raises RequestError if another process works on it; one that only looks for leftovers holds it
    for a moment.
    """
    held = _hold(id, state_dir)
    for pause in _PAUSES:
        if held is None:
            time.sleep(pause)
            held = _hold(id, state_dir)
    if held is None:
        raise job_busy(id)
    try:
        yield
    finally:
        held.release()


def forget(id: str, state_dir: Path) -> None:
    """Delete a job; a failure is ignored."""
    with suppress(OSError):
        _path(id, state_dir).unlink(missing_ok=True)


@contextmanager
def claim(id: str, state_dir: Path) -> Iterator[Job | None]:
    """A job, held for the block; None if another process works on it.

    Raises RequestError if there is no such job, OutputError if it cannot be read.
    """
    with try_lock(id, state_dir) as is_held_here:
        yield read(id, state_dir) if is_held_here else None


@contextmanager
def try_lock(id: str, state_dir: Path) -> Iterator[bool]:
    """Hold a job for the block without reading it; False if another process works on it."""
    refuse_unknown(id, state_dir)
    held = _hold(id, state_dir)
    try:
        yield held is not None
    finally:
        if held is not None:
            held.release()


def _hold(id: str, state_dir: Path) -> Lock | None:
    path = _lock_path(id, state_dir)
    try:
        _make_folder(state_dir)
        return lock(path)
    except OSError as error:
        raise OutputError(
            f"Jobs cannot be locked in {path.parent}: {error.strerror or error}.",
            remedy="Make the folder writable, or set IMAGEN_STATE, or state_dir in imagen.yaml.",
        ) from error


def job_busy(id: str) -> RequestError:
    """The error for a job that another process works on."""
    return RequestError(f"Another process is working on {id}.", remedy="Wait until it has ended.")


def is_worked_on(id: str, state_dir: Path) -> bool:
    """Whether a running process holds this job."""
    return is_held(_lock_path(id, state_dir))


def pending(state_dir: Path) -> list[str]:
    """The ids of all jobs on disk: unfinished, or not in the library yet."""
    folder = state_dir / _FOLDER
    if not os.path.isdir(folder):
        return []
    for plan in folder.glob("*.plan"):  # of a process that died before it had written all its jobs
        if not is_worked_on(plan.stem, state_dir):
            with suppress(OSError):
                for id in plan.read_bytes().decode("ascii", "replace").split():
                    if is_id(id):
                        _forget_unsubmitted(id, state_dir)
                plan.unlink(missing_ok=True)
    return sorted(path.stem for path in folder.glob("*.json"))


def list_ids(state_dir: Path) -> list[str]:
    """The ids of jobs to recover, in the order in which they began; then those that were never
    submitted, then those that cannot be read."""
    readable, deferred = _sort_readable(state_dir)
    known = {*readable, *deferred}
    return [*readable, *(id for id in pending(state_dir) if id not in known)]


def _sort_readable(state_dir: Path) -> tuple[list[str], list[str]]:
    """The ids of readable jobs in that order, and of finished ones that only wait for the
    library."""
    places: dict[str, tuple[bool, float]] = {}
    deferred: list[str] = []
    for id in pending(state_dir):
        with suppress(OutputError, RequestError):
            job = read(id, state_dir)
            if job.deferred_to:
                deferred.append(id)
            else:
                places[id] = job.state == "planned", job.began.timestamp()
    return sorted(places, key=places.__getitem__), deferred


def resolve_id(word: str, state_dir: Path) -> str:
    """The id of the job with this id, or this beginning of an id; `last` began last.

    Raises RequestError if there is none, or if there are several.
    """
    back = count_back(word)
    if back is not None:
        newest = _sort_readable(state_dir)[0][::-1]
        if len(newest) > back:
            return newest[back]
    known = pending(state_dir)
    matches = [id for id in known if word and id.startswith(word.lower())]
    if word not in known and len(matches) > 1:
        raise RequestError(f"{word!r} matches several jobs: {', '.join(matches)}.")
    if len(matches) == 1:
        return matches[0]
    refuse_unknown(word, state_dir)
    return word


def refuse_unknown(id: str, state_dir: Path) -> None:
    """Raises RequestError if no job has this id."""
    known = pending(state_dir)
    if id not in known:
        raise RequestError(
            f"Job {id!r} not found.{did_you_mean(id, known)}",
            remedy="List the jobs with: imagen resume --list",
        )


def read(id: str, state_dir: Path) -> Job:
    """The job with this id.

    Raises RequestError if there is none, OutputError if it cannot be read.
    """
    refuse_unknown(id, state_dir)
    return _parse(_path(id, state_dir))


def _parse(path: Path) -> Job:
    try:
        return Job.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise OutputError(
            f"The job {path} cannot be read; it may be from another version of imagen.",
            remedy="Its images cannot be fetched. Delete the file.",
        ) from error


def _path(id: str, state_dir: Path) -> Path:
    return state_dir / _FOLDER / f"{id}.json"


def _lock_path(id: str, state_dir: Path) -> Path:
    return state_dir / _FOLDER / f"{id}.lock"


def write(job: Job, state_dir: Path) -> None:
    """Write a job to disk, complete, so that it survives a power cut; raises OutputError."""
    path = _path(job.id, state_dir)
    new = path.with_suffix(".new")
    try:
        _make_folder(state_dir)
        new.unlink(missing_ok=True)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(job.model_dump_json().encode())
            file.flush()
            os.fsync(file.fileno())
        _replace(new, path)
    except OSError as error:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise _unwritable(path.parent, error) from error


def _unwritable(folder: Path, error: OSError) -> OutputError:
    return OutputError(
        f"The job cannot be written to {folder}: {error.strerror or error}.",
        remedy="The engine has no job for it. Set IMAGEN_STATE, or state_dir in imagen.yaml.",
    )


def _make_folder(state_dir: Path) -> None:
    make_own_folder(state_dir)
    make_private_folder(state_dir / _FOLDER)


def remove_leftovers(state_dir: Path) -> None:
    """Remove the files that killed processes left beside their jobs; the jobs themselves stay."""
    folder = state_dir / _FOLDER
    if not os.path.isdir(folder):
        return
    for id in {path.stem for kind in ("*.new", "*.lock") for path in folder.glob(kind)}:
        with suppress(OSError):
            if (held := lock(_lock_path(id, state_dir))) is None:
                continue
            try:
                _path(id, state_dir).with_suffix(".new").unlink(missing_ok=True)
            finally:
                held.release()


def _replace(new: Path, path: Path) -> None:
    if sys.platform == "win32":  # a file cannot be replaced while another process reads it
        for pause in _PAUSES:
            with suppress(PermissionError):
                os.replace(new, path)
                return
            time.sleep(pause)
    os.replace(new, path)
    if sys.platform != "win32":
        with suppress(OSError):  # puts the name on disk too; not every file system can
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

"""Jobs on disk: written before anything is submitted, gone once the library knows their pictures.

A job is a ticket and all that is needed to bring it to its end in another process. Its file is
held by a lock as long as somebody works on it, so that nobody else does.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagen.config.paths import make_own_folder
from imagen.core.filesystem import make_private_folder
from imagen.core.ids import count_back, is_id
from imagen.core.locks import Lock, is_held, lock
from imagen.core.request import Request
from imagen.core.text import did_you_mean
from imagen.core.ticket import Ticket
from imagen.errors import (
    Cancelled,
    Failed,
    ImagenError,
    Lost,
    OutputError,
    Rejected,
    RequestError,
    TimedOut,
)
from imagen.library.records import GenerationRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_FOLDER = "tickets"
_OVER = (Failed, Rejected, TimedOut, Cancelled)
"""After these nothing of the job is left at its engine, unless it could not be stopped there."""
_PAUSES = (0.01, 0.05, 0.2, 0.5)


class Job(BaseModel):
    """One ticket on its way. JSON in and out; holds no secret."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    ticket: Ticket
    asked: Request = Field(description="As it was asked.")
    first: int = Field(0, description="Which of the images asked for its first is, from 0.")
    output: dict[str, Any] = Field(
        default_factory=dict, description="Where the pictures are to go, and under which names."
    )
    kind: str = Field("", description="Of the backend's adapter.")
    caller: str = Field("", description="Who asked for it.")
    began: datetime = Field(
        default_factory=lambda: datetime.now().astimezone(),
        description="When work on it began: also what its files are named by.",
    )
    entry: GenerationRecord | None = Field(
        None, description="Once it has come to its end: what the library is to keep of it."
    )

    @property
    def state(self) -> Literal["planned_jobs", "submitted", "saved", "failed"]:
        """How far it has come: not sent yet; perhaps at its engine; its pictures on disk, or
        nothing came of it."""
        if self.entry is not None:
            return "saved" if self.entry.state == "done" else "failed"
        return "submitted" if self.ticket.submitted else "planned_jobs"

    @property
    def id(self) -> str:
        return self.ticket.id

    def of(self, ticket: Ticket) -> Job:
        """The job with its ticket as it is now."""
        return self.model_copy(update={"ticket": ticket})

    def begun(self) -> Job:
        """The job as work on it begins now."""
        return self.model_copy(update={"began": datetime.now().astimezone()})

    def unsent(self) -> Job:
        """The job as it is, once it is certain that its engine never got it."""
        return self.of(self.ticket.model_copy(update={"submitted": False}))

    def renamed(self, id: str) -> Job:
        """The same job under another id, which no engine has heard of."""
        return self.of(self.ticket.model_copy(update={"id": id}))

    def ended(self, entry: GenerationRecord) -> Job:
        return self.model_copy(update={"entry": entry})


@contextmanager
def planned_jobs(jobs: Sequence[Job], state_dir: Path) -> Iterator[None]:
    """Writes several jobs down before the first of them is begun, and holds them for the block.

    Where the block fails, those that were never sent are forgotten: it is known that they were not
    made. Where the process dies, they stay, unless it dies before all are written. Raises
    OutputError where they can't be written, RequestError where another process has one of them in
    hand.
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
        except ImagenError:
            for job in jobs:
                if _is_unsent(job.id, state_dir):
                    forget(job.id, state_dir)
            raise


@contextmanager
def _all_or_none(jobs: Sequence[Job], state_dir: Path) -> Iterator[None]:
    """Names the jobs in a file while they are being written: `left` drops those it still finds."""
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


def _drop_half_planned(folder: Path) -> None:
    """Forget the jobs whose process died before it had written down all of its plan."""
    for plan in folder.glob("*.plan"):
        if not is_worked_on(plan.stem, folder.parent):
            with suppress(OSError):
                for id in plan.read_bytes().decode("ascii", "replace").split():
                    if is_id(id) and _is_unsent(id, folder.parent):
                        forget(id, folder.parent)
                plan.unlink(missing_ok=True)


def _is_unsent(id: str, state_dir: Path) -> bool:
    with suppress(OutputError):
        there = _parse(_path(id, state_dir))
        return not there.ticket.submitted and there.entry is None
    return False


@contextmanager
def lock_job(id: str, state_dir: Path) -> Iterator[None]:
    """Holds a job for the block, whether it is written down yet or not.

    Raises RequestError where another process has it in hand; not where one only looks whether it is
    a leftover, which is over in a moment.
    """
    mine = _hold(id, state_dir)
    for pause in _PAUSES:
        if mine is None:
            time.sleep(pause)
            mine = _hold(id, state_dir)
    if mine is None:
        raise job_busy(id)
    try:
        yield
    finally:
        mine.release()


@contextmanager
def create_jobs(
    job: Job, state_dir: Path, *, is_resumed: bool = False
) -> Iterator[Callable[[Job], None]]:
    """Keeps `job` on disk while the block runs, and after it where the outcome is open.

    The block is given a function that writes the job down anew; once that has been given one with
    an entry, the job stays for the library. An error that leaves pictures at the engine names the
    command that fetches them. One that `is_resumed` stays also where it could not be sent: somebody
    waits for it. Raises OutputError if it can't be written.
    """
    latest = [job]

    def write_anew(changed: Job) -> None:
        latest[0] = changed
        write(changed, state_dir)

    write_anew(job)
    try:
        yield write_anew
    except ImagenError as error:
        if latest[0].entry is not None:
            raise
        if latest[0].ticket.submitted and _left_behind(error):
            remedy = f"Fetch it again with: imagen resume {job.id}"
            raise error.with_remedy(remedy) from error
        if is_resumed and not latest[0].ticket.submitted and not isinstance(error, _OVER):
            raise error.with_remedy(f"Try it again with: imagen resume {job.id}") from error
        forget(job.id, state_dir)
        raise


def _left_behind(error: ImagenError) -> bool:
    """Whether the engine may still have pictures that nobody has fetched, or is yet to make any."""
    if isinstance(error, OutputError):
        return error.lost
    if isinstance(error, Lost):
        return error.never_ran or not error.is_certain
    return not (isinstance(error, _OVER) and error.is_stopped)


def forget(id: str, state_dir: Path) -> None:
    """Take the job away; one that can't be is only in the way."""
    with suppress(OSError):
        _path(id, state_dir).unlink(missing_ok=True)


@contextmanager
def claim(id: str, state_dir: Path) -> Iterator[Job | None]:
    """The job, held for the block; None where another process works on it.

    Raises RequestError where there is none, OutputError where it can't be read.
    """
    with try_lock(id, state_dir) as is_mine:
        yield read(id, state_dir) if is_mine else None


@contextmanager
def try_lock(id: str, state_dir: Path) -> Iterator[bool]:
    """Holds the job for the block, without reading it; False where another process does."""
    refuse_unknown(id, state_dir)
    mine = _hold(id, state_dir)
    try:
        yield mine is not None
    finally:
        if mine is not None:
            mine.release()


def _hold(id: str, state_dir: Path) -> Lock | None:
    path = _lock(id, state_dir)
    try:
        _make_folder(state_dir)
        return lock(path)
    except OSError as error:
        raise OutputError(
            f"Jobs can't be taken in hand in {path.parent}: {error.strerror or error}.",
            remedy="Let imagen write there, or set IMAGEN_STATE, or state_dir in imagen.yaml.",
        ) from error


def list_ids(state_dir: Path) -> list[str]:
    """The ids of `left`, by when work on them began; what was never sent comes after that, and what
    can't be read comes last."""
    readable = _readable(state_dir)
    return [*readable, *(id for id in pending(state_dir) if id not in readable)]


def _readable(state_dir: Path) -> list[str]:
    """In the same order, but for what can't be read."""
    places: dict[str, tuple[bool, float]] = {}
    for id in pending(state_dir):
        with suppress(OutputError, RequestError):
            job = read(id, state_dir)
            places[id] = job.state == "planned_jobs", job.began.timestamp()
    return sorted(places, key=places.__getitem__)


def job_busy(id: str) -> RequestError:
    """The error for a job that another process works on."""
    return RequestError(f"Another process is at work on {id}.", remedy="Let it end first.")


def is_worked_on(id: str, state_dir: Path) -> bool:
    """Whether a process that lives has this job in hand."""
    return is_held(_lock(id, state_dir))


def pending(state_dir: Path) -> list[str]:
    """The ids of the jobs that are not at their end, or whose pictures the library lacks yet."""
    folder = state_dir / _FOLDER
    if not os.path.isdir(folder):
        return []
    _drop_half_planned(folder)
    return sorted(path.stem for path in folder.glob("*.json"))


def resolve_id(word: str, state_dir: Path) -> str:
    """The id of the job that is named by this id, or by its beginning; `last` began last.

    Raises RequestError where none is, or several are.
    """
    back = count_back(word)
    if back is not None and len(newest := _readable(state_dir)[::-1]) > back:
        return newest[back]
    known = pending(state_dir)
    found = [id for id in known if word and id.startswith(word.lower())]
    if word not in known and len(found) > 1:
        raise RequestError(f"{word!r} may mean several tickets: {', '.join(found)}.")
    if len(found) == 1:
        return found[0]
    refuse_unknown(word, state_dir)
    return word


def refuse_unknown(id: str, state_dir: Path) -> None:
    """Raises RequestError where no job of this id is left."""
    known = pending(state_dir)
    if id not in known:
        raise RequestError(
            f"There is no ticket {id!r} left.{did_you_mean(id, known)}",
            remedy="List them with: imagen resume --list",
        )


def read(id: str, state_dir: Path) -> Job:
    """The job of this id.

    Raises RequestError where there is none, OutputError where it can't be read.
    """
    refuse_unknown(id, state_dir)
    return _parse(_path(id, state_dir))


def _parse(path: Path) -> Job:
    try:
        return Job.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise OutputError(
            f"The ticket {path} can't be read; it may be another version's.",
            remedy="What it was for can't be fetched any more. Delete it to be rid of it.",
        ) from error


def _path(id: str, state_dir: Path) -> Path:
    return state_dir / _FOLDER / f"{id}.json"


def _lock(id: str, state_dir: Path) -> Path:
    return state_dir / _FOLDER / f"{id}.lock"


def write(job: Job, state_dir: Path) -> None:
    """Put the job on disk, whole, and so that it outlives a power cut; raises OutputError."""
    path = _path(job.id, state_dir)
    beside = path.with_suffix(".new")
    try:
        _make_folder(state_dir)
        beside.unlink(missing_ok=True)
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(job.model_dump_json().encode())
            file.flush()
            os.fsync(file.fileno())
        _replace(beside, path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise _unwritable(path.parent, error) from error


def _unwritable(folder: Path, error: OSError) -> OutputError:
    return OutputError(
        f"The job can't be written down in {folder}: {error.strerror or error}.",
        remedy="No job is left at the engine for it. "
        "Set IMAGEN_STATE, or state_dir in imagen.yaml.",
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
            if (mine := lock(_lock(id, state_dir))) is None:
                continue
            try:
                _path(id, state_dir).with_suffix(".new").unlink(missing_ok=True)
            finally:
                mine.release()


def _replace(beside: Path, path: Path) -> None:
    """On Windows no file can be replaced while somebody reads it, which is over in a moment."""
    pauses = _PAUSES if sys.platform == "win32" else ()
    for pause in pauses:
        with suppress(PermissionError):
            os.replace(beside, path)
            return
        time.sleep(pause)
    os.replace(beside, path)
    if sys.platform != "win32":
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """The file's name, too, is on the disk then; not every file system can do that."""
    with suppress(OSError):
        there = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(there)
        finally:
            os.close(there)

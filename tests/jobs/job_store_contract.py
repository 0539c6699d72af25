"""What every store does with the job that the pipeline runs: it ends once, whatever is killed."""

from __future__ import annotations

from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Literal, Protocol

import pytest
from PIL import Image
from sqlalchemy import select

from imagen.core.capabilities import Capabilities
from imagen.core.request import Request
from imagen.core.result import Output, Progress, Result, no_progress
from imagen.core.ticket import Ticket, new_id
from imagen.errors import Cancelled, Failed, ImagenError, LetGo, Lost, Unavailable
from imagen.library.schema import generations
from imagen.pipeline.generate import run_job
from imagen.pipeline.record import open_library_synced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imagen.backends.base import Health, Model
    from imagen.config import Settings
    from imagen.core.request import Task
    from imagen.core.result import OnProgress, Stage
    from imagen.jobs.model import Job
    from imagen.jobs.store import JobStore, StoredJob

REQUEST = Request(prompt="a fox", seed=7)


class RemoteEngine:
    """A server that goes on with its jobs, whatever becomes of the process that submitted them."""

    engine = "server http://engine"

    def __init__(self, error: ImagenError | None = None) -> None:
        self.submissions: list[str] = []
        self._error = error

    def capabilities(self, task: Task = "text-to-image", model: str | None = None) -> Capabilities:  # noqa: ARG002
        return Capabilities()

    def models(self) -> tuple[Model, ...]:
        return ()

    def check(self) -> Health:
        raise NotImplementedError

    def prepare(self, request: Request) -> Ticket:
        return Ticket(id=new_id(), backend="gpu", request=request, receipt={})

    def collect(self, ticket: Ticket, on_progress: OnProgress) -> Result:
        if isinstance(self._error, Unavailable):
            raise self._error
        if not ticket.submitted:
            on_progress(Progress(stage="submitted", ticket=ticket.sent()))
            self.submissions.append(ticket.id)
        elif ticket.id not in self.submissions:
            raise Lost("It never arrived.", never_ran=True)
        on_progress(Progress(stage="running", fraction=0.5))
        if self._error is not None:
            raise self._error
        on_progress(Progress(stage="done", fraction=1.0))
        png = BytesIO()
        Image.new("RGB", (8, 8), "teal").save(png, "PNG")
        return Result(outputs=(Output(data=png.getvalue(), media_type="image/png"),))

    def free(self) -> None: ...

    def close(self) -> None: ...


class JobPlace(Protocol):
    """Where one job is kept, as the processes see it that work on it one after the other."""

    settings: Settings

    def begin(self, engine: RemoteEngine) -> tuple[JobStore, Job]:
        """A new job, and its store in the process that is the first to work on it."""

    def adopt(self) -> tuple[JobStore, Job]:
        """The job as it was left, and its store in the process that takes it over.

        The job of a ticket that was not submitted may be a new one.
        """

    def is_left(self) -> bool:
        """Whether there is something to be done about the job."""


class KilledError(BaseException):
    """The process was killed."""


class DyingStore:
    """A store whose process dies when it writes the job again, or when it records it."""

    def __init__(self, store: JobStore, method: Literal["write", "record"]) -> None:
        self._store = store
        self._method = method

    @contextmanager
    def keep(self, job: Job, *, is_resumed: bool = False) -> Iterator[_DyingJob]:
        with self._store.keep(job, is_resumed=is_resumed) as stored:
            yield _DyingJob(stored, self._method)


class _DyingJob:
    def __init__(self, stored: StoredJob, method: str) -> None:
        self.write = stored.write
        self.record = stored.record
        setattr(self, method, self._die)

    def _die(self, *_: object, **__: object) -> str:
        raise KilledError


def raise_at(stage: Stage, error: BaseException) -> Callable[[Progress], None]:
    """A progress callback that raises at this stage; the ticket was written by then."""

    def on_progress(progress: Progress) -> None:
        if progress.stage == stage:
            raise error

    return on_progress


def run_adopted(place: JobPlace, engine: RemoteEngine) -> None:
    """Go on with the job in another process, and submit it if that certainly did not happen."""
    store, job = place.adopt()
    if job.id not in engine.submissions and job.ticket.submitted:
        with pytest.raises(Lost) as caught:
            run_job(engine, job, place.settings, no_progress, store=store, is_resumed=True)
        assert caught.value.never_ran
        job = job.as_unsubmitted()
    run_job(engine, job, place.settings, no_progress, store=store, is_resumed=True)


def read_generations(place: JobPlace) -> list[str]:
    """The state of each generation in the library."""
    with open_library_synced(place.settings) as library, library.reading() as connection:
        return [*connection.execute(select(generations.c.state)).scalars()]


def count_files(place: JobPlace) -> int:
    return len([*place.settings.output.directory.glob("*.png")])


_DEATHS: list[Stage] = ["submitted", "running", "done"]


class JobStoreContract:
    """A subclass provides the fixture `place`."""

    def test_a_job_that_succeeds_is_recorded_once(self, place: JobPlace) -> None:
        engine = RemoteEngine()
        store, job = place.begin(engine)
        run_job(engine, job, place.settings, no_progress, store=store)
        assert (engine.submissions, read_generations(place)) == ([job.id], ["done"])
        assert not place.is_left()

    def test_a_job_that_fails_is_recorded_once(self, place: JobPlace) -> None:
        engine = RemoteEngine(Failed("no"))
        store, job = place.begin(engine)
        with pytest.raises(Failed):
            run_job(engine, job, place.settings, no_progress, store=store)
        assert (read_generations(place), count_files(place)) == (["failed"], 0)
        assert not place.is_left()

    @pytest.mark.parametrize("stage", _DEATHS)
    def test_a_job_whose_process_is_killed_ends_once(self, place: JobPlace, stage: Stage) -> None:
        engine = RemoteEngine()
        store, job = place.begin(engine)
        with pytest.raises(KilledError):
            run_job(engine, job, place.settings, raise_at(stage, KilledError()), store=store)
        assert place.is_left()
        run_adopted(place, engine)
        assert (len(engine.submissions), read_generations(place)) == (1, ["done"])
        assert (count_files(place), place.is_left()) == (1, False)

    def test_a_job_whose_process_is_killed_once_it_is_saved_ends_once(
        self, place: JobPlace
    ) -> None:
        engine = RemoteEngine()
        store, job = place.begin(engine)
        with pytest.raises(KilledError):
            run_job(engine, job, place.settings, no_progress, store=DyingStore(store, "record"))
        assert count_files(place) == 1
        run_adopted(place, engine)
        assert (len(engine.submissions), read_generations(place)) == (1, ["done"])
        assert (count_files(place), place.is_left()) == (1, False)

    @pytest.mark.parametrize("stage", _DEATHS)
    def test_a_job_that_is_let_go_stays_as_it_was_written(
        self, place: JobPlace, stage: Stage
    ) -> None:
        engine = RemoteEngine()
        store, job = place.begin(engine)
        with pytest.raises(LetGo):
            run_job(engine, job, place.settings, raise_at(stage, LetGo("not mine")), store=store)
        assert (read_generations(place), place.is_left()) == ([], True)
        left = place.adopt()[1]
        assert (left.id, left.ticket.submitted, left.record) == (job.id, True, None)

    @pytest.mark.parametrize("error", [Unavailable("away"), Cancelled()], ids=["away", "cancelled"])
    def test_a_job_that_came_to_nothing_is_not_recorded(
        self, place: JobPlace, error: ImagenError
    ) -> None:
        engine = RemoteEngine(error)
        store, job = place.begin(engine)
        with pytest.raises(type(error)):
            run_job(engine, job, place.settings, no_progress, store=store)
        assert read_generations(place) == []

    def test_a_job_is_written_before_it_is_submitted(self, place: JobPlace) -> None:
        engine = RemoteEngine()
        store, job = place.begin(engine)
        with pytest.raises(KilledError):
            run_job(engine, job, place.settings, no_progress, store=DyingStore(store, "write"))
        assert engine.submissions == []
        run_adopted(place, engine)
        assert (len(engine.submissions), read_generations(place)) == (1, ["done"])

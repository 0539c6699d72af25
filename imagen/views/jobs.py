"""Jobs of the queue as JSON, and what is expected of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from pydantic import Field, JsonValue

from imagen.core.capabilities import ParameterOutcome
from imagen.core.json_values import json_safe
from imagen.jobs.model import ENDED, PARENTS, JobKind, QueueState
from imagen.jobs.overview import count_unserved
from imagen.library.events import EventKind
from imagen.views.base import ErrorView, ExactMoment, Moment, View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagen.config import Settings
    from imagen.jobs.model import QueuedJob
    from imagen.jobs.overview import PlainJob, QueueOverview
    from imagen.jobs.sql_store import SqlJobStore
    from imagen.jobs.submit import Submission
    from imagen.library import LibraryImage
    from imagen.library.events import LibraryEvent

_SURE_FRACTION = 0.05
"""From which on the progress of a job says how long it will take."""


def fraction_of(job: QueuedJob) -> float | None:
    """How much of a running job is done, as far as its engine says so."""
    fraction = (job.progress or {}).get("fraction")
    return float(fraction) if isinstance(fraction, int | float) and fraction else None


def expected_start(job: QueuedJob, overview: QueueOverview) -> datetime | None:
    """When a waiting job is expected to start; None if that is unknown."""
    known = overview.forecasts.get(job.id)
    return known.start if known is not None and job.state == "queued" else None


def expected_end(job: QueuedJob, overview: QueueOverview) -> datetime | None:
    """When a job is expected to end; None if that is unknown."""
    if job.kind in PARENTS or job.state == "queued":
        known = overview.forecasts.get(job.id)
        ends = [one for one in overview.running if one.parent == job.id]
        moments = [expected_end(one, overview) for one in ends]
        moments += [known.end] if known is not None else []
        whole = [moment for moment in moments if moment is not None]
        return max(whole, default=None) if len(whole) == len(moments) else None
    if job.state != "running" or job.started is None:
        return None
    fraction, usual = fraction_of(job), overview.usual_seconds.get(job.id)
    elapsed = (overview.now - job.started).total_seconds()
    if fraction is not None and fraction >= _SURE_FRACTION and elapsed >= 1:
        seconds = elapsed / fraction
    elif usual is not None and usual > elapsed:
        seconds = usual
    else:
        return None
    return job.started + timedelta(seconds=seconds)


class JobView(View):
    """A job of the queue."""

    id: str
    kind: JobKind
    name: str = Field(description="Its prompt, or the name of its batch.")
    state: QueueState
    parent: str | None
    number: int = Field(description="Its place within its parent, from 0.")
    pool: str = Field(description="The backend or pool that was asked for.")
    backend: str | None = Field(description="The backend that has it.")
    worker: str | None
    priority: int
    caller: str
    generation: str = Field(description="The id that its generation has in the library.")
    model: str | None = Field(description="Null if the backend's default is used.")
    width: int | None = Field(description="Of its images, in pixels; null as long as unknown.")
    height: int | None
    image_count: int = Field(description="How many images it makes; 0 for a parent.")
    created: ExactMoment
    due: ExactMoment
    started: ExactMoment | None
    ended: ExactMoment | None
    after: str | None = Field(description="The job that must be done before.")
    attempt: int = Field(description="How often a worker began it.")
    failures: int
    position: int | None = Field(description="Its place in line for its pool, from 1.")
    expected_start: Moment | None
    expected_end: Moment | None
    progress: dict[str, JsonValue] | None
    counts: dict[QueueState, int] | None = Field(
        description="Of a parent, how many of its jobs are in each state."
    )
    error: dict[str, JsonValue] | None

    @classmethod
    def of(cls, job: QueuedJob, overview: QueueOverview) -> JobView:
        known = overview.forecasts.get(job.id)
        is_waiting = known is not None and job.state == "queued"
        request = job.job.ticket.request if job.job else job.spec.request if job.spec else None
        return cls(
            id=job.id,
            kind=job.kind,
            name=job.name,
            state=job.state,
            parent=job.parent,
            number=job.number,
            pool=job.pool,
            backend=job.backend or None,
            worker=job.owner or None,
            priority=job.priority,
            caller=job.caller,
            generation=job.ticket_id,
            model=request and request.model,
            width=request and request.width,
            height=request and request.height,
            image_count=(request.count or 1) if request and job.kind not in PARENTS else 0,
            created=job.created,
            due=job.due,
            started=job.started,
            ended=job.ended,
            after=job.after,
            attempt=job.attempt,
            failures=job.failures,
            position=known.position if known is not None and is_waiting else None,
            expected_start=expected_start(job, overview),
            expected_end=None if job.state in ENDED else expected_end(job, overview),
            progress=job.progress,
            counts=overview.counts.get(job.id) if job.kind in PARENTS else None,
            error=job.error,
        )


class PlainJobView(View):
    """A job of a plain command, which is not in the queue."""

    id: str
    kind: Literal["plain"] = "plain"
    name: str | None
    state: Literal["running", "interrupted"]
    backend: str | None
    caller: str
    started: Moment | None
    progress: dict[str, JsonValue] | None
    error: ErrorView | None

    @classmethod
    def of(cls, plain: PlainJob) -> PlainJobView:
        job = plain.job
        return cls(
            id=plain.id,
            name=job.ticket.request.prompt if job else None,
            state=plain.state,
            backend=job.ticket.backend if job else None,
            caller=job.caller if job else "",
            started=job.began if job else None,
            progress={"stage": job.state} if job else None,
            error=ErrorView(code="output", message=plain.error) if plain.error else None,
        )


class EventView(View):
    """A change of a job or of images."""

    seq: int = Field(description="Grows with each event.")
    job: str = Field(description="Empty if it is about no job.")
    at: ExactMoment
    kind: EventKind
    data: dict[str, JsonValue]

    @classmethod
    def of(cls, event: LibraryEvent) -> EventView:
        return cls(seq=event.seq, job=event.job, at=event.at, kind=event.kind, data={**event.data})


class JobDetailView(JobView):
    """A job of the queue, and what happened to it."""

    request: dict[str, JsonValue] | None = Field(description="As submitted; null for a parent.")
    receipt: dict[str, ParameterOutcome] = Field(
        description="What became of each parameter, while it runs."
    )
    deaths: int = Field(description="How many workers died with it.")
    events: tuple[EventView, ...]
    images: tuple[str, ...] = Field(description="The paths of its images.")
    image_ids: tuple[str, ...] = Field(description="The unique ids of its images.")
    jobs: tuple[str, ...] = Field(description="Of a parent: the ids of its jobs.")

    @classmethod
    def build(
        cls,
        job: QueuedJob,
        overview: QueueOverview,
        events: Sequence[LibraryEvent],
        images: Sequence[LibraryImage],
        children: Sequence[str],
    ) -> JobDetailView:
        return cls(
            **dict(JobView.of(job, overview)),
            request=job.spec
            and json_safe(job.spec.request.model_dump(mode="json", exclude_defaults=True)),
            receipt=job.job.ticket.receipt if job.job is not None else {},
            deaths=job.deaths,
            events=tuple(map(EventView.of, events)),
            images=tuple(str(image.path) for image in images),
            image_ids=tuple(image.uid for image in images),
            jobs=tuple(children),
        )


class JobsPageView(View):
    """Jobs: those of plain commands, those that run, wait and are held, and those that ended."""

    jobs: tuple[JobView | PlainJobView, ...]
    after: str | None = Field(description="The last job, after which the next page begins.")

    @classmethod
    def of(cls, overview: QueueOverview, *, has_more: bool = False) -> JobsPageView:
        jobs = [JobView.of(job, overview) for job in overview.jobs]
        last = jobs[-1].id if jobs and has_more else None
        return cls(jobs=(*map(PlainJobView.of, overview.plain), *jobs), after=last)


class EventsPageView(View):
    """What happened to a job, in order."""

    events: tuple[EventView, ...]
    after: int | None = Field(description="The last event, after which the next page begins.")


class WorkerView(View):
    """A running worker."""

    id: str
    host: str
    pid: int
    started: Moment
    seen: Moment
    backends: tuple[str, ...]
    jobs: tuple[str, ...] = Field(description="The ids of the jobs that it has.")


class PauseView(View):
    """Why an engine gets no jobs."""

    until: Moment
    error: dict[str, JsonValue] | None


class WorkersView(View):
    """The running workers, and what they do not serve."""

    workers: tuple[WorkerView, ...]
    paused: dict[str, PauseView] = Field(description="Engines that get no jobs for a while.")
    unserved: dict[str, int] = Field(
        description="How many jobs wait for each pool that no running worker serves."
    )

    @classmethod
    def read(cls, store: SqlJobStore, settings: Settings) -> WorkersView:
        """As it is now."""
        workers, running, now = store.workers(), store.running(), datetime.now(UTC)
        return cls(
            workers=tuple(
                WorkerView(
                    id=one.id,
                    host=one.host,
                    pid=one.pid,
                    started=one.started,
                    seen=one.seen,
                    backends=one.backends,
                    jobs=tuple(job.id for job in running if job.owner == one.id),
                )
                for one in workers
            ),
            paused={
                name: PauseView(until=one.until, error=one.error)
                for name, one in store.pauses().items()
                if one.until > now
            },
            unserved=count_unserved(store.waiting(), workers, settings),
        )


class SubmissionView(View):
    """What was submitted to the queue."""

    job: str | None = Field(
        description="The only job, or the parent of all; null if nothing was new."
    )
    jobs: tuple[str, ...] = Field(description="The jobs, without their parent.")
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, submission: Submission) -> SubmissionView:
        return cls(
            job=submission.id or None,
            jobs=tuple(submission.ids),
            warnings=tuple(submission.warnings),
        )

"""Follow and change the jobs of the queue, and see its workers."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal, TypeVar

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from imagen.core.image_file import media_type
from imagen.errors import NotFound, RequestError
from imagen.jobs.model import QueuedJob, QueueState
from imagen.jobs.overview import list_job_images, read_job_overview, read_overview
from imagen.jobs.resources import find_resources
from imagen.runtime import Runtime
from imagen.runtime.caller import Caller
from imagen.server.state import CallerOf, RuntimeOf, require
from imagen.views.base import GivenMoment, View
from imagen.views.jobs import (
    EventsPageView,
    EventView,
    JobDetailView,
    JobsPageView,
    JobView,
    WorkersView,
)

router = APIRouter(tags=["jobs"])

V = TypeVar("V", bound=View)
_MOST_EVENTS = 1000
_YEAR_SECONDS = 365 * 24 * 3600


class MoveBody(View):
    """Another place in line."""

    priority: int | None = Field(
        None, ge=-1000, le=1000, description="Jobs with a higher number go first."
    )
    first: bool = Field(False, description="Before all other jobs that wait.")
    behind: str | None = Field(
        None, max_length=100, description="Directly behind this job or parent, which waits too."
    )
    due: GivenMoment | None = Field(None, description="Not before this moment.")


@router.get("/jobs")
def list_jobs(
    runtime: RuntimeOf,
    caller: CallerOf,
    state: Annotated[
        list[QueueState | Literal["interrupted"]] | None,
        Query(description="Only jobs in this state; may be repeated."),
    ] = None,
    backend: Annotated[str | None, Query(description="Only jobs for this backend or pool.")] = None,
    parent: Annotated[
        str | None, Query(description="The jobs of this batch, comparison or request.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    after: Annotated[str | None, Query(description="The last job of the page before.")] = None,
) -> JobsPageView:
    """List the jobs that run, then those in line, then those that ended, newest first."""
    store = runtime.store
    overview = read_overview(
        store,
        runtime.settings,
        states=state or (),
        pool=backend,
        parent=None if parent is None else store.resolve_id(parent),
        most_active=limit + 1,
        most_ended=limit + 1,
        after=after,
    )
    has_more = len(overview.jobs) > limit
    page = JobsPageView.of(replace(overview, jobs=overview.jobs[:limit]), has_more=has_more)
    return _for(caller, page)


@router.get("/jobs/{id}")
def get_job(id: str, runtime: RuntimeOf, caller: CallerOf) -> JobDetailView:
    """One job: its request, what happened to it, and its images."""
    job = _find(id, runtime)
    store = runtime.store
    detail = JobDetailView.build(
        job,
        read_job_overview(job, store, runtime.settings),
        store.events_after(0, job=job.id, limit=_MOST_EVENTS),
        list_job_images(job, store),
        store.list_children(job.id),
    )
    return _for(caller, detail)


@router.get("/jobs/{id}/events")
def list_events(
    id: str,
    runtime: RuntimeOf,
    caller: CallerOf,
    after: Annotated[int, Query(ge=0, le=2**53, description="The last event known.")] = 0,
    limit: Annotated[int, Query(ge=1, le=_MOST_EVENTS)] = _MOST_EVENTS,
) -> EventsPageView:
    """What happened to a job."""
    job = _find(id, runtime)
    events = runtime.store.events_after(after, job=job.id, limit=limit)
    last = events[-1].seq if len(events) == limit else None
    return _for(caller, EventsPageView(events=tuple(map(EventView.of, events)), after=last))


@router.get(
    "/jobs/{id}/preview",
    response_class=Response,
    responses={200: {"content": {"image/*": {}}, "description": "The latest preview."}},
)
def get_preview(id: str, runtime: RuntimeOf) -> Response:
    """The latest preview of a running job."""
    image = runtime.store.preview(_find(id, runtime).id)
    if image is None:
        raise NotFound("This job has no preview: it does not run, or its engine sends none.")
    return Response(
        image,
        media_type=media_type(image) or "application/octet-stream",
        headers={"Cache-Control": "no-store"},
    )


@router.post("/jobs/{id}/cancel")
def cancel_job(id: str, runtime: RuntimeOf, caller: CallerOf) -> JobView:
    """Cancel a job, or all jobs of a parent.

    One that waits ends at once; that of an engine once its worker has confirmed it. A job that has
    ended is not changed.
    """
    job = _find(id, runtime)
    runtime.store.cancel(job.id)
    return _view(job.id, runtime, caller)


@router.post("/jobs/{id}/retry")
def retry_job(
    id: str,
    runtime: RuntimeOf,
    caller: CallerOf,
    confirm: Annotated[
        bool, Query(description="Also if it may have run already, and cost money.")
    ] = False,
) -> JobView:
    """Run a job again that failed, was cancelled or lost, or all such jobs of a parent."""
    job = _find(id, runtime)
    try:
        runtime.store.retry(job.id, is_confirmed=confirm)
    except RequestError as error:
        remedy = error.remedy.replace("add --resubmit", "set confirm=true")
        raise error.replace(remedy=remedy) from error
    return _view(job.id, runtime, caller)


@router.patch("/jobs/{id}")
def move_job(id: str, body: MoveBody, runtime: RuntimeOf, caller: CallerOf) -> JobView:
    """Change the place in line of a waiting job, or of the waiting jobs of a parent."""
    places = [body.first, body.priority is not None, body.behind is not None]
    if sum(places) > 1:
        raise RequestError("first, behind and priority exclude each other. Use one of them.")
    if not any(places) and body.due is None:
        raise RequestError("Say where to move it: first, behind, priority or due.")
    job = _find(id, runtime)
    if body.behind is not None:
        runtime.store.move_behind(job.id, _find(body.behind, runtime).id)
    if body.behind is not None and body.due is None:
        return _view(job.id, runtime, caller)
    priority = runtime.store.first_priority() if body.first else body.priority
    runtime.store.move(job.id, priority=priority, due=body.due)
    return _view(job.id, runtime, caller)


@router.get("/workers")
def list_workers(runtime: RuntimeOf, caller: CallerOf) -> WorkersView:
    """The running workers, the engines that are paused, and what no worker serves."""
    return _for(caller, WorkersView.read(runtime.store, runtime.settings))


@router.post("/backends/{name}/pause", dependencies=[Depends(require("admin"))])
def pause_backend(
    name: str,
    runtime: RuntimeOf,
    caller: CallerOf,
    seconds: Annotated[
        float, Query(gt=0, le=_YEAR_SECONDS, allow_inf_nan=False, description="For how long.")
    ] = _YEAR_SECONDS,
) -> WorkersView:
    """Give no new jobs to the engine of a backend, and of all backends that share it."""
    error = {"code": "paused", "message": "It was paused by a user."}
    for resource in find_resources([name], runtime.settings):
        runtime.store.pause(resource.name, seconds, {**error}, is_failure=False)
    return list_workers(runtime, caller)


@router.post("/backends/{name}/unpause", dependencies=[Depends(require("admin"))])
def unpause_backend(name: str, runtime: RuntimeOf, caller: CallerOf) -> WorkersView:
    """Give jobs to the engine of a backend again."""
    for resource in find_resources([name], runtime.settings):
        runtime.store.unpause(resource.name)
    runtime.store.queue.wake()
    return list_workers(runtime, caller)


def _find(word: str, runtime: Runtime) -> QueuedJob:
    return runtime.store.read(runtime.store.resolve_id(word))


def _view(id: str, runtime: Runtime, caller: Caller) -> JobView:
    job = runtime.store.read(id)
    return _for(caller, JobView.of(job, read_job_overview(job, runtime.store, runtime.settings)))


def _for(caller: Caller, view: V) -> V:
    """The view as this caller may see it."""
    return view if caller.is_local else view.without_paths()

"""Calls of A1111's clients while they are worked on: run them, follow them, stop them."""

from __future__ import annotations

import asyncio
import base64
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect

from imagen.jobs.model import ENDED, PARENTS
from imagen.outputs.redact import strip_paths
from imagen.runtime.client_requests import parse_client_request
from imagen.runtime.run import submit_client_request
from imagen.views.jobs import fraction_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import Request

    from imagen.jobs.model import QueuedJob
    from imagen.library import LibraryImage
    from imagen.runtime import Runtime
    from imagen.runtime.caller import Caller
    from imagen.server.a1111.translate import A1111Plan
    from imagen.server.state import AppState

_MOST_CHILDREN = 1024


@dataclass(eq=False)
class A1111Run:
    """One call, and the jobs that it waits for."""

    name: str
    images: int
    """How many it is to make."""
    stages: int
    stage: int = 0
    jobs: list[str] = field(default_factory=list)
    """Those of this stage."""
    began: float = field(default_factory=time.monotonic)
    timestamp: str = field(default_factory=lambda: datetime.now().strftime("%Y%m%d%H%M%S"))
    is_interrupted: bool = False
    is_skipped: bool = False


@dataclass
class A1111Session:
    """What the API remembers of a caller: its model, and its calls."""

    model: str = ""
    """The title that it chose; empty is the server's default."""
    runs: list[A1111Run] = field(default_factory=list)

    def interrupt(self, runtime: Runtime) -> None:
        """Stop all its calls: they answer with the images that they have."""
        for run in [*self.runs]:
            run.is_interrupted = True
            for job in run.jobs:
                runtime.store.cancel(job)

    def skip(self, runtime: Runtime) -> None:
        """Give up the image that its oldest call works on."""
        for run in self.runs[:1]:
            run.is_skipped = True
            if current := _find_current(_read_jobs(run, runtime)):
                runtime.store.cancel(current.id)


@dataclass(frozen=True)
class A1111Outcome:
    """What a call made."""

    images: Sequence[LibraryImage]
    drawn: Sequence[LibraryImage]
    """For each of them the image that a prompt gave, before it was only upscaled or restored."""
    notes: Sequence[str]


async def run_plan(
    name: str, plan: A1111Plan, state: AppState, caller: Caller, http: Request
) -> A1111Outcome | None:
    """Submit the requests of a plan, one stage after the other, and wait for them.

    None if the client has left: its jobs are cancelled. Raises ImagenError if there is no image,
    unless the client stopped it.
    """
    session = state.a1111_session(caller)
    count = plan.first.get("count", 1)
    run = A1111Run(name, count, stages=1 + len(plan.later))
    session.runs.append(run)
    notes: list[str] = [*plan.notes]
    images: list[LibraryImage] = []
    drawn: list[LibraryImage] = []
    try:
        for run.stage, values in enumerate([plan.first, *plan.later]):
            requests = [values]
            if run.stage:
                seeds = [one.seed for one in drawn] if "prompt" in values else [None] * len(images)
                requests = [
                    {**values, "image": f"image:{image.uid}"}
                    | ({} if seed is None else {"seed": seed})
                    for image, seed in zip(images, seeds, strict=True)
                ]
            submitted = await asyncio.to_thread(_submit, requests, plan, run, state, caller)
            notes += [note for note in submitted if note not in notes]
            images = []
            for job in [*run.jobs]:
                finished = await state.run_to_end(job, http)
                if finished is None:
                    raise ClientDisconnect
                images += [one for one in finished.images if one.media_type.startswith("image/")]
                error = finished.error
                if error is not None and not (run.is_interrupted or run.is_skipped):
                    if not images:
                        raise error
                    notes.append(error.message)
            if "prompt" in values or len(images) != len(drawn):
                drawn = images
            if run.is_interrupted:
                break
    except Exception as error:  # a server that stops cancels the call and not its jobs
        for job in [] if http.app.state.requests.is_stopping else run.jobs:
            await asyncio.to_thread(state.runtime.store.cancel, job)
        if isinstance(error, ClientDisconnect):
            return None
        raise
    finally:
        session.runs.remove(run)
    if not caller.is_local:
        notes = [strip_paths(note) for note in notes]
    return A1111Outcome(images, drawn, notes)


def _submit(
    requests: Sequence[dict[str, Any]],
    plan: A1111Plan,
    run: A1111Run,
    state: AppState,
    caller: Caller,
) -> list[str]:
    """Submit the requests of a stage; warnings about them."""
    runtime, warnings = state.runtime, list[str]()
    run.jobs = []
    for values in requests:
        request = parse_client_request(values, runtime)
        submitted = submit_client_request(request, runtime, caller, backend=plan.backend)
        run.jobs.append(submitted.id)
        warnings += submitted.warnings
        if run.is_interrupted:
            runtime.store.cancel(submitted.id)
            break
    return warnings


def _read_jobs(run: A1111Run, runtime: Runtime) -> list[QueuedJob]:
    """The jobs of the run's stage, those of a parent in its place."""
    jobs: list[QueuedJob] = []
    for id in run.jobs:
        job = runtime.store.read(id)
        is_parent = job.kind in PARENTS
        jobs += runtime.store.list_jobs(parent=id, limit=_MOST_CHILDREN) if is_parent else [job]
    return jobs


def _find_current(jobs: Sequence[QueuedJob]) -> QueuedJob | None:
    """The job that is worked on, else the next one."""
    waiting = [job for job in jobs if job.state not in ENDED]
    return min(waiting, key=lambda job: job.state != "running", default=None)


def describe_progress(
    session: A1111Session, runtime: Runtime, *, with_image: bool
) -> dict[str, Any]:
    """The answer of `progress`: about the oldest call of the caller."""
    run = next(iter([*session.runs]), None)
    state = {
        "skipped": False,
        "interrupted": False,
        "stopping_generation": False,
        "job": "",
        "job_count": 0,
        "job_timestamp": "0",
        "job_no": 0,
        "sampling_step": 0,
        "sampling_steps": 0,
    }
    idle = {
        "progress": 0.0,
        "eta_relative": 0.0,
        "state": state,
        "current_image": None,
        "textinfo": None,
    }
    if run is None:
        return idle
    jobs = _read_jobs(run, runtime)
    current = _find_current(jobs)
    done = sum(job.state in ENDED for job in jobs)
    running = sum(fraction_of(job) or 0.0 for job in jobs if job.state not in ENDED)
    progress = (run.stage + (done + running) / max(1, len(jobs))) / run.stages
    elapsed = time.monotonic() - run.began
    details = (current.progress if current is not None else None) or {}
    preview = runtime.store.preview(current.id) if current is not None and with_image else None
    state |= {
        "skipped": run.is_skipped,
        "interrupted": run.is_interrupted,
        "job": run.name,
        "job_count": run.images * run.stages,
        "job_timestamp": run.timestamp,
        "job_no": run.images * run.stage + done,
        "sampling_step": details.get("step") or 0,
        "sampling_steps": details.get("steps") or 0,
    }
    return idle | {
        "progress": round(min(progress, 0.999), 4),
        "eta_relative": round(elapsed / progress - elapsed, 2) if progress > 0.01 else 0.0,
        "state": state,
        "current_image": base64.b64encode(preview).decode() if preview else None,
    }

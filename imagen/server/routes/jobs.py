"""Submit requests, and follow and change the jobs of the queue."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from pydantic import Field

from imagen.jobs.overview import read_overview
from imagen.runtime.client_requests import parse_client_request
from imagen.runtime.run import submit_client_request
from imagen.server.state import CallerOf, RuntimeOf
from imagen.views.base import View
from imagen.views.jobs import JobView, SubmissionView

router = APIRouter(tags=["jobs"])


class GenerationBody(View):
    """A request to submit."""

    request: dict[str, Any] = Field(description="The parameters of the request.")
    backend: str = Field("", description="A backend or a pool; by default as the server says.")


@router.post("/generations", status_code=202)
def submit_generation(body: GenerationBody, runtime: RuntimeOf, caller: CallerOf) -> SubmissionView:
    """Submit a request to the queue."""
    request = parse_client_request(body.request, runtime)
    made = submit_client_request(request, runtime, caller, backend=body.backend)
    return SubmissionView(job=made.id, jobs=tuple(made.ids), warnings=tuple(made.warnings))


@router.get("/jobs/{id}")
def get_job(id: str, runtime: RuntimeOf) -> JobView:
    """One job."""
    job = runtime.store.read(runtime.store.resolve_id(id))
    overview = read_overview(runtime.store, runtime.settings, parent=job.id)
    overview = replace(overview, counts=runtime.store.children_counts([job.id]))
    return JobView.of(job, overview)

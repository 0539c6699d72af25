"""Submit requests, wait for their images, and estimate what they would cost."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request, Response
from pydantic import Field

from imagen.errors import RequestError
from imagen.jobs.submit import SubmitOptions
from imagen.runtime import Runtime
from imagen.runtime.caller import Caller
from imagen.runtime.client_requests import expand_wildcards, parse_client_request
from imagen.runtime.estimates import estimate_requests
from imagen.runtime.run import describe_result, read_result, submit_client_request
from imagen.server.state import CallerOf, RuntimeOf, State, require
from imagen.views.base import GivenMoment, View
from imagen.views.estimates import EstimateView
from imagen.views.generations import ResultView
from imagen.views.jobs import SubmissionView
from imagen.views.requests import RequestValues

router = APIRouter(tags=["generations"])

_LONGEST_WAIT_SECONDS = 3600.0
_LONGEST_KEY = 200
_SECONDS = re.compile(r"[0-9]{1,6}")
Wait = Annotated[
    float | None,
    Query(
        ge=0,
        le=_LONGEST_WAIT_SECONDS,
        allow_inf_nan=False,
        description="Wait so many seconds for the result. The job goes on if the time is over, or "
        "if the client leaves.",
    ),
]
Prefer = Annotated[
    str | None,
    Header(max_length=400, description="`wait=30` or `wait`: as the parameter `wait` (RFC 7240)."),
]
IdempotencyKey = Annotated[
    str | None,
    Header(max_length=_LONGEST_KEY, description="Submitted twice with one key, it is one job."),
]


class QueueBody(View):
    """How jobs are put in line."""

    backend: str = Field("", description="A backend or a pool; by default as the server says.")
    priority: int = Field(0, ge=-1000, le=1000, description="Jobs with a higher number go first.")
    at: GivenMoment | None = Field(None, description="Not before this moment.")
    after: str | None = Field(None, description="Once this job is done.")
    strict: bool = Field(
        False, description="Whether a parameter that the backend cannot honour is an error."
    )
    over_budget: bool = Field(
        False, description="Whether budgets do not apply; this needs the scope `admin`."
    )

    def check_caller(self, caller: Caller) -> None:
        """Refuse a caller who may not do this. Raises HTTPException."""
        if self.over_budget and "admin" not in caller.scopes:
            raise HTTPException(403, "over_budget needs a token with the scope admin.")

    def as_options(self, runtime: Runtime, caller: Caller) -> SubmitOptions:
        """How the requests of this caller are submitted. Raises HTTPException."""
        self.check_caller(caller)
        return SubmitOptions(
            backend=self.backend or runtime.backend,
            priority=self.priority,
            at=self.at,
            after=self.after,
            strict=self.strict,
            over_budget=self.over_budget,
            caller=caller.name,
            is_served=runtime.has_worker,
        )


class GenerationBody(QueueBody):
    """A request to submit."""

    request: RequestValues = Field(description="What to generate.")
    literal: bool = Field(False, description="Whether to send prompts without wildcards.")
    key: str | None = Field(
        None,
        min_length=1,
        max_length=_LONGEST_KEY,
        description="Submitted twice with one key, it is one job; as the header Idempotency-Key.",
    )


class EstimateBody(View):
    """A request to estimate."""

    request: RequestValues = Field(description="What would be generated.")
    backend: str = Field("", description="A backend or a pool; by default as the server says.")
    literal: bool = False
    strict: bool = False


@router.post(
    "/generations",
    status_code=202,
    responses={200: {"model": ResultView, "description": "The result, if it was waited for."}},
)
async def submit_generation(
    body: GenerationBody,
    http: Request,
    response: Response,
    state: State,
    caller: CallerOf,
    wait: Wait = None,
    prefer: Prefer = None,
    idempotency_key: IdempotencyKey = None,
) -> SubmissionView | ResultView:
    """Submit a request to the queue, and perhaps wait for its images."""
    if body.key and idempotency_key and body.key != idempotency_key:
        raise RequestError("key and the header Idempotency-Key differ. Use one of them.")
    body.check_caller(caller)
    runtime = state.runtime

    def submit() -> SubmissionView:
        request = parse_client_request(body.request, runtime)
        requests = [request] if body.literal else expand_wildcards(request, runtime)
        submission = submit_client_request(
            requests,
            runtime,
            caller,
            backend=body.backend,
            priority=body.priority,
            at=body.at,
            after=body.after,
            key=body.key or idempotency_key,
            is_strict=body.strict,
            is_over_budget=body.over_budget,
        )
        made = SubmissionView.of(submission)
        return made if caller.is_local else made.without_paths()

    submission = await asyncio.to_thread(submit)
    id = str(submission.job)
    response.headers["Location"] = http.url_for("get_generation", id=id).path
    for preference in (prefer or "").split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        seconds = value.strip().strip('"') or f"{_LONGEST_WAIT_SECONDS:.0f}"
        if wait is None and name.strip().lower() == "wait" and _SECONDS.fullmatch(seconds):
            wait = min(float(seconds), _LONGEST_WAIT_SECONDS)
            response.headers["Preference-Applied"] = "wait" + (f"={seconds}" if value else "")
    finished = None if wait is None else await state.wait_while_connected(id, http, wait)
    if finished is None:
        return submission
    response.status_code = 200
    return await asyncio.to_thread(
        describe_result, finished, runtime, caller, warnings=submission.warnings
    )


@router.get("/generations/{id}")
async def get_generation(
    id: str, http: Request, state: State, caller: CallerOf, wait: Wait = None
) -> ResultView:
    """What became of a submission so far, and its images."""
    runtime = state.runtime
    id = await asyncio.to_thread(runtime.store.resolve_id, id)
    finished = None if wait is None else await state.wait_while_connected(id, http, wait)
    if finished is not None:
        return await asyncio.to_thread(describe_result, finished, runtime, caller)
    return await asyncio.to_thread(read_result, id, runtime, caller)


@router.post("/estimate", dependencies=[Depends(require("read"))])
def estimate(body: EstimateBody, runtime: RuntimeOf, caller: CallerOf) -> EstimateView:
    """Estimate the cost and the time of a request. Nothing is sent."""
    request = parse_client_request(body.request, runtime)
    requests = [request] if body.literal else expand_wildcards(request, runtime)
    estimate = estimate_requests(
        requests,
        runtime,
        backend=body.backend,
        is_strict=body.strict,
        caller=caller.name or None,
    )
    return estimate if caller.is_local else estimate.without_paths()

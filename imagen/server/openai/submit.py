"""Submit a call as jobs of the queue: once, although clients repeat calls by themselves.

OpenAI's clients repeat a call after a lost connection, a timeout of their own, and the statuses
408, 409, 429 and 5xx. So a repetition gets the job of the call before, and a job that may have run
never ends in one of these statuses.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from imagen.core.ticket import new_id
from imagen.errors import RateLimited, Rejected, RequestError, Unavailable
from imagen.runtime.run import read_finished, submit_client_request
from imagen.server.openai.requests import build_request
from imagen.server.problems import status_of

if TYPE_CHECKING:
    from starlette.datastructures import Headers

    from imagen.errors import ImagenError
    from imagen.jobs.model import QueuedJob
    from imagen.runtime import Runtime
    from imagen.runtime.caller import Caller
    from imagen.server.openai.bodies import ImageCall

RETURN_SECONDS = 10.0
"""How long the job of an OpenAI client goes on after it left, which may repeat the call."""
_LONGEST_RETRY = timedelta(hours=1)
_FAILED_STATUS = 424
"""Of a job that failed and may have run: no client repeats it."""


class SubmittedCall(NamedTuple):
    """The job of a call."""

    id: str
    return_seconds: float | None
    """How long it goes on after its client left; None for as long as it takes."""
    caller: Caller
    warnings: tuple[str, ...] = ()


def submit_call(
    call: ImageCall, headers: Headers, runtime: Runtime, caller: Caller
) -> SubmittedCall:
    """Submit a call, unless it repeats one. Raises what is wrong with it."""
    made = build_request(call, runtime)
    text = f"{made.backend}\n{made.request.model_dump_json(exclude_defaults=True)}"
    digest = sha256(text.encode()).hexdigest()
    own_key = headers.get("idempotency-key", "")
    retries = headers.get("x-stainless-retry-count")
    if own_key:
        prefix = f"openai/{sha256(own_key.encode()).hexdigest()}/"
        key, return_seconds = f"{prefix}{digest}", None
        known = runtime.store.find_newest_key(f"{caller.name}/{prefix}")
        if known is not None and not known[0].endswith(digest):
            raise RequestError("Idempotency-Key: it was used for another request.")
    elif retries is not None:
        prefix = f"openai-retry/{digest}/"
        key, return_seconds = f"{prefix}{new_id()}", RETURN_SECONDS
        known = runtime.store.find_newest_key(f"{caller.name}/{prefix}") if retries != "0" else None
        if known is not None and not _is_same_call(known[1], runtime):
            known = None
    else:
        key, return_seconds, known = None, 0.0, None
    if known is not None:
        return SubmittedCall(known[1].id, return_seconds, caller)
    done = submit_client_request(made.request, runtime, caller, backend=made.backend, key=key)
    return SubmittedCall(done.id, return_seconds, caller, (*made.warnings, *done.warnings))


def _is_same_call(job: QueuedJob, runtime: Runtime) -> bool:
    """Whether a repeated call is to get this job, which the one before submitted.

    Not one that was cancelled since the client took long to come back, nor one that did not run.
    """
    if job.created < datetime.now(UTC) - _LONGEST_RETRY or job.state == "cancelled":
        return False
    finished = read_finished(job.id, runtime)
    error = finished.error if finished is not None else None
    return error is None or status_of_failure(error) == _FAILED_STATUS


def status_of_failure(error: ImagenError) -> int:
    """The status of a job that ended without an image.

    Clients repeat calls by themselves only where certainly nothing ran.
    """
    if isinstance(error, RequestError | Rejected):
        return 400 if status_of(error) == 422 else status_of(error)
    if isinstance(error, Unavailable | RateLimited):
        return status_of(error)
    return _FAILED_STATUS

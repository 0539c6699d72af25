"""Submit many requests at once, as `imagen batch` does."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from imagen.batch.prompt_files import PromptFormat
from imagen.errors import RequestError
from imagen.runtime.batches import submit_client_batch
from imagen.runtime.client_requests import parse_client_request
from imagen.server.routes.generations import QueueBody
from imagen.server.state import CallerOf, RuntimeOf
from imagen.views.batches import SubmittedBatchView
from imagen.views.requests import RequestValues

router = APIRouter(tags=["batches"])


class BatchBody(QueueBody):
    """Many requests: the content of a prompt file, or rows."""

    name: str = Field(
        "http", min_length=1, max_length=100, description="Also of the folder of its images."
    )
    prompts: str | None = Field(None, description="A prompt on each line, CSV, or JSON lines.")
    format: PromptFormat = Field("text", description="Of `prompts`.")
    rows: Annotated[list[dict[str, Any]], Field(max_length=100_000)] | None = Field(
        None, description="Instead: fields of a request, `backend` and `output`, for each request."
    )
    defaults: RequestValues = Field({}, description="Values for what a row leaves out.")
    template: str | None = Field(
        None, description="The prompt of each row, with its columns in braces."
    )
    literal: bool = Field(False, description="Whether to send prompts without wildcards.")
    combinatorial: bool = Field(False, description="Every combination of the wildcards.")


@router.post("/batches", status_code=202)
def submit_batch(
    body: BatchBody, http: Request, response: Response, runtime: RuntimeOf, caller: CallerOf
) -> SubmittedBatchView:
    """Submit many requests. Those that were submitted before are not submitted again."""
    if (body.prompts is None) == (body.rows is None):
        raise RequestError("Give either prompts or rows.")
    if body.literal and body.combinatorial:
        raise RequestError("combinatorial and literal exclude each other. Use one of them.")
    rows = "\n".join(map(json.dumps, body.rows or ()))
    made = submit_client_batch(
        (rows if body.prompts is None else body.prompts).encode("utf-8", "replace"),
        "jsonl" if body.prompts is None else body.format,
        runtime,
        body.as_options(runtime, caller),
        name=body.name,
        defaults=parse_client_request(body.defaults, runtime),
        template=body.template,
        is_literal=body.literal,
        is_combinatorial=body.combinatorial,
    )
    if made.job is not None:
        response.headers["Location"] = http.url_for("get_generation", id=made.job).path
    return made

"""Compare backends on one request, and get the sheets and the report."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import FileResponse, HTMLResponse
from pydantic import Field

from imagen.comparison.axes import Axis
from imagen.runtime.client_requests import parse_client_request
from imagen.runtime.comparisons import (
    build_portable_report,
    estimate_client_comparison,
    estimate_extension,
    extend_comparison,
    find_comparison_file,
    list_comparisons,
    read_client_comparison,
    submit_client_comparison,
)
from imagen.server.routes.generations import QueueBody
from imagen.server.state import CallerOf, RuntimeOf, require
from imagen.views.comparisons import (
    ComparisonEstimateView,
    ComparisonsView,
    ComparisonView,
    SubmittedComparisonView,
)
from imagen.views.requests import RequestValues

router = APIRouter(tags=["comparisons"])

_PAGE_POLICY = {"Content-Security-Policy": "frame-ancestors 'none'"}
"""The report has a policy of its own: its own script, and the images beside it. In a sandbox these
would be images of another server, which the browser does not load."""


class ComparisonBody(QueueBody):
    """What to compare."""

    request: RequestValues = Field(description="What all cells share.")
    models: Annotated[list[str], Field(min_length=1, max_length=100)] = Field(
        description="The backends and pools, in order."
    )
    vary: Annotated[list[Axis], Field(max_length=10)] = Field(
        [], description="The parameters that change, each with its values."
    )
    skip: Annotated[list[Axis], Field(max_length=10)] = Field(
        [], description="Values of axes, or of `backend`, that are left out this time."
    )
    literal: bool = Field(False, description="Whether to send prompts without wildcards.")
    own_seeds: bool = Field(
        False, description="Whether each cell has a seed of its own; by default all share one."
    )


class ExtensionBody(QueueBody):
    """What a comparison is to have beside what it has."""

    models: Annotated[list[str], Field(max_length=100)] = Field(
        [], description="The backends and pools to generate with; by default all that it has."
    )
    vary: Annotated[list[Axis], Field(max_length=10)] = Field(
        [], description="The values to generate, of some of its axes; all values of the others."
    )
    literal: bool = Field(False, description="Whether to send prompts without wildcards.")


@router.post("/comparisons", status_code=202)
def start_comparison(
    body: ComparisonBody, http: Request, response: Response, runtime: RuntimeOf, caller: CallerOf
) -> SubmittedComparisonView:
    """Compare backends. The same request continues its comparison: only what is missing is made."""
    made = submit_client_comparison(
        parse_client_request(body.request, runtime),
        body.models,
        runtime,
        body.as_options(runtime, caller),
        axes=body.vary,
        skip=body.skip,
        is_literal=body.literal,
        has_own_seeds=body.own_seeds,
    )
    response.headers["Location"] = http.url_for("get_comparison", id=made.id).path
    return made


@router.post("/comparisons/estimate", dependencies=[Depends(require("read"))])
def estimate_comparison(body: ComparisonBody, runtime: RuntimeOf) -> ComparisonEstimateView:
    """What a comparison would cost and take. Nothing is sent."""
    return estimate_client_comparison(
        parse_client_request(body.request, runtime),
        body.models,
        runtime,
        axes=body.vary,
        skip=body.skip,
        strict=body.strict,
        is_literal=body.literal,
        has_own_seeds=body.own_seeds,
    )


@router.get("/comparisons")
def get_comparisons(
    runtime: RuntimeOf, limit: Annotated[int, Query(ge=1, le=500)] = 100
) -> ComparisonsView:
    """List the comparisons, the last that was changed first."""
    return list_comparisons(runtime, limit=limit)


@router.get("/comparisons/{id}")
def get_comparison(id: str, runtime: RuntimeOf, caller: CallerOf) -> ComparisonView:
    """A comparison: its cells, how far they are, and the names of its files."""
    view = read_client_comparison(id, runtime)
    return view if caller.is_local else view.without_paths()


@router.post("/comparisons/{id}", status_code=202)
def extend_one_comparison(
    id: str, body: ExtensionBody, runtime: RuntimeOf, caller: CallerOf
) -> SubmittedComparisonView:
    """Add backends and values to a comparison, or repeat what failed: only what is missing is made.

    Its sheets and its report are drawn again. A comparison that is being generated gets more jobs.
    """
    options = body.as_options(runtime, caller)
    return extend_comparison(id, body.models, body.vary, runtime, options, is_literal=body.literal)


@router.post("/comparisons/{id}/estimate", dependencies=[Depends(require("read"))])
def estimate_extended_comparison(
    id: str, body: ExtensionBody, runtime: RuntimeOf
) -> ComparisonEstimateView:
    """What the missing cells of a comparison would cost and take. Nothing is sent."""
    return estimate_extension(id, body.models, body.vary, runtime)


@router.get(
    "/comparisons/{id}/report",
    response_class=HTMLResponse,
    responses={200: {"content": {"text/html": {}}}},
)
def get_portable_report(id: str, runtime: RuntimeOf) -> HTMLResponse:
    """The report as one file with its images, which needs neither the server nor other files."""
    page = build_portable_report(id, runtime)
    name = {"Content-Disposition": f'attachment; filename="{id}.html"'}
    return HTMLResponse(page, headers=_PAGE_POLICY | name)


@router.get(
    "/comparisons/{id}/files/{name}",
    response_class=FileResponse,
    responses={200: {"content": {"image/*": {}, "text/html": {}, "application/json": {}}}},
)
def get_comparison_file(id: str, name: str, runtime: RuntimeOf) -> FileResponse:
    """A contact sheet, the report, the record, or an image of a comparison."""
    path = find_comparison_file(id, name, runtime)
    return FileResponse(path, headers=_PAGE_POLICY if path.suffix == ".html" else None)

"""The state of the server, usage and budgets, doctor and the configuration."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import JsonValue

from imagen.core.json_values import json_safe
from imagen.doctor import check_config
from imagen.doctor.config_check import ConfigReport
from imagen.engines.configuration import describe_settings
from imagen.errors import RequestError
from imagen.library import add_totals, sum_usage
from imagen.library.ledger import UsageGrouping, list_model_usage, list_rows
from imagen.outputs.redact import redact_record
from imagen.pipeline.budgets import read_budget_use
from imagen.runtime import Runtime
from imagen.runtime.status import read_status
from imagen.runtime.usage_export import write_csv, write_json
from imagen.server.state import CallerOf, RuntimeOf, require
from imagen.views.doctor import ConfigReportView, DoctorView
from imagen.views.status import StatusView
from imagen.views.usage import (
    BudgetsView,
    BudgetView,
    ModelsUsageView,
    ModelUsageView,
    UsageRowsView,
    UsageRowView,
    UsageView,
)

router = APIRouter(tags=["system"])
_FIRST_YEAR, _LAST_YEAR = 1971, 9000
_MOST_ROWS = 10_000

Since = Annotated[
    datetime | None,
    Query(description="From this day or moment on; without a zone, in that of usage.timezone."),
]
Until = Annotated[datetime | None, Query(description="Before this day or moment.")]


@router.get("/openapi.json", include_in_schema=False)
def describe_server(http: Request) -> JSONResponse:
    """The OpenAPI document of the server."""
    place = http.scope.get("root_path") or "/"
    return JSONResponse({**http.app.openapi(), "servers": [{"url": place}]})


@router.get("/status")
def show_status(
    runtime: RuntimeOf,
    check: Annotated[bool, Query(description="Ask the engines for their GPU memory.")] = False,
) -> StatusView:
    """Show the version, the queue, and what each engine does and has loaded."""
    return read_status(runtime, asks_engines=check)


@router.get("/usage")
def show_usage(
    runtime: RuntimeOf,
    by: Annotated[list[UsageGrouping], Query(description="Group by these; repeatable.")] = [],  # noqa: B006 - FastAPI copies it
    since: Since = None,
    until: Until = None,
) -> UsageView:
    """Show usage: images, time and cost."""
    period = _place(since, "since", runtime), _place(until, "until", runtime)
    names = tuple(dict.fromkeys(by))
    groups = sum_usage(runtime.library, names, *period, zone=runtime.settings.usage.zone)
    return UsageView.of(names, groups, add_totals(groups))


@router.get("/usage/generations")
def list_usage(
    runtime: RuntimeOf,
    since: Since = None,
    until: Until = None,
    after: Annotated[
        str | None, Query(max_length=100, description="The last generation of the page before.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=_MOST_ROWS)] = 1000,
) -> UsageRowsView:
    """List the cost and time of each generation, oldest first."""
    period = _place(since, "since", runtime), _place(until, "until", runtime)
    rows = list_rows(runtime.library, *period, after=after, limit=limit)
    return UsageRowsView(rows=tuple(map(UsageRowView.of, rows)))


@router.get("/usage/models")
def list_used_models(runtime: RuntimeOf) -> ModelsUsageView:
    """List what an image of each model usually takes and costs, the last used model first."""
    return ModelsUsageView(models=tuple(map(ModelUsageView.of, list_model_usage(runtime.library))))


@router.get(
    "/usage/export",
    response_class=Response,
    responses={200: {"content": {"text/csv": {}, "application/json": {}}}},
)
def export_usage(
    runtime: RuntimeOf,
    format: Annotated[Literal["csv", "json"], Query(description="The kind of file.")] = "csv",
    since: Since = None,
    until: Until = None,
) -> StreamingResponse:
    """Download the cost and time of each generation, oldest first."""
    period = _place(since, "since", runtime), _place(until, "until", runtime)
    rows = (UsageRowView.of(row).as_data() for row in list_rows(runtime.library, *period))
    lines = write_csv(rows) if format == "csv" else write_json(rows)
    kind = "text/csv" if format == "csv" else "application/json"
    name = f'attachment; filename="imagen-usage.{format}"'
    return StreamingResponse(lines, media_type=kind, headers={"Content-Disposition": name})


@router.get("/budgets")
def list_budgets(runtime: RuntimeOf) -> BudgetsView:
    """List the budgets, and how far they are used."""
    return BudgetsView(budgets=tuple(map(BudgetView.of, read_budget_use(runtime.settings))))


@router.get("/doctor", dependencies=[Depends(require("admin"))])
def find_problems(
    runtime: RuntimeOf,
    caller: CallerOf,
    quick: Annotated[bool, Query(description="Do not contact any server.")] = False,
) -> DoctorView:
    """Find problems and suggest fixes."""
    report = runtime.engines.examine(is_quick=quick)
    return report if caller.is_local else report.without_paths()


@router.get("/config", dependencies=[Depends(require("admin"))])
def show_config(runtime: RuntimeOf, caller: CallerOf) -> dict[str, JsonValue]:
    """Show the settings in use, including defaults; secrets are masked."""
    values = describe_settings(runtime.settings, os.environ)
    shown: dict[str, JsonValue] = json_safe(
        values if caller.is_local else redact_record(values, "full")
    )
    return shown


@router.get("/config/check", dependencies=[Depends(require("admin"))])
def report_config_problems(runtime: RuntimeOf, caller: CallerOf) -> ConfigReportView:
    """Check the configuration file as it is now, and report every problem."""
    source = runtime.settings.source
    report = check_config(source) if source else ConfigReport(source=None)
    view = ConfigReportView.of(report)
    return view if caller.is_local else view.without_paths()


def _place(moment: datetime | None, name: str, runtime: Runtime) -> datetime | None:
    """The moment with its time zone."""
    if moment is None:
        return None
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise RequestError(f"{name}: the year must be {_FIRST_YEAR} to {_LAST_YEAR}.")
    if moment.tzinfo is not None:
        return moment
    zone = runtime.settings.usage.zone
    return moment.replace(tzinfo=zone) if zone else moment.astimezone()

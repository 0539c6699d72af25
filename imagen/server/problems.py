"""Errors as `application/problem+json` (RFC 9457), with imagen's codes."""

from __future__ import annotations

from copy import copy
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from imagen.core.json_values import json_safe
from imagen.core.text import one_line
from imagen.core.validation import Problem, describe_detail
from imagen.errors import ImagenError, LibraryUnreachable, NotFound, RateLimited, Unavailable
from imagen.outputs.redact import strip_paths
from imagen.runtime.caller import LOCAL
from imagen.server.error_shapes import SHAPES
from imagen.views.base import View

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import Scope

_STATUS = {
    "request": 400,
    "workflow": 400,
    "not_found": 404,
    "unknown_backend": 404,
    "over_budget": 402,
    "cancelled": 409,
    "rejected": 422,
    "rate_limited": 429,
    "missing_dependency": 501,
    "backend": 502,
    "failed": 502,
    "lost": 502,
    "some_failed": 502,
    "unauthorized": 502,
    "unavailable": 503,
    "library_unreachable": 503,
    "timed_out": 504,
}
"""By the code of an error; 500 for all others."""
_MOST_FAULTS = 8


class ProblemDetails(View):
    """An error."""

    type: str = Field("about:blank", description="Always `about:blank`: see `code`.")
    title: str = Field(description="What the HTTP status says.")
    status: int
    detail: str = Field(description="A sentence: what is wrong.")
    code: str = Field(description="A stable word, as in the `--json` output.")
    remedy: str = Field("", description="What to do about it.")


def status_of(error: ImagenError) -> int:
    """The HTTP status of an error."""
    return _STATUS.get(error.code, 500)


def describe_fault(error: RequestValidationError, body: type[BaseModel] | None = None) -> str:
    """What is wrong with a request that FastAPI refused, in a sentence for each fault.

    `body` is what its route expects.
    """
    lines = []
    for fault in error.errors()[:_MOST_FAULTS]:
        place, *path = fault["loc"] or ("body",)
        detail = copy(fault)
        detail["loc"] = tuple(path)
        model = body if place == "body" else None
        lines.append(Problem(tuple(path), describe_detail(detail, model)).sentence)
    return "\n".join(one_line(line, limit=300) for line in lines)


def _body_of(http: Request) -> type[BaseModel] | None:
    """What the route of a request expects as its JSON body, if that is an object."""
    field = getattr(http.scope.get("route"), "body_field", None)
    model = field.field_info.annotation if field is not None else None
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def problem_response(
    status: int,
    code: str,
    detail: str,
    *,
    scope: Scope,
    remedy: str = "",
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """The answer for an error, in the shape of the API at the path of the request."""
    return _respond(build_problem(status, code, detail, remedy), scope, headers)


def _respond(problem: ProblemDetails, scope: Scope, headers: dict[str, str] | None) -> JSONResponse:
    path = str(scope["path"]).removeprefix(scope.get("root_path", ""))
    for prefix, shape in SHAPES.items():
        if path == prefix or path.startswith(f"{prefix}/"):
            return JSONResponse(shape(problem), problem.status, headers=headers)
    return JSONResponse(
        problem.as_data(), problem.status, headers=headers, media_type="application/problem+json"
    )


def build_problem(status: int, code: str, detail: str, remedy: str = "") -> ProblemDetails:
    """A problem whose texts may hold half characters, which no answer can."""
    detail, remedy = json_safe(detail), json_safe(remedy)
    title = HTTPStatus(status).phrase
    return ProblemDetails(title=title, status=status, detail=detail, code=code, remedy=remedy)


def problem_of(error: ImagenError, scope: Scope, status: int | None = None) -> ProblemDetails:
    """An error as a problem; without paths of this machine for a client of another one."""
    caller = scope.get("state", {}).get("caller", LOCAL)
    message, remedy = error.message, error.remedy
    if not caller.is_local:
        message, remedy = strip_paths(message), strip_paths(remedy)
    return build_problem(status or status_of(error), error.code, message, remedy)


def error_response(error: ImagenError, scope: Scope, *, status: int | None = None) -> JSONResponse:
    """The answer for an error of imagen; the status is that of its code, if none is given."""
    headers = {}
    if isinstance(error, RateLimited) and error.retry_after_seconds is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_seconds)))
    elif isinstance(error, Unavailable | LibraryUnreachable):
        headers["Retry-After"] = "5"
    return _respond(problem_of(error, scope, status), scope, headers)


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error of this app as a problem."""

    async def on_error(http: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ImagenError)
        return error_response(error, http.scope)

    async def on_refusal(http: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        detail = describe_fault(error, _body_of(http))
        is_json = "json" in http.headers.get("content-type", "")
        if not is_json and any(fault["loc"] == ("body",) for fault in error.errors()):
            detail = "Send JSON, with the header `Content-Type: application/json`."
        return problem_response(400, "request", detail, scope=http.scope)

    async def on_http_error(http: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        code = {404: NotFound.code, 401: "unauthenticated", 403: "forbidden"}
        return problem_response(
            error.status_code,
            code.get(error.status_code, "http"),
            str(error.detail),
            scope=http.scope,
            headers=dict(error.headers or {}),
        )

    app.add_exception_handler(ImagenError, on_error)
    app.add_exception_handler(RequestValidationError, on_refusal)

    async def on_depth(http: Request, _: Exception) -> JSONResponse:
        return problem_response(400, "request", "The body is nested too deeply.", scope=http.scope)

    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(RecursionError, on_depth)

"""Errors in the shapes of other APIs, by the path at which each is served."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen.server.problems import ProblemDetails

_PARAMETER = re.compile(r"([A-Za-z_-]+(?:\[\])?)(?:\.[\w.]+)?(?:: | cannot be | must be )")
"""What a message begins with that is about one parameter."""
_CODES = {
    "request": "invalid_value",
    "unknown_backend": "model_not_found",
    "unauthenticated": "invalid_api_key",
    "rate_limited": "rate_limit_exceeded",
    "over_budget": "insufficient_quota",
}


def openai_error(problem: ProblemDetails) -> dict[str, object]:
    """As OpenAI's clients read it."""
    match = _PARAMETER.match(problem.detail)
    parameter = match[1] if match else None
    code, kind = _CODES.get(problem.code, problem.code), "invalid_request_error"
    if code == "model_not_found" or (code == "not_found" and parameter == "model"):
        code, parameter = "model_not_found", "model"
    elif code == "not_found" and problem.detail == HTTPStatus.NOT_FOUND.phrase:
        code = "unknown_url"
    elif problem.detail.split("\n", 1)[0].endswith("is missing"):
        code = "missing_required_parameter"
    elif code in ("rate_limit_exceeded", "insufficient_quota"):
        kind = code
    elif problem.code == "rejected":
        kind = "image_generation_user_error"
    elif problem.status == 424 or problem.status >= 500:
        kind = "server_error"
    message = f"{problem.detail}\n{problem.remedy}" if problem.remedy else problem.detail
    return {"error": {"message": message, "type": kind, "param": parameter, "code": code}}


def a1111_error(problem: ProblemDetails) -> dict[str, object]:
    """As A1111's clients read it."""
    detail = f"{problem.detail}\n{problem.remedy}" if problem.remedy else problem.detail
    return {"error": problem.title, "detail": detail, "body": "", "errors": detail}


def comfyui_error(problem: ProblemDetails) -> dict[str, object]:
    """As ComfyUI's clients read it."""
    error = {"type": problem.code, "message": problem.detail, "details": problem.remedy}
    return {"error": error | {"extra_info": {}}, "node_errors": {}}


SHAPES: dict[str, Callable[[ProblemDetails], dict[str, object]]] = {
    "/v1": openai_error,
    "/sdapi": a1111_error,
    "/controlnet": a1111_error,
    "/prompt": comfyui_error,
    "/api/prompt": comfyui_error,
}
"""Whatever is answered below these paths, also where no route is reached."""

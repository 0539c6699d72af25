"""The OpenAPI document: what it says of each route beyond what FastAPI knows."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, iter_route_contexts

from imagen.server.error_shapes import SHAPES
from imagen.server.state import scope_of

if TYPE_CHECKING:
    from fastapi import FastAPI

_ABOUT = """Generate images with the engines of this server, and see what was generated.

Errors are `application/problem+json` (RFC 9457) with a `code`, a `detail` and a `remedy`.

Each operation requires one scope of the client's token: `read`, `generate` or `admin`
(`x-imagen-scope`).
"""
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A token."},
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "A token as the password, with any user: for clients of A1111.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "imagen_session",
        "description": "As `POST /api/v1/session` sets it.",
    },
}


def name_native_operation(route: APIRoute) -> str:
    """The id of an operation of imagen's own API: `list_jobs`."""
    return route.name


def name_foreign_operation(route: APIRoute) -> str:
    """The id of an operation of another API: `post_sdapi_v1_txt2img`."""
    method = min(route.methods or {""}).lower()
    return re.sub(r"\W+", "_", f"{method}{route.path}").strip("_")


def describe_api(app: FastAPI) -> dict[str, object]:
    """The document, with a summary, a description and the scope of each operation."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        openapi_version="3.1.0",
        summary="Images from any engine.",
        description=_ABOUT,
        routes=app.routes,
    )
    document["components"]["securitySchemes"] = _SCHEMES
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if not isinstance(route, APIRoute) or context.path is None:
            continue
        scope = scope_of(route)
        first, _, rest = (inspect.getdoc(route.endpoint) or "").partition("\n\n")
        for method in route.methods or ():
            operation = document["paths"].get(context.path_format, {}).get(method.lower())
            if operation is None:
                continue
            summary, _, more = " ".join(first.split()).partition(". ")
            _describe_errors(operation, context.path)
            operation["summary"] = summary.removesuffix(".")
            operation["description"] = "\n\n".join(filter(None, (more, rest)))
            operation["x-imagen-scope"] = scope
            operation["security"] = [{name: []} for name in _SCHEMES] if scope else []
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)
    return document


def _describe_errors(operation: dict[str, Any], path: str) -> None:
    """Errors are problems, or have the shape of the API that the operation belongs to."""
    responses = operation["responses"]
    responses.pop("422", None)  # FastAPI's own, for which imagen answers 400
    shaped = tuple(f"{prefix}/" for prefix in SHAPES)
    if path.startswith(shaped) or "comfyui" in operation.get("tags", ()):
        responses["default"] = {"description": "An error, in the shape of this API."}
    else:
        schema = {"$ref": "#/components/schemas/ProblemDetails"}
        responses["default"]["content"] = {"application/problem+json": {"schema": schema}}

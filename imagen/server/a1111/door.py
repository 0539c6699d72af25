"""How A1111's clients call: any content type or none, a slash at the end; errors in its shape."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from imagen.errors import ImagenError
from imagen.server.problems import describe_fault, status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fastapi import Request

LEFT = 499
"""The status for a client that has left."""
_NOT_JSON = "Send JSON with Content-Type: application/json."
_TYPES = (b"", b"text/plain")
"""Content types of bodies that are read as JSON all the same."""


class A1111Route(APIRoute):
    """Reads bodies as JSON that do not say so, and answers errors as A1111 does."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_as_a1111(request: Request) -> Response:
            _assume_json(request)
            try:
                return await handle(request)
            except ImagenError as error:
                detail = "\n".join(filter(None, [error.message, error.remedy]))
                return _error_response(status_of(error), type(error).__name__, detail)
            except RequestValidationError as error:
                kind = request.headers["content-type"] if error.body else "application/json"
                is_json = kind.partition(";")[0].strip().lower().endswith("json")
                detail = describe_fault(error) if is_json else _NOT_JSON
                return _error_response(422, "RequestError", detail)
            except HTTPException as error:
                return _error_response(error.status_code, "HTTPException", str(error.detail))

        return handle_as_a1111


def a1111_router(prefix: str) -> APIRouter:
    return APIRouter(prefix=prefix, tags=["a1111"], route_class=A1111Route)


def accept_trailing_slashes(router: APIRouter) -> None:
    """Serve each route with a slash at its end too: some clients do not follow redirects."""
    for route in [*router.routes]:
        if isinstance(route, APIRoute):
            path = route.path.removeprefix(router.prefix) + "/"
            methods = sorted(route.methods or ())
            router.add_api_route(path, route.endpoint, methods=methods, include_in_schema=False)


def json_response(answer: dict[str, Any]) -> Response:
    """An answer with images, which would take long to validate."""
    return Response(json.dumps(answer).encode(), media_type="application/json")


def _assume_json(request: Request) -> None:
    headers: list[tuple[bytes, bytes]] = request.scope["headers"]
    sent = next((value for name, value in headers if name == b"content-type"), b"")
    if sent.partition(b";")[0].strip().lower() in _TYPES:
        others = [pair for pair in headers if pair[0] != b"content-type"]
        request.scope["headers"] = [*others, (b"content-type", b"application/json")]


def _error_response(status: int, kind: str, detail: str) -> JSONResponse:
    return JSONResponse({"error": kind, "detail": detail, "body": "", "errors": detail}, status)

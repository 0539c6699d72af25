"""How A1111's clients call: with any content type for JSON or none, and a slash at the end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Response
from fastapi.routing import APIRoute

from imagen.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fastapi import Request

LEFT = 499
"""The status for a client that has left."""
_TYPES = ("", "text/plain")
"""Content types of bodies that are read as JSON all the same."""


class A1111Route(APIRoute):
    """Reads bodies as JSON that do not say so."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_as_json(request: Request) -> Response:
            headers: list[tuple[bytes, bytes]] = request.scope["headers"]
            sent = next((value for name, value in headers if name == b"content-type"), b"")
            kind = sent.decode("latin-1").partition(";")[0].strip().lower()
            if kind in _TYPES:
                others = [pair for pair in headers if pair[0] != b"content-type"]
                json_type = (b"content-type", b"application/json")
                request.scope["headers"] = [*others, json_type]
            elif not kind.endswith("json") and self.body_field is not None:
                raise RequestError("Send JSON, with Content-Type: application/json.")
            return await handle(request)

        return handle_as_json


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

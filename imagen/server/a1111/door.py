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
    from starlette.routing import Match
    from starlette.types import Scope

LEFT = 499
"""The status for a client that has left."""
_TYPES = ("", "text/plain")
"""Content types of bodies that are read as JSON all the same."""


class A1111Route(APIRoute):
    """Reads bodies as JSON that do not say so, and matches with a slash at its end too."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["path"].endswith("/"):  # some clients do not follow redirects
            scope = {**scope, "path": scope["path"][:-1]}
        return super().matches(scope)

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


def json_response(answer: dict[str, Any]) -> Response:
    """An answer with images, which would take long to validate."""
    return Response(json.dumps(answer).encode(), media_type="application/json")

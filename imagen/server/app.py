"""The application: every route, and what applies to all of them."""

from __future__ import annotations

import json
import sys
from contextlib import asynccontextmanager
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fastapi import Depends, FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Route

from imagen import __version__
from imagen.runtime.tokens import TokenCache
from imagen.server.comfyui.prompts import ClientPrompts, require_comfyui
from imagen.server.json_answers import AsciiJsonResponse
from imagen.server.mcp import McpEndpoint
from imagen.server.openapi import (
    describe_api,
    name_foreign_operation,
    name_native_operation,
)
from imagen.server.problems import ProblemDetails, add_error_handlers
from imagen.server.routes import (
    a1111,
    a1111_controlnet,
    albums,
    arena,
    backends,
    batches,
    comfyui,
    comparisons,
    events,
    generations,
    image_archive,
    image_files,
    images,
    jobs,
    openai,
    operations,
    page,
    simple,
    simple_images,
    system,
    tokens,
    uploads,
    workflows,
)
from imagen.server.security import AccessPolicy, protect_app
from imagen.server.state import AppState, check_scope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Scope

    from imagen.jobs.worker_log import LogFormat
    from imagen.runtime import Runtime

NATIVE = "/api/v1"
"""Where imagen's own API is."""
_NATIVE_ROUTES = (
    jobs.router,
    backends.router,
    workflows.router,
    system.router,
    generations.router,
    events.router,
    tokens.router,
    image_archive.router,
    image_files.router,
    images.router,
    albums.router,
    uploads.router,
    operations.router,
    batches.router,
    comparisons.router,
    arena.router,
)
_FOREIGN_ROUTES = (
    openai.router,
    a1111.router,
    a1111_controlnet.router,
    simple.router,
    simple_images.router,
    page.router,
)
"""APIs that other programs speak, each at the paths that they expect."""


def create_app(
    runtime: Runtime, *, is_public: bool = False, secret: str = "", log: LogFormat | None = None
) -> FastAPI:
    """The application on an open runtime.

    `is_public` says that other machines can reach it, which need a token then. `secret` is a token
    of this process alone; with it, all clients need one.
    """
    known = TokenCache(runtime.library, secret)
    policy = AccessPolicy.of(runtime.settings.server, is_public=is_public, has_secret=bool(secret))
    mcp = McpEndpoint(runtime)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.server = AppState(runtime, known)
        try:
            yield
        finally:
            await mcp.close()
            app.state.server.close()

    app = ImagenApi(
        title="imagen",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        default_response_class=AsciiJsonResponse,
        openapi_url=None,
        responses={"default": {"model": ProblemDetails, "description": "An error."}},
    )
    add_error_handlers(app)
    app.include_routes(runtime)
    app.router.routes.append(Route("/mcp", mcp, include_in_schema=False))
    request_log = None if log is None else RequestLog(log, app)
    protect_app(app, policy, known, request_log)
    return app


class ImagenApi(FastAPI):
    """The application, which describes itself in full."""

    def include_routes(self, runtime: Runtime) -> None:
        """Serve all routes, each with a check of the scope that it requires."""
        checks = [Depends(check_scope)]
        routers = [(router, NATIVE, name_native_operation) for router in _NATIVE_ROUTES]
        routers += [(router, "", name_foreign_operation) for router in _FOREIGN_ROUTES]
        if runtime.settings.server.comfyui is not None:
            self.state.prompts = ClientPrompts(runtime, require_comfyui(runtime.settings))
            routers += [(comfyui.router, path, name_foreign_operation) for path in ("", "/api")]
        for router, prefix, name in routers:
            self.include_router(
                router,
                prefix=prefix,
                dependencies=checks,
                generate_unique_id_function=name,
                include_in_schema=prefix != "/api",  # which has the same as ""
            )

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        if self.openapi_schema is None:
            self.openapi_schema = describe_api(self)
        return self.openapi_schema


class RequestLog:
    """Writes a line for each request to stderr, without anything that its client made up.

    A path is that of its route, as ids and signatures may be secret.
    """

    def __init__(self, format: LogFormat, app: FastAPI) -> None:
        self._format = format
        self._app = app

    @cached_property
    def _paths(self) -> dict[int, str]:
        """The path of each route, with the names of its parameters."""
        found = iter_route_contexts(self._app.routes)
        return {id(one.original_route): str(one.path) for one in found if one.path}

    def __call__(self, scope: Scope, status: int, seconds: float) -> None:
        at = datetime.now().astimezone()
        path = self._paths.get(id(scope.get("route")), "-")
        caller = scope.get("state", {}).get("caller")
        values = {
            "at": at.isoformat(timespec="milliseconds"),
            "event": "request",
            "method": scope.get("method", "WEBSOCKET"),
            "path": path,
            "status": status,
            "seconds": round(seconds, 3),
            "caller": caller.name if caller else "",
        }
        if self._format == "json":
            line = json.dumps(values)
        else:
            words = (values["method"], path, status, f"{seconds * 1000:.0f} ms", values["caller"])
            line = f"{at:%Y-%m-%d %H:%M:%S}  " + " ".join(map(str, filter(None, words)))
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

"""The application: every route, and what applies to all of them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import Depends, FastAPI

from imagen import __version__
from imagen.server.problems import ProblemDetails, add_error_handlers
from imagen.server.routes import (
    a1111,
    a1111_controlnet,
    backends,
    events,
    generations,
    jobs,
    openai,
    system,
    workflows,
)
from imagen.server.state import AppState, check_scope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

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
)
_FOREIGN_ROUTES = (
    openai.router,
    a1111.router,
    a1111_controlnet.router,
)
"""APIs that other programs speak, each at the paths that they expect."""


def create_app(runtime: Runtime) -> FastAPI:
    """The application on an open runtime."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.server = AppState(runtime)
        try:
            yield
        finally:
            app.state.server.close()

    app = FastAPI(
        title="imagen",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{NATIVE}/openapi.json",
        responses={"default": {"model": ProblemDetails, "description": "An error."}},
    )
    add_error_handlers(app)
    checks = [Depends(check_scope)]
    for router in _NATIVE_ROUTES:
        app.include_router(router, prefix=NATIVE, dependencies=checks)
    for router in _FOREIGN_ROUTES:
        app.include_router(router, dependencies=checks)
    return app

"""Backends with their state and capabilities, and the models of their engines."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from imagen.backends.base import ModelKind
from imagen.core.request import Task
from imagen.server.state import RuntimeOf
from imagen.views.backends import (
    BackendCapabilitiesView,
    BackendsView,
    HealthView,
    ModelsView,
)

router = APIRouter(tags=["backends"])


@router.get("/backends")
def list_backends(
    runtime: RuntimeOf,
    check: Annotated[bool, Query(description="Ask each engine whether it is ready.")] = False,
) -> BackendsView:
    """List the backends and pools, and what they are missing."""
    return runtime.engines.backends(is_asked=check)


@router.get("/backends/{name}")
def show_backend(
    name: str,
    runtime: RuntimeOf,
    task: Annotated[Task | None, Query(description="Only this task.")] = None,
    model: Annotated[
        str | None, Query(max_length=300, description="With this model in place of its own.")
    ] = None,
    check: Annotated[bool, Query(description="Ask the engine whether it is ready.")] = False,
) -> BackendCapabilitiesView:
    """Show what a backend can do: its tasks and their parameters, to build a form from."""
    shown = runtime.engines.capabilities(name, task=task, model=model)
    return shown.model_copy(update={"health": runtime.engines.health(name)}) if check else shown


@router.get("/backends/{name}/health")
def check_backend(name: str, runtime: RuntimeOf) -> HealthView:
    """Ask an engine whether it is ready."""
    return runtime.engines.health(name)


@router.get("/models")
def list_models(
    runtime: RuntimeOf,
    backend: Annotated[
        list[str], Query(max_length=100, description="Only of this backend or pool; repeatable.")
    ] = [],  # noqa: B006 - FastAPI copies it
    kind: Annotated[ModelKind | None, Query(description="Only models of this kind.")] = None,
) -> ModelsView:
    """List the models that the engines have; one that does not answer is an `error`."""
    return runtime.engines.models(backend, kind)

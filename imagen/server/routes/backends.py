"""Backends with their state and capabilities, and the models of their engines."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from imagen.backends.base import ModelKind
from imagen.batch.wildcard_files import WildcardFiles
from imagen.config import Style
from imagen.core.request import Task
from imagen.server.state import RuntimeOf
from imagen.views.backends import (
    BackendCapabilitiesView,
    BackendsView,
    HealthView,
    ModelsView,
)
from imagen.views.base import View
from imagen.views.capabilities import BlocksView

router = APIRouter(tags=["backends"])


class StylesView(View):
    """The styles of the configuration."""

    styles: dict[str, Style]


class WildcardsView(View):
    """The wildcards of the server."""

    wildcards: tuple[str, ...]


@router.get("/backends")
def list_backends(
    runtime: RuntimeOf,
    check: Annotated[bool, Query(description="Ask each engine whether it is ready.")] = False,
) -> BackendsView:
    """List the backends and pools, and what they are missing."""
    listed = runtime.engines.backends(is_asked=check)
    default = runtime.backend
    backends = (one.model_copy(update={"default": one.name == default}) for one in listed.backends)
    pools = (one.model_copy(update={"default": one.name == default}) for one in listed.pools)
    return listed.model_copy(update={"backends": tuple(backends), "pools": tuple(pools)})


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


@router.get("/capabilities")
def list_blocks(
    runtime: RuntimeOf,
    backend: Annotated[
        str, Query(max_length=100, description="Or a pool; by default as the server says.")
    ] = "",
    model: Annotated[
        str | None, Query(max_length=300, description="With this model in place of its own.")
    ] = None,
) -> BlocksView:
    """List the methods of a backend as blocks of a script: slots, parameters, types and labels."""
    name = backend or runtime.backend
    return BlocksView.of(runtime.engines.capabilities(name, model=model))


@router.get("/styles")
def list_styles(runtime: RuntimeOf) -> StylesView:
    """List the styles that a request can name."""
    return StylesView(styles=runtime.settings.styles)


@router.get("/wildcards")
def list_wildcards(runtime: RuntimeOf) -> WildcardsView:
    """List the wildcards that a prompt can contain, as `__name__`."""
    return WildcardsView(wildcards=WildcardFiles(runtime.settings.wildcard_dirs).names())

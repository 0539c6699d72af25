"""Backends with their state and capabilities, and the models of their engines."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from imagen.backends.base import ModelKind
from imagen.batch.wildcard_files import WildcardFiles
from imagen.config import Style, check, place_to_write
from imagen.core.request import Task
from imagen.engines.detection import (
    DetectedKind,
    add_detected,
    detect_engines,
    find_same,
    list_places,
    merge_blocks,
)
from imagen.errors import ConfigError, NotFound, RequestError
from imagen.runtime.caller import Caller
from imagen.server.state import CallerOf, RuntimeOf, require
from imagen.views.backends import (
    BackendAdditionView,
    BackendCapabilitiesView,
    BackendsView,
    DetectionView,
    FoundEngineView,
    HealthView,
    ModelsView,
    SilentEngineView,
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


class DetectionBody(View):
    """Where to look for engines."""

    url: str = Field(
        "",
        max_length=500,
        description="An address, which only users of the server's machine may name; by default the "
        "usual ones of that machine.",
    )

    def detect(self, caller: Caller) -> list[DetectedKind]:
        """The engines there."""
        if self.url.strip() and not caller.is_local:
            raise RequestError("Only users of the server's machine may name an address.")
        try:
            return detect_engines(self.url.strip())
        except ConfigError as error:
            raise RequestError(error.message) from error


class NewBackendsBody(DetectionBody):
    """Which engines to add to the configuration."""

    kind: str = Field(max_length=100, description="The kind of engine.")


@router.post("/backends/detect", dependencies=[Depends(require("admin"))])
def find_engines(body: DetectionBody, runtime: RuntimeOf, caller: CallerOf) -> DetectionView:
    """Look for engines that run, as `imagen config init --detect` does; nothing is changed."""
    detected = body.detect(caller)
    blocks = merge_blocks(detected)
    path = runtime.settings.source or place_to_write()
    existing = check(path).settings.backends if path.exists() else runtime.settings.backends
    known = {*find_same(blocks, existing), *(name for name in blocks if name in existing)}
    view = DetectionView(
        engines=tuple(
            FoundEngineView(
                kind=kind,
                place=place,
                backends=tuple(names),
                configured=tuple(name for name in names if name in known),
            )
            for (kind, place), names in list_places(blocks).items()
        ),
        left_out={one.kind: one.detection.left_out for one in detected if one.detection.left_out},
        silent=tuple(
            SilentEngineView(kind=one.kind, label=one.label, error=one.error)
            for one in detected
            if one.error
        ),
    )
    return view if caller.is_local else view.without_paths()


@router.post("/backends", status_code=201, dependencies=[Depends(require("admin"))])
def add_engines(body: NewBackendsBody, runtime: RuntimeOf, caller: CallerOf) -> BackendAdditionView:
    """Add the engines of a kind to the configuration, and use them from now on."""
    blocks = merge_blocks(body.detect(caller))
    chosen = {name: block for name, block in blocks.items() if block["type"] == body.kind}
    if not chosen:
        raise NotFound(f"No engine of type {body.kind} that can generate images was found.")
    path = runtime.settings.source or place_to_write()
    addition, same, default = add_detected(path, chosen)
    names = (*addition.added, *addition.present, *same.values())
    runtime.use_backends(names, check(path).settings)
    view = BackendAdditionView(
        file=str(addition.path),
        in_use=runtime.has_worker,
        added=addition.added,
        present=(*addition.present, *same),
        differing=addition.differing,
        default=default,
    )
    return view if caller.is_local else view.without_paths()


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

"""One call, one image: the simplest API, at paths without a version."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field, JsonValue

from imagen import __version__
from imagen.backends.base import Gpu, Model
from imagen.config import Limits
from imagen.core.field_names import with_own_names
from imagen.engines.state import list_backends
from imagen.errors import Cancelled, RequestError
from imagen.jobs.image_files import find_image_file
from imagen.outputs.convert import convert_image
from imagen.runtime.client_requests import expand_wildcards, parse_client_request
from imagen.runtime.run import describe_result, submit_client_request
from imagen.runtime.status import read_status
from imagen.server.multipart import ResponsePart, multipart_response
from imagen.server.state import CallerOf, RuntimeOf, State, require
from imagen.views.base import View
from imagen.views.images import ImageView
from imagen.views.requests import RequestValues

if TYPE_CHECKING:
    from imagen.library import LibraryImage
    from imagen.runtime import Runtime
    from imagen.runtime.caller import Caller
    from imagen.runtime.run import FinishedJob
    from imagen.server.state import AppState

router = APIRouter(tags=["simple"])

AnswerForm = Literal["mixed", "form-data", "json", "png"]
_FORMS: dict[str, AnswerForm] = {
    "multipart/mixed": "mixed",
    "multipart/form-data": "form-data",
    "multipart/*": "mixed",
    "application/json": "json",
    "image/png": "png",
    "image/*": "png",
}
BackendName = Annotated[
    str,
    Query(
        max_length=100,
        description="A backend or a pool, also as `backend` of the body; by default as the server "
        "says.",
    ),
]
_HEALTH_SECONDS = 1.0
"""How long `/health` waits for the engine."""
_ENDINGS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "image/avif": "avif"}


class ServerHealthView(View):
    """Whether the server works, and what its default engine reports."""

    status: Literal["ok"] = "ok"
    version: str | None = Field(None, description="Null for clients that may not read.")
    backend: str | None = Field(None, description="The backend of requests that name none.")
    is_engine_ready: bool | None = None
    engine: str | None = Field(None, description="`ok`, or what is wrong with it.")
    gpus: tuple[Gpu, ...] = ()


class MadeImageView(View):
    """An image that was generated."""

    filename: str = Field(description="For `/api/images/{filename}`.")
    url: str
    image: ImageView

    @classmethod
    def build(cls, image: LibraryImage, base_path: str, *, is_local: bool) -> MadeImageView:
        name = f"{image.uid}.{_ENDINGS.get(image.media_type, 'png')}"
        view = ImageView.of(image, is_local=is_local)
        return cls(filename=name, url=f"{base_path}/api/images/{name}", image=view)


class MadeImagesView(View):
    """The images of a request."""

    job: str
    images: tuple[MadeImageView, ...]
    warnings: tuple[str, ...]


class ModelNamesView(View):
    """The models of the default backend that a request can name."""

    models: tuple[Model, ...]
    default: str | None


class LorasView(View):
    """The LoRAs of the default backend."""

    loras: tuple[Model, ...]


class SchedulersView(View):
    """The samplers and the schedulers of the default backend."""

    samplers: tuple[str, ...]
    schedulers: tuple[str, ...]


class SimpleConfigView(View):
    """What requests of the simple API can name, and what they get by default."""

    version: str
    backend: str = Field(description="The backend or pool of requests that name none.")
    backends: tuple[str, ...]
    pools: tuple[str, ...]
    styles: tuple[str, ...]
    tasks: tuple[str, ...]
    defaults: dict[str, JsonValue] = Field(description="The values that the backend uses.")
    limits: Limits


class SimpleStatusView(View):
    """What the server does now."""

    status: Literal["idle", "generating"]
    running: int
    waiting: int
    model: str | None = Field(description="The model that its engine has loaded, if it is known.")
    gpus: tuple[Gpu, ...]


@router.get("/health", dependencies=[Depends(require(None))])
def show_health(runtime: RuntimeOf, caller: CallerOf) -> ServerHealthView:
    """Say whether the server works. Without a token: nothing else."""
    if "read" not in caller.scopes:
        return ServerHealthView()
    health = runtime.engines.health(runtime.backend, patience_seconds=_HEALTH_SECONDS)
    return ServerHealthView(
        version=__version__,
        backend=runtime.backend,
        is_engine_ready=health.ok,
        engine=health.summary,
        gpus=health.gpus,
    )


@router.post(
    "/generate",
    response_class=Response,
    responses={
        200: {
            "description": "By `Accept`: the result as JSON and the images in several parts, the "
            "first image alone, or the result alone.",
            "content": {
                "multipart/mixed": {"schema": {"type": "string", "format": "binary"}},
                "multipart/form-data": {"schema": {"type": "string", "format": "binary"}},
                "image/png": {"schema": {"type": "string", "format": "binary"}},
                "application/json": {"schema": {"type": "object"}},
            },
        }
    },
)
async def generate(
    body: RequestValues,
    http: Request,
    state: State,
    caller: CallerOf,
    accept: Annotated[str, Header(max_length=1000)] = "*/*",
    backend: BackendName = "",
) -> Response:
    """Generate images and wait for them. The body is a request, also in other tools' names.

    If the client leaves, its job is cancelled.
    """
    finished = await run_request(body, backend, http, state, caller)
    return await asyncio.to_thread(_answer, finished, _choose_form(accept), state.runtime, caller)


@router.post("/api/generate")
async def generate_for_gallery(
    body: RequestValues, http: Request, state: State, caller: CallerOf, backend: BackendName = ""
) -> MadeImagesView:
    """Generate images, wait for them, and say where they are. The body is as of `/generate`.

    If the client leaves, its job is cancelled.
    """
    finished = await run_request(body, backend, http, state, caller)
    result = await asyncio.to_thread(describe_result, finished, state.runtime, caller)
    base = http.scope.get("root_path", "")
    made = [MadeImageView.build(one, base, is_local=caller.is_local) for one in finished.images]
    return MadeImagesView(job=finished.job.id, images=tuple(made), warnings=result.warnings)


@router.get("/api/models")
def list_model_names(runtime: RuntimeOf) -> ModelNamesView:
    """List the models of the default backend."""
    models = [one for one in _models(runtime) if one.kind in ("checkpoint", "diffusion_model")]
    default = next((one.name for one in models if one.is_default), None)
    return ModelNamesView(models=tuple(models), default=default)


@router.get("/api/loras")
def list_loras(runtime: RuntimeOf) -> LorasView:
    """List the LoRAs of the default backend."""
    return LorasView(loras=tuple(one for one in _models(runtime) if one.kind == "lora"))


@router.get("/api/schedulers")
def list_schedulers(runtime: RuntimeOf) -> SchedulersView:
    """List the samplers and the schedulers of the default backend."""
    (task, *_) = runtime.engines.capabilities(runtime.backend).tasks
    models = _models(runtime)

    def names(kind: Literal["sampler", "scheduler"]) -> tuple[str, ...]:
        known = tuple(one.name for one in models if one.kind == kind)
        parameter = task.parameters.get(kind)
        return known or (parameter.choices if parameter and parameter.choices else ())

    return SchedulersView(samplers=names("sampler"), schedulers=names("scheduler"))


@router.get("/api/config")
def show_simple_config(runtime: RuntimeOf) -> SimpleConfigView:
    """Show what requests can name, and the defaults of the default backend."""
    settings = runtime.settings
    capabilities = runtime.engines.capabilities(runtime.backend)
    (task, *_) = capabilities.tasks
    return SimpleConfigView(
        version=__version__,
        backend=runtime.backend,
        backends=tuple(list_backends(settings)),
        pools=tuple(settings.pools),
        styles=tuple(settings.styles),
        tasks=tuple(one.task for one in capabilities.tasks),
        defaults={name: one.default for name, one in task.parameters.items()},
        limits=settings.limits,
    )


@router.get("/api/status")
def show_simple_status(runtime: RuntimeOf) -> SimpleStatusView:
    """Show whether the server generates, and the memory of its GPU."""
    status = read_status(runtime, asks_engines=True)
    mine = [one for one in status.engines if runtime.backend in one.backends] or status.engines
    return SimpleStatusView(
        status="generating" if status.queue.running else "idle",
        running=status.queue.running,
        waiting=status.queue.waiting,
        model=next((one.model for one in mine), None),
        gpus=tuple(gpu for one in mine for gpu in one.gpus),
    )


async def run_request(
    body: dict[str, JsonValue], backend: str, http: Request, state: AppState, caller: Caller
) -> FinishedJob:
    """The finished job of a request. Raises its error, and Cancelled if the client has left."""
    runtime = state.runtime

    def submit() -> str:
        values = dict(body)
        name = values.pop("backend", "") or backend
        if not isinstance(name, str):
            raise RequestError("backend: must be text.")
        request = parse_client_request(with_own_names(values), runtime)
        requests = expand_wildcards(request, runtime)
        return submit_client_request(requests, runtime, caller, backend=name).id

    finished = await state.run_to_end(await asyncio.to_thread(submit), http)
    if finished is None:
        raise Cancelled("The client has left.")
    if finished.error is not None and not finished.images:
        raise finished.error
    return finished


def _choose_form(accept: str) -> AnswerForm:
    """The first form of answer that the header names and that there is."""
    kinds = (one.partition(";")[0].strip().lower() for one in accept.split(","))
    return next((_FORMS[kind] for kind in kinds if kind in _FORMS), "mixed")


def _answer(finished: FinishedJob, form: AnswerForm, runtime: Runtime, caller: Caller) -> Response:
    result = describe_result(finished, runtime, caller)
    if form == "json":
        return JSONResponse(result.as_data())
    if form == "png":
        data = _read_png(finished.images[0], runtime)
        headers = {"X-Imagen-Job": finished.job.id, "X-Imagen-Image": finished.images[0].uid}
        return Response(data, media_type="image/png", headers=headers)
    meta = ResponsePart("meta", "application/json", result.model_dump_json().encode(), "meta.json")
    images = (
        ResponsePart("image", "image/png", _read_png(one, runtime), f"{one.uid}.png")
        for one in finished.images
    )
    return multipart_response([meta, *images], form)


def _read_png(image: LibraryImage, runtime: Runtime) -> bytes:
    data = find_image_file(image, runtime.library, runtime.settings).read_bytes()
    return convert_image(data, "png").data


def _models(runtime: Runtime) -> tuple[Model, ...]:
    """Those of the default backend; none if it cannot be asked."""
    (listed, *_) = runtime.engines.models((runtime.backend,)).backends
    return listed.models

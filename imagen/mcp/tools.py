"""The tools: each submits to the queue or looks at the library, as the HTTP API does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, ContentBlock
from pydantic import Field

from imagen.backends import load_adapter
from imagen.config import Settings
from imagen.core.filesystem import read_at_most
from imagen.core.image_file import LARGEST_BYTES, blob_name, read_image_file
from imagen.core.request import Request, size_values
from imagen.core.text import format_usd, one_line
from imagen.errors import ImagenError, RequestError
from imagen.jobs.submit import Submission, SubmitOptions
from imagen.library import Query, find_image_by_id, find_images_by_uid, search_images
from imagen.mcp.follow import JobState, follow_job, submit_for_host
from imagen.mcp.results import (
    SIDE,
    BackendModels,
    ImagesOutcome,
    JobOutcome,
    ModelsOutcome,
    ToolImage,
    answer,
    link_image,
    show_file,
    show_images,
)
from imagen.net.urls import is_private_host
from imagen.outputs.redact import strip_paths
from imagen.pipeline.resolve import draw_small_seed
from imagen.runtime import Runtime
from imagen.runtime.caller import Caller, Scope
from imagen.runtime.client_requests import parse_client_request, resolve_input, safe_name
from imagen.runtime.comparisons import find_queued_sheet, submit_client_comparison
from imagen.runtime.estimates import estimate_requests
from imagen.runtime.image_files import find_shown_file
from imagen.runtime.reuse import build_request_again
from imagen.runtime.run import read_result, submit_client_request
from imagen.views.comparisons import SubmittedComparisonView
from imagen.views.estimates import EstimateView
from imagen.views.images import ImageView, image_views

CallerOf = Callable[[Context], Caller]
"""Who a request of a host comes from."""

Prompt = Annotated[str, Field(description="What to show.")]
ModelName = Annotated[
    str,
    Field(
        description="A backend, or `backend/model`, of list_models; empty for the default backend."
    ),
]
ImageName = Annotated[
    str,
    Field(
        description="The id of an image of the library, as the other tools return it; a data URL; "
        "or, if the host runs on the same machine, the absolute path of a file."
    ),
]
Size = Annotated[
    str | None, Field(description="1024x768, 768 for a square, or an aspect ratio such as 16:9.")
]
Seed = Annotated[int | None, Field(description="For the same image again; by default random.")]
Count = Annotated[int, Field(ge=1, le=16, description="How many images.")]
Negative = Annotated[str | None, Field(description="What not to show, if the model supports it.")]
Parameters = Annotated[
    dict[str, Any] | None,
    Field(
        description="More parameters, such as steps, cfg, sampler, scheduler, loras "
        "([{name, strength}]), style, or those of the backend."
    ),
]
WaitSeconds = Annotated[
    float,
    Field(ge=0, le=600, description="Return after this time if the job is not over; it goes on."),
]
_WAIT_SECONDS = 50.0
"""Shorter than the time that hosts usually give a tool."""
_MOST_MODELS = 100
Outcome = Annotated[CallToolResult, JobOutcome]


class ImageTools:
    """The tools on one runtime. `is_local` says that the host may name files of this machine."""

    def __init__(self, runtime: Runtime, *, is_local: bool, caller_of: CallerOf) -> None:
        self._runtime = runtime
        self._is_local = is_local
        self._caller_of = caller_of

    async def generate_image(
        self,
        ctx: Context,
        prompt: Prompt,
        model: ModelName = "",
        negative: Negative = None,
        size: Size = None,
        count: Count = 1,
        seed: Seed = None,
        parameters: Parameters = None,
        wait_seconds: WaitSeconds = _WAIT_SECONDS,
    ) -> Outcome:
        """Generate images from a prompt. Returns small previews, file paths and seeds."""
        values = {"prompt": prompt, "negative": negative, "count": count, "seed": seed}
        return await self._run(ctx, model, values, size, parameters, wait_seconds)

    async def edit_image(
        self,
        ctx: Context,
        image: ImageName,
        prompt: Annotated[str, Field(description="What to change, or what the result shows.")],
        mask: Annotated[
            str | None, Field(description="An image whose white areas are repainted, named alike.")
        ] = None,
        references: Annotated[
            list[str] | None, Field(description="More images that the prompt refers to.")
        ] = None,
        strength: Annotated[
            float | None,
            Field(ge=0, le=1, description="How far to leave the image, for image-to-image."),
        ] = None,
        model: ModelName = "",
        negative: Negative = None,
        size: Size = None,
        count: Count = 1,
        seed: Seed = None,
        parameters: Parameters = None,
        wait_seconds: WaitSeconds = _WAIT_SECONDS,
    ) -> Outcome:
        """Edit an image: by instruction where the model can, in the white areas of a mask, or
        drawn anew from it (image-to-image)."""
        values: dict[str, Any] = {"prompt": prompt, "negative": negative, "count": count}
        values |= {"seed": seed, "mask": mask, "strength": strength}
        images = [image, *(references or ())]
        if mask is None and strength is None and await self._can(model, "edit"):
            values["references"] = images
        else:
            values |= {"image": image, "references": images[1:]}
        return await self._run(ctx, model, values, size, parameters, wait_seconds)

    async def upscale_image(
        self,
        ctx: Context,
        image: ImageName,
        factor: Annotated[float, Field(ge=1, le=16, description="Multiplies both sides.")] = 2.0,
        method: Annotated[
            str | None,
            Field(description="lanczos (needs no engine), or an upscale model of the backend."),
        ] = None,
        model: ModelName = "",
        wait_seconds: WaitSeconds = _WAIT_SECONDS,
    ) -> Outcome:
        """Enlarge an image: by lanczos, or with an upscale model where the backend has one."""
        if method is None and not await self._can(model, "upscale"):
            method = "lanczos"
        upscale = {"factor": factor, "method": method}
        values = {"image": image, "upscale": upscale}
        return await self._run(ctx, model, values, None, None, wait_seconds)

    async def compare_models(
        self,
        ctx: Context,
        prompt: Prompt,
        models: Annotated[
            list[str], Field(min_length=1, max_length=12, description="Backends of list_models.")
        ],
        negative: Negative = None,
        size: Size = None,
        seed: Seed = None,
        parameters: Parameters = None,
        wait_seconds: WaitSeconds = _WAIT_SECONDS,
    ) -> Outcome:
        """Generate one image with each of several backends, with one seed, as a contact sheet."""
        caller, runtime = self._allow(ctx, "generate"), self._runtime
        seed = draw_small_seed() if seed is None else seed
        values: dict[str, Any] = {"prompt": prompt, "negative": negative, "seed": seed}

        def submit() -> SubmittedComparisonView:
            options = SubmitOptions(
                backend=models[0], caller=caller.name, is_served=runtime.has_worker
            )
            request = self._read(values, size, parameters)
            return submit_client_comparison(request, models, runtime, options)

        submission = await submit_for_host(submit, lambda made: made.job, runtime.store.cancel)
        if submission.job is None:
            raise RequestError(
                f"This comparison exists already, in {submission.id}.", remedy="Use another seed."
            )
        return await self._follow(ctx, submission.job, wait_seconds, submission.warnings)

    async def regenerate(
        self,
        ctx: Context,
        image: Annotated[str, Field(description="The id of an image of the library.")],
        changes: Annotated[
            dict[str, Any] | None,
            Field(description='What to change, such as {"seed": 7, "prompt": "…"}.'),
        ] = None,
        model: ModelName = "",
        wait_seconds: WaitSeconds = _WAIT_SECONDS,
    ) -> Outcome:
        """Make an image of the library again, with its settings and some changes."""
        caller, runtime = self._allow(ctx, "generate"), self._runtime

        def submit() -> Submission:
            found = find_image_by_id(runtime.library, image.removeprefix("image:"))
            values, backend = build_request_again(found, runtime)
            request = self._read({**values, **(changes or {})}, None, None)
            if model:
                request, backend = self._choose(request, model)
            return submit_client_request(request, runtime, caller, backend=backend)

        submission = await submit_for_host(submit, lambda made: made.id, runtime.store.cancel)
        return await self._follow(ctx, submission.id, wait_seconds, submission.warnings)

    async def get_job(
        self,
        ctx: Context,
        job: Annotated[str, Field(description="Its id.")],
        wait_seconds: WaitSeconds = 0.0,
    ) -> Outcome:
        """What became of a job so far: its state, its progress, and its images once it is over."""
        self._allow(ctx, "read")
        id = await asyncio.to_thread(self._runtime.store.resolve_id, job)
        return await self._follow(ctx, id, wait_seconds, cancels=False)

    async def cancel_job(
        self, ctx: Context, job: Annotated[str, Field(description="Its id.")]
    ) -> Outcome:
        """Cancel a job that is not over. Images that were made already are kept."""
        self._allow(ctx, "generate")
        id = await asyncio.to_thread(self._runtime.store.resolve_id, job)
        await asyncio.to_thread(self._runtime.store.cancel, id)
        return await self._follow(ctx, id, 1.0, cancels=False)

    async def list_images(
        self,
        ctx: Context,
        search: Annotated[
            str, Field(description='Words of the prompt: `red "in snow" -cat fo*`; empty for all.')
        ] = "",
        model: Annotated[str | None, Field(description="Only of this model.")] = None,
        backend: Annotated[str | None, Field(description="Only of this backend.")] = None,
        tags: Annotated[list[str] | None, Field(description="Only with all these tags.")] = None,
        limit: Annotated[int, Field(ge=1, le=100, description="At most so many.")] = 20,
        after: Annotated[int | None, Field(description="The `after` of the last page.")] = None,
    ) -> Annotated[CallToolResult, ImagesOutcome]:
        """List the images of the library, newest first."""
        caller = self._allow(ctx, "read")
        models = () if model is None else (model,)
        query = Query(text=search, models=models, backend=backend, tags=tuple(tags or ()))
        page = await asyncio.to_thread(
            search_images, self._runtime.library, query, after=after, limit=limit
        )
        views = image_views(page.images, is_local=caller.is_local)
        data = ImagesOutcome(images=tuple(map(ToolImage.of, views)), after=page.after)
        lines = [f"{one.id}: {one.path or one.uri} ({one.prompt[:80]})" for one in data.images]
        return answer("\n".join(lines) or "There are no such images.", data)

    async def view_image(
        self,
        ctx: Context,
        image: Annotated[str, Field(description="The id of an image of the library.")],
        side: Annotated[int, Field(ge=64, le=1568, description="Of the longer side.")] = SIDE,
    ) -> Annotated[CallToolResult, ToolImage]:
        """Look at an image of the library, and get its settings."""
        caller = self._allow(ctx, "read")

        def show() -> CallToolResult:
            found = find_image_by_id(self._runtime.library, image.removeprefix("image:"))
            data = ToolImage.of(ImageView.of(found, is_local=caller.is_local))
            blocks = show_images([found], self._runtime, side=side)
            return answer(f"{data.path or data.uri}\n{data.prompt}", data, *blocks)

        return await asyncio.to_thread(show)

    async def list_models(
        self,
        ctx: Context,
        backend: Annotated[str, Field(description="Only of this backend or pool.")] = "",
    ) -> Annotated[CallToolResult, ModelsOutcome]:
        """List the backends, what they can do, and the models that they offer."""
        self._allow(ctx, "read")
        data = await asyncio.to_thread(self._list_models, backend)
        lines = [
            f"{one.backend} ({one.kind}{', default' if one.is_default else ''}): "
            f"{', '.join(one.tasks) or one.error}; {len(one.models)} models"
            for one in data.backends
        ]
        return answer("\n".join(lines), data)

    async def estimate_cost(
        self,
        ctx: Context,
        prompt: Prompt,
        model: ModelName = "",
        size: Size = None,
        count: Count = 1,
        parameters: Parameters = None,
    ) -> Annotated[CallToolResult, EstimateView]:
        """What generating images would cost and how long it would take. Nothing is generated."""
        self._allow(ctx, "read")

        def estimate() -> EstimateView:
            request = self._read({"prompt": prompt, "count": count}, size, parameters)
            request, backend = self._choose(request, model)
            whole = estimate_requests([request], self._runtime, backend=backend)
            return whole.model_copy(update={"plan": ()})

        data = await asyncio.to_thread(estimate)
        cost = "unknown" if data.cost_usd is None else format_usd(data.cost_usd)
        sentence = f"{data.images} images with {data.backend}: " + (
            "this engine charges nothing." if data.is_free else f"the cost is {cost}."
        )
        return answer("\n".join([sentence, *data.budgets, *data.not_honoured]), data)

    async def read_image(self, id: str) -> bytes:
        """The file of an image of the library, for the resource."""

        def read() -> bytes:
            image = find_image_by_id(self._runtime.library, id)
            file, _ = find_shown_file(image, self._runtime.library, self._runtime.settings)
            return read_at_most(file, LARGEST_BYTES)

        return await asyncio.to_thread(read)

    # --- steps ---

    def _allow(self, ctx: Context, scope: Scope) -> Caller:
        """Who calls; raises RequestError if they may not do this."""
        caller = self._caller_of(ctx)
        if scope not in caller.scopes:
            raise RequestError(f"This token does not allow this: it needs the scope {scope}.")
        return caller

    async def _run(
        self,
        ctx: Context,
        model: str,
        values: dict[str, Any],
        size: str | None,
        parameters: dict[str, Any] | None,
        wait_seconds: float,
    ) -> CallToolResult:
        """Submit a request, and wait for it."""
        caller, runtime = self._allow(ctx, "generate"), self._runtime

        def submit() -> Submission:
            request, backend = self._choose(self._read(values, size, parameters), model)
            return submit_client_request(request, runtime, caller, backend=backend)

        submission = await submit_for_host(submit, lambda made: made.id, runtime.store.cancel)
        return await self._follow(ctx, submission.id, wait_seconds, submission.warnings)

    def _read(
        self, values: dict[str, Any], size: str | None, parameters: dict[str, Any] | None
    ) -> Request:
        """The request with these values; its images are stored. Raises RequestError."""
        given = {**(parameters or {}), **{k: v for k, v in values.items() if v is not None}}
        given |= size_values(size) if size else {}
        for name in ("image", "mask"):
            if isinstance(given.get(name), str):
                given[name] = self._store(given[name], name)
        if isinstance(given.get("references"), list):
            words = enumerate(given["references"])
            given["references"] = [self._store(str(word), f"references.{n}") for n, word in words]
        known = {name: value for name, value in given.items() if name in Request.model_fields}
        other = {name: value for name, value in given.items() if name not in known}
        if other:
            known["extra"] = {**known.get("extra", {}), **other}
        return parse_client_request(known, self._runtime)

    def _store(self, word: str, parameter: str) -> str:
        """The stored file that a tool names; a file of this machine only where the host is local.

        Raises RequestError.
        """
        if word.startswith(("blob:", "image:", "data:")):
            return resolve_input(word, parameter, self._runtime)
        path = Path(word).expanduser()
        if path.is_absolute():
            if not self._is_local:
                raise RequestError(
                    f"{parameter}: this server cannot read files of your machine.",
                    remedy="Send a data URL, or the id of an image of the library.",
                )
            read_image_file(str(path), parameter)
            return blob_name(self._runtime.blobs.put(path), safe_name(path.name))
        if not all(part.isalnum() for part in word.replace("-", "").split(".")):
            raise RequestError(
                f"{parameter}: {one_line(word, limit=60)!r} is neither the id of an image nor an "
                "absolute path."
            )
        return resolve_input(f"image:{word}", parameter, self._runtime)

    def _choose(self, request: Request, model: str) -> tuple[Request, str]:
        """The request with the model that its caller named, and its backend. Raises NotFound."""
        if not model:
            return request, ""
        choice = self._runtime.models.find(model)
        if choice.model is not None:
            request = request.with_values({"model": choice.model})
        return request, choice.backend

    async def _can(self, model: str, task: str) -> bool:
        """Whether the backend that a tool names can do a task."""

        def look() -> bool:
            name = self._runtime.models.find(model).backend if model else self._runtime.backend
            return any(one.task == task for one in self._runtime.engines.capabilities(name).tasks)

        return await asyncio.to_thread(look)

    async def _follow(
        self,
        ctx: Context,
        id: str,
        seconds: float,
        warnings: Sequence[str] = (),
        *,
        cancels: bool = True,
    ) -> CallToolResult:
        """Wait for a job, reporting its progress; then what became of it."""

        async def report(state: JobState) -> None:
            await ctx.report_progress(state.fraction or 0.0, 1.0, state.message)

        state = await follow_job(id, self._runtime, seconds, report, cancels=cancels)
        caller = self._caller_of(ctx)
        return await asyncio.to_thread(self._describe, id, state, caller, warnings)

    def _describe(
        self, id: str, state: JobState, caller: Caller, warnings: Sequence[str]
    ) -> CallToolResult:
        runtime = self._runtime
        result = read_result(id, runtime, caller)
        sheet = (
            find_queued_sheet(id, runtime) if state.is_over and result.job.kind == "grid" else None
        )
        shown = str(sheet) if sheet and caller.is_local else None
        warnings = warnings if caller.is_local else [*map(strip_paths, warnings)]
        outcome = JobOutcome.of(result, state.fraction, shown, warnings)
        blocks: list[ContentBlock] = []
        if state.is_over:
            found = find_images_by_uid(runtime.library, [one.id for one in outcome.images])
            if sheet is not None:
                blocks = [show_file(sheet), *map(link_image, found)]
            else:
                blocks = show_images(found, runtime)
        made = answer(outcome.sentence, outcome, *blocks)
        is_error = outcome.is_over and outcome.error is not None and not outcome.images
        return made.model_copy(update={"is_error": is_error})

    def _list_models(self, backend: str) -> ModelsOutcome:
        runtime = self._runtime
        names = (backend,) if backend else ()
        states = {one.name: one for one in runtime.engines.backends(is_asked=False).backends}
        found = []
        for listed in runtime.engines.models(names).backends:
            state, tasks = states[listed.name], tuple[str, ...]()
            error = listed.error.message if listed.error else None
            try:
                tasks = tuple(one.task for one in runtime.engines.capabilities(listed.name).tasks)
            except ImagenError as failed:
                error = error or failed.message
            kinds = ("checkpoint", "diffusion_model")
            models = [one.name for one in listed.models if one.kind in kinds]
            found.append(
                BackendModels(
                    backend=listed.name,
                    kind=state.kind,
                    title=state.title,
                    is_default=state.default,
                    is_cloud=is_cloud(listed.name, runtime.settings),
                    tasks=tasks,
                    models=tuple(f"{listed.name}/{name}" for name in models[:_MOST_MODELS]),
                    loras=tuple(one.name for one in listed.models if one.kind == "lora")[
                        :_MOST_MODELS
                    ],
                    error=error,
                )
            )
        return ModelsOutcome(backends=tuple(found))


def is_cloud(backend: str, settings: Settings) -> bool:
    """Whether requests to a backend leave this network."""
    block = settings.backends.get(backend, {})
    kind = str(block.get("type", backend))
    if load_adapter(kind).is_service:
        return True
    url = block.get("url")
    return not is_private_host(str(url)) if url else kind == "openai"

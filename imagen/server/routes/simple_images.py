"""The images of the simple API, by file names, and edits that answer with the image."""

from __future__ import annotations

import asyncio
import base64
import re
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field, JsonValue

from imagen.core.request import LARGEST_SEED, LARGEST_SIDE
from imagen.errors import NotFound
from imagen.library import LibraryImage, find_image_by_id, search_images
from imagen.library import Query as ImageQuery
from imagen.library.search import find_image_at
from imagen.library.trash import move_to_trash
from imagen.outputs.operations import Interpolation
from imagen.runtime import Runtime
from imagen.runtime.client_requests import safe_name
from imagen.runtime.image_files import find_shown_file
from imagen.server.routes.image_files import IMAGE_ANSWER, send_image
from imagen.server.routes.simple import MadeImageView, run_request
from imagen.server.state import AppState, CallerOf, RuntimeOf, State
from imagen.views.base import View
from imagen.views.images import ImageView

router = APIRouter(tags=["simple"])

_NAME = re.compile(r"([0-9a-f-]{36}\.\d{1,4})\.(?:png|jpg|webp|avif)")
_MOST_IMAGES = 500
_CLIENT_WORDS = ("blob:", "image:", "data:")
_IMAGE = "An upload, an image of the library, a data URL, or base64."


class GalleryView(View):
    """Images, newest first."""

    images: tuple[MadeImageView, ...]


class EditedImageView(View):
    """An image that was made from another."""

    id: str = Field(description="Its unique ID in the library.")
    image: str = Field(description="The file in base64.")
    media_type: str
    width: int | None
    height: int | None
    seed: int | None


class EditedImagesView(View):
    """The images of an edit."""

    job: str
    images: tuple[EditedImageView, ...]


class InterpolationBody(View):
    """An image to upscale by interpolation, which needs no engine."""

    image: str = Field(min_length=1, description=_IMAGE)
    method: Interpolation = "lanczos"
    factor: float = Field(2.0, ge=1, le=16, allow_inf_nan=False)


class SamplingBody(View):
    """An image to change, and how an engine samples. Values left out are the backend's."""

    image: str = Field(min_length=1, description=_IMAGE)
    prompt: str = ""
    negative_prompt: str | None = None
    prompt_2: str | None = None
    negative_prompt_2: str | None = None
    model_id: str | None = Field(None, description="A checkpoint, as the backend lists it.")
    num_inference_steps: int | None = Field(None, ge=0, le=10_000)
    guidance_scale: float | None = Field(None, ge=0, le=100, allow_inf_nan=False)
    seed: int | None = Field(None, ge=-1, le=LARGEST_SEED)
    max_compute: float | None = Field(None, gt=0, allow_inf_nan=False)
    backend: str = Field("", description="A backend or a pool; by default as the server says.")


class RedrawUpscaleBody(SamplingBody):
    """An image to upscale and then redraw."""

    factor: float = Field(2.0, ge=1, le=16, allow_inf_nan=False)
    denoise_strength: float = Field(0.3, ge=0, le=1, allow_inf_nan=False)
    upscale_method: Interpolation = "lanczos"


class InpaintBody(SamplingBody):
    """An image of which a part is repainted."""

    mask: str = Field(min_length=1, description="White areas are repainted. " + _IMAGE)
    strength: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    width: int | None = Field(None, ge=16, le=LARGEST_SIDE)
    height: int | None = Field(None, ge=16, le=LARGEST_SIDE)


class OutpaintBody(SamplingBody):
    """An image that is continued beyond one of its sides."""

    direction: Literal["left", "right", "top", "bottom"]
    pixels: int = Field(ge=1, le=LARGEST_SIDE)
    strength: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)


@router.get("/api/images")
def list_gallery(
    http: Request,
    runtime: RuntimeOf,
    caller: CallerOf,
    limit: Annotated[int, Query(ge=1, le=_MOST_IMAGES)] = 100,
) -> GalleryView:
    """List the newest images."""
    base = http.scope.get("root_path", "")
    images, _ = search_images(runtime.library, ImageQuery(), None, limit)
    return GalleryView(
        images=tuple(MadeImageView.build(one, base, is_local=caller.is_local) for one in images)
    )


@router.head("/api/images/{filename}", include_in_schema=False)
@router.get("/api/images/{filename}", response_class=Response, responses=IMAGE_ANSWER)
def get_image_by_name(filename: str, http: Request, runtime: RuntimeOf) -> Response:
    """The file of an image: named as `/api/images` lists it, or as it is in the output folder."""
    return send_image(_find_named(filename, runtime), http, runtime)


@router.delete("/api/images/{filename}")
def delete_image_by_name(filename: str, runtime: RuntimeOf, caller: CallerOf) -> ImageView:
    """Move an image to the trash."""
    image = _find_named(filename, runtime)
    move_to_trash(runtime.library, image)
    return ImageView.of(find_image_by_id(runtime.library, image.uid), is_local=caller.is_local)


@router.post("/upscale/traditional")
async def upscale_by_interpolation(
    body: InterpolationBody, http: Request, state: State, caller: CallerOf
) -> EditedImagesView:
    """Upscale an image by interpolation."""
    values: dict[str, JsonValue] = {
        "image": _client_word(body.image),
        "upscale": {"factor": body.factor, "method": body.method},
    }
    return await _run(values, "", http, state, caller)


@router.post("/upscale/img2img")
async def upscale_and_redraw(
    body: RedrawUpscaleBody, http: Request, state: State, caller: CallerOf
) -> EditedImagesView:
    """Upscale an image by interpolation, then let an engine redraw it."""
    values = _sampling_values(body) | {
        "strength": body.denoise_strength,
        "upscale": {"factor": body.factor, "method": body.upscale_method},
    }
    return await _run(values, body.backend, http, state, caller)


@router.post("/inpaint")
async def inpaint(
    body: InpaintBody, http: Request, state: State, caller: CallerOf
) -> EditedImagesView:
    """Repaint a part of an image."""
    values = _sampling_values(body) | {
        "mask": _client_word(body.mask),
        "strength": body.strength,
        "width": body.width,
        "height": body.height,
    }
    return await _run(values, body.backend, http, state, caller)


@router.post("/outpaint")
async def outpaint(
    body: OutpaintBody, http: Request, state: State, caller: CallerOf
) -> EditedImagesView:
    """Continue an image beyond one of its sides."""
    values = _sampling_values(body) | {
        "outpaint": {body.direction: body.pixels},
        "strength": body.strength,
    }
    return await _run(values, body.backend, http, state, caller)


def _find_named(filename: str, runtime: Runtime) -> LibraryImage:
    """An image by its file name. Raises NotFound."""
    if (match := _NAME.fullmatch(filename)) is not None:
        return find_image_by_id(runtime.library, match[1])
    is_name = filename == safe_name(filename)
    folder = runtime.settings.output.directory
    image = find_image_at(runtime.library, folder / filename) if is_name else None
    if image is None:
        raise NotFound("There is no image of this name.", remedy="List them: GET /api/images")
    return image


def _client_word(image: str) -> str:
    """The image as a request names it: bare base64 as a data URL."""
    return image if image.startswith(_CLIENT_WORDS) else f"data:image/png;base64,{image}"


def _sampling_values(body: SamplingBody) -> dict[str, JsonValue]:
    return {
        "image": _client_word(body.image),
        "prompt": body.prompt,
        "negative": body.negative_prompt,
        "prompt_2": body.prompt_2,
        "negative_2": body.negative_prompt_2,
        "model": body.model_id,
        "steps": body.num_inference_steps,
        "guidance_scale": body.guidance_scale,
        "seed": body.seed,
        "max_compute": body.max_compute,
    }


async def _run(
    values: dict[str, JsonValue], backend: str, http: Request, state: AppState, caller: CallerOf
) -> EditedImagesView:
    """Run a request and wait for its images; if the client leaves, its job is cancelled."""
    finished = await run_request(values, backend, http, state, caller)
    runtime = state.runtime

    def read() -> EditedImagesView:
        views = []
        for one in finished.images:
            path, media_type = find_shown_file(one, runtime.library, runtime.settings)
            views.append(
                EditedImageView(
                    id=one.uid,
                    image=base64.b64encode(path.read_bytes()).decode("ascii"),
                    media_type=media_type,
                    width=one.width,
                    height=one.height,
                    seed=one.seed,
                )
            )
        return EditedImagesView(job=finished.job.id, images=tuple(views))

    return await asyncio.to_thread(read)

"""The API of Stable Diffusion web UI (A1111), at the paths that its clients expect."""

from __future__ import annotations

import asyncio
from contextlib import closing
from io import BytesIO
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from PIL import Image

from imagen.inputs.decode import cover, encode_png
from imagen.outputs import metadata
from imagen.outputs.convert import convert_image
from imagen.outputs.metadata.a1111 import parse_parameters
from imagen.pipeline.pools import open_named
from imagen.runtime import Runtime
from imagen.server.a1111 import listings
from imagen.server.a1111.answers import describe_generation, encode, read_png
from imagen.server.a1111.bodies import (
    ExtraBatchBody,
    ExtrasBody,
    ExtraSingleBody,
    Img2ImgBody,
    OptionsBody,
    PngInfoBody,
    Txt2ImgBody,
)
from imagen.server.a1111.door import LEFT, a1111_router, json_response
from imagen.server.a1111.pixels import decode_base64, decode_pixels
from imagen.server.a1111.runs import A1111Session, describe_progress, run_plan
from imagen.server.a1111.translate import choose_model, plan_extras, plan_generation
from imagen.server.state import AppState, CallerOf, RuntimeOf, State

router = a1111_router("/sdapi/v1")


async def _session_of(state: State, caller: CallerOf) -> A1111Session:
    return state.a1111_session(caller)


SessionOf = Annotated[A1111Session, Depends(_session_of)]


# --- images ---


@router.post("/txt2img")
async def txt2img(body: Txt2ImgBody, state: State, caller: CallerOf, http: Request) -> Response:
    """Generate images, and wait for them."""
    return await _generate("txt2img", body, state, caller, http)


@router.post("/img2img")
async def img2img(body: Img2ImgBody, state: State, caller: CallerOf, http: Request) -> Response:
    """Redraw an image, or what a mask shows of it, and wait for the result."""
    return await _generate("img2img", body, state, caller, http)


async def _generate(
    name: str, body: Txt2ImgBody, state: AppState, caller: CallerOf, http: Request
) -> Response:
    default = state.a1111_session(caller).model
    plan = await asyncio.to_thread(plan_generation, body, default, state.runtime)
    outcome = await run_plan(name, plan, state, caller, http)
    if outcome is None:
        return Response(status_code=LEFT)
    answer = await asyncio.to_thread(describe_generation, body, outcome, plan.part, state.runtime)
    return json_response(answer)


@router.post("/extra-single-image")
async def extra_single_image(
    body: ExtraSingleBody, state: State, caller: CallerOf, http: Request
) -> Response:
    """Upscale an image, or restore its faces, and wait for the result."""
    made = await _upscale(body, body.image, state, caller, http)
    if made is None:
        return Response(status_code=LEFT)
    return json_response({"html_info": made[1], "image": made[0]})


@router.post("/extra-batch-images")
async def extra_batch_images(
    body: ExtraBatchBody, state: State, caller: CallerOf, http: Request
) -> Response:
    """Upscale several images, one after the other, and wait for the results."""
    images: list[str] = []
    notes: list[str] = []
    for one in body.imageList:
        made = await _upscale(body, one.data, state, caller, http)
        if made is None:
            return Response(status_code=LEFT)
        images.append(made[0])
        notes.append(made[1])
    return json_response(
        {"html_info": "\n".join(dict.fromkeys(filter(None, notes))), "images": images}
    )


async def _upscale(
    body: ExtrasBody, image: str, state: AppState, caller: CallerOf, http: Request
) -> tuple[str, str] | None:
    """The image in base64, and remarks about it; None if the client has left."""
    runtime, session = state.runtime, state.a1111_session(caller)
    backend, _ = await asyncio.to_thread(listings.chosen_backend, session, runtime)
    plan = await asyncio.to_thread(plan_extras, body, image, backend, runtime)
    if plan is None:
        return await asyncio.to_thread(_as_png, image, runtime), ""
    outcome = await run_plan("extras", plan, state, caller, http)
    if outcome is None:
        return None
    if not outcome.images:  # interrupted
        return await asyncio.to_thread(_as_png, image, runtime), "\n".join(outcome.notes)
    made = await asyncio.to_thread(read_png, outcome.images[0], runtime)
    if body.resize_mode == 1 and body.upscaling_crop:
        size = (body.upscaling_resize_w, body.upscaling_resize_h)
        made = await asyncio.to_thread(_crop, made, size)
    return encode(made), "\n".join(outcome.notes)


def _as_png(sent: str, runtime: Runtime) -> str:
    data = decode_base64(sent, "image")
    decode_pixels(data, "image", runtime)
    return encode(convert_image(data, "png").data)


def _crop(data: bytes, size: tuple[int, int]) -> bytes:
    with Image.open(BytesIO(data)) as image:
        return encode_png(cover(image, size))


@router.post("/png-info")
def png_info(body: PngInfoBody, runtime: RuntimeOf) -> dict[str, Any]:
    """Read the infotext of an image."""
    data = decode_base64(body.image, "image")
    decode_pixels(data, "image", runtime)
    texts = metadata.read_texts(data, ("parameters", "comment", "Comment"))
    text = next((texts[name] for name in ("parameters", "comment", "Comment") if name in texts), "")
    values, others = parse_parameters(text) if text else ({}, {})
    return {
        "info": text,
        "items": {"parameters": text} if text else {},
        "parameters": values | others,
    }


# --- progress ---


@router.get("/progress")
def progress(
    session: SessionOf, runtime: RuntimeOf, skip_current_image: bool = False
) -> dict[str, Any]:
    """How far the caller's own call is, with a preview."""
    return describe_progress(session, runtime, with_image=not skip_current_image)


@router.post("/interrupt")
def interrupt(session: SessionOf, runtime: RuntimeOf) -> None:
    """Stop the caller's own calls, which answer with the images that they have."""
    session.interrupt(runtime)


@router.post("/skip")
def skip(session: SessionOf, runtime: RuntimeOf) -> None:
    """Give up the image that the caller's call works on, and go on with the next."""
    session.skip(runtime)


# --- options ---


@router.get("/options")
def get_options(session: SessionOf, runtime: RuntimeOf) -> dict[str, Any]:
    """The options that clients look at."""
    return listings.read_options(session, runtime)


@router.post("/options")
def set_options(body: OptionsBody, session: SessionOf, runtime: RuntimeOf) -> None:
    """Choose the model of the caller's requests; other options are ignored."""
    choice = choose_model(body.sd_model_checkpoint, runtime)
    if choice is not None:
        session.model = choice.id


@router.post("/unload-checkpoint")
def unload_checkpoint(runtime: RuntimeOf) -> None:
    """Ask the default engine to free its memory."""
    with closing(open_named(runtime.backend, runtime.settings)) as engine:
        engine.free()


@router.post("/reload-checkpoint")
@router.post("/refresh-checkpoints")
@router.post("/refresh-loras")
@router.post("/refresh-vae")
@router.post("/refresh-embeddings")
def nothing_to_do() -> None:
    """Engines load a model when they need it, and are asked for their models every few seconds."""


# --- lists ---


@router.get("/sd-models")
def sd_models(runtime: RuntimeOf) -> list[dict[str, Any]]:
    """The models that requests can name."""
    return listings.list_models(runtime)


@router.get("/samplers")
def samplers(session: SessionOf, runtime: RuntimeOf) -> list[dict[str, Any]]:
    """The samplers of the chosen model's backend."""
    return listings.list_samplers(session, runtime)


@router.get("/schedulers")
def schedulers(session: SessionOf, runtime: RuntimeOf) -> list[dict[str, Any]]:
    """The schedulers of the chosen model's backend."""
    return listings.list_schedulers(session, runtime)


@router.get("/upscalers")
def upscalers(session: SessionOf, runtime: RuntimeOf) -> list[dict[str, Any]]:
    """The upscalers of the chosen model's backend, and interpolations."""
    return listings.list_upscalers(session, runtime)


@router.get("/loras")
def loras(session: SessionOf, runtime: RuntimeOf) -> list[dict[str, Any]]:
    """The LoRAs of the chosen model's backend."""
    return listings.list_loras(session, runtime)


@router.get("/sd-vae")
@router.get("/sd-modules")
def sd_vae(session: SessionOf, runtime: RuntimeOf) -> list[dict[str, Any]]:
    """The VAEs of the chosen model's backend. Requests cannot name one."""
    return listings.list_vaes(session, runtime)


@router.get("/prompt-styles")
def prompt_styles(runtime: RuntimeOf) -> list[dict[str, Any]]:
    """The styles of the configuration."""
    return listings.list_styles(runtime)


@router.get("/latent-upscale-modes")
@router.get("/hypernetworks")
@router.get("/face-restorers")
@router.get("/realesrgan-models")
@router.get("/script-info")
def nothing_listed() -> list[dict[str, Any]]:
    """Nothing: imagen has none of these."""
    return []


@router.get("/embeddings")
def embeddings() -> dict[str, Any]:
    """None: engines do not list theirs."""
    return {"loaded": {}, "skipped": {}}


@router.get("/scripts")
def scripts() -> dict[str, list[str]]:
    """The extension that is supported, by the name that clients look for."""
    return {"txt2img": ["controlnet"], "img2img": ["controlnet"]}


@router.get("/cmd-flags")
def cmd_flags() -> dict[str, Any]:
    """None."""
    return {}


@router.get("/memory")
def memory(runtime: RuntimeOf) -> dict[str, Any]:
    """The memory of the first GPU of the default engine, as far as it says."""
    with closing(open_named(runtime.backend, runtime.settings)) as engine:
        gpus = engine.check().gpus
    free, total = (gpus[0].vram_free_bytes, gpus[0].vram_total_bytes) if gpus else (None, None)
    unknown: dict[str, Any] = {"error": "unknown"}
    if free is None or total is None:
        return {"ram": unknown, "cuda": unknown}
    system = {"free": free, "used": total - free, "total": total}
    return {"ram": unknown, "cuda": {"system": system}}

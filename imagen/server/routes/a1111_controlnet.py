"""The API of A1111's ControlNet extension: what the backend has, and control images of an image."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import Request, Response

from imagen.core.capabilities import Capabilities
from imagen.errors import RequestError
from imagen.runtime import Runtime
from imagen.runtime.client_requests import store_image
from imagen.server.a1111.answers import encode, read_png
from imagen.server.a1111.bodies import DetectBody
from imagen.server.a1111.door import LEFT, a1111_router, json_response
from imagen.server.a1111.listings import chosen_backend
from imagen.server.a1111.pixels import decode_base64
from imagen.server.a1111.runs import A1111Session, run_plan
from imagen.server.a1111.translate import (
    NO_MODULE,
    A1111Plan,
    control_kind,
    read_capabilities,
)
from imagen.server.routes.a1111 import SessionOf
from imagen.server.state import CallerOf, RuntimeOf, State

router = a1111_router("/controlnet")
_VERSION = 3
"""That of the extension's API, in which a unit names its image `image`."""
_UNITS = 3


def _capabilities(session: A1111Session, runtime: Runtime) -> Capabilities:
    backend, model = chosen_backend(session, runtime)
    return read_capabilities(backend, "text-to-image", model, runtime)


@router.get("/version")
def version() -> dict[str, int]:
    """The version of the extension's API."""
    return {"version": _VERSION}


@router.get("/settings")
def settings() -> dict[str, int]:
    """How many units clients should offer; requests may have more."""
    return {"control_net_unit_count": _UNITS}


@router.get("/model_list")
def model_list(session: SessionOf, runtime: RuntimeOf) -> dict[str, list[str]]:
    """The kinds of control image that the backend takes, in place of models."""
    return {"model_list": [*_capabilities(session, runtime).controls]}


@router.get("/module_list")
def module_list(session: SessionOf, runtime: RuntimeOf) -> dict[str, Any]:
    """The kinds of control image that the backend makes of an image."""
    made = _capabilities(session, runtime).preprocessors
    return {"module_list": [NO_MODULE, *made], "module_detail": {}}


@router.get("/control_types")
def control_types(session: SessionOf, runtime: RuntimeOf) -> dict[str, Any]:
    """For each kind of control image, its model and its module."""
    found = _capabilities(session, runtime)
    return {
        "control_types": {
            kind: {
                "module_list": [NO_MODULE, *({kind} & {*found.preprocessors})],
                "model_list": [kind],
                "default_option": kind if kind in found.preprocessors else NO_MODULE,
                "default_model": kind,
            }
            for kind in found.controls
        }
    }


@router.post("/detect")
async def detect(
    body: DetectBody, session: SessionOf, state: State, caller: CallerOf, http: Request
) -> Response:
    """Make control images, and wait for them."""
    runtime = state.runtime
    backend, _ = await asyncio.to_thread(chosen_backend, session, runtime)
    known = (await asyncio.to_thread(_capabilities, session, runtime)).preprocessors
    kind = control_kind(body.controlnet_module, "", known)
    sent = body.controlnet_input_images or body.controlnet_images
    if not sent:
        raise RequestError("controlnet_input_images: expected at least one image in base64.")
    if kind is None:
        raise RequestError(
            "controlnet_module: it does not say which kind of control image to make.",
            remedy=f"This backend makes: {', '.join(known) or 'none'}.",
        )
    images: list[str] = []
    for text in sent:
        data = await asyncio.to_thread(decode_base64, text, "controlnet_input_images")
        stored = await asyncio.to_thread(store_image, data, "image", runtime)
        plan = A1111Plan(backend, {"image": stored, "preprocess": kind})
        outcome = await run_plan("detect", plan, state, caller, http)
        if outcome is None:
            return Response(status_code=LEFT)
        for image in outcome.images:
            images.append(encode(await asyncio.to_thread(read_png, image, runtime)))
    return json_response({"images": images, "info": "Success"})

"""OpenAI's Images API at /v1, for the clients that speak it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, Query, Response
from fastapi import Request as HttpRequest
from fastapi.responses import StreamingResponse
from pydantic import Field

from imagen.errors import NotFound
from imagen.library import find_image_by_id
from imagen.server.openai.answers import (
    OpenaiImages,
    build_answer,
    build_url_answer,
    check_signature,
    encode_image,
    facts_of,
    no_images,
)
from imagen.server.openai.bodies import ImageCall, OpenaiEditBody, OpenaiImageBody, read_edit
from imagen.server.openai.requests import KNOWN_IDS, find_model
from imagen.server.openai.stream import stream_call
from imagen.server.openai.submit import status_of_failure, submit_call
from imagen.server.problems import error_response
from imagen.server.state import CallerOf, RuntimeOf, State, require
from imagen.views.base import View

if TYPE_CHECKING:
    from imagen.runtime.caller import Caller
    from imagen.runtime.run import FinishedJob
    from imagen.server.openai.submit import SubmittedCall
    from imagen.server.state import AppState

router = APIRouter(prefix="/v1", tags=["openai"])
_IMAGES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": OpenaiImages,
        "description": "The images; with `stream`, events.",
        "content": {"text/event-stream": {}},
    }
}


def _edit_schema() -> dict[str, Any]:
    """The schema of the body of an edit, in one piece: its references would not be found."""
    schema = OpenaiEditBody.model_json_schema()
    text = json.dumps({name: value for name, value in schema.items() if name != "$defs"})
    for name, part in schema["$defs"].items():
        text = text.replace(json.dumps({"$ref": f"#/$defs/{name}"}), json.dumps(part))
    whole: dict[str, Any] = json.loads(text)
    return whole


_EDIT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": _edit_schema()} for kind in ("application/json", "multipart/form-data")
        },
    }
}
_MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


class OpenaiModel(View):
    """Something that a call can name as its model."""

    id: str
    object: str = "model"
    created: int = 0
    owned_by: str = Field(description="The backend or pool.")


class OpenaiModels(View):
    """All of them."""

    object: str = "list"
    data: tuple[OpenaiModel, ...]


@router.post("/images/generations", responses=_IMAGES, response_model=None)
async def create_images(
    body: OpenaiImageBody, http: HttpRequest, state: State, caller: CallerOf
) -> Response:
    """Generate images."""
    return await _answer(ImageCall(body=body), http, state, caller)


@router.post("/images/edits", responses=_IMAGES, response_model=None, openapi_extra=_EDIT_BODY)
async def edit_images(http: HttpRequest, state: State, caller: CallerOf) -> Response:
    """Change images as the prompt says, or repaint what a mask marks."""
    return await _answer(await read_edit(http), http, state, caller)


async def _answer(call: ImageCall, http: HttpRequest, state: AppState, caller: Caller) -> Response:
    submitted = await asyncio.to_thread(submit_call, call, http.headers, state.runtime, caller)
    if call.body.stream:
        return StreamingResponse(
            stream_call(call, submitted, state, http),
            media_type="text/event-stream",
            headers={
                "Cache-Control": "no-cache",
                "X-Accel-Buffering": "no",
                "Imagen-Job": submitted.id,
            },
        )
    finished = await state.run_to_end(submitted.id, http, return_seconds=submitted.return_seconds)
    if finished is None:  # the client has left
        return Response(status_code=499)
    return await asyncio.to_thread(_answer_finished, finished, call, submitted, http, state)


def _answer_finished(
    finished: FinishedJob,
    call: ImageCall,
    submitted: SubmittedCall,
    http: HttpRequest,
    state: AppState,
) -> Response:
    images, error = finished.images, finished.error
    if not images:
        error = error or no_images()
        return error_response(error, http.scope, status=status_of_failure(error))
    facts = facts_of(submitted, images, [error.message] if error is not None else [])
    if call.body.response_format == "url":
        base = str(http.base_url)
        answer = build_url_answer(images, call.body, facts, base_url=base, key=state.signing_key)
    else:
        answer = build_answer(images, call.body, facts, state.runtime)
    return Response(answer.model_dump_json(exclude_none=True), media_type="application/json")


@router.get("/images/files/{name}", dependencies=[Depends(require(None))], response_class=Response)
def get_signed_image(
    name: str,
    state: State,
    expires: int,
    signature: str,
    compression: str = Query("", pattern=r"^\d{0,3}$"),
) -> Response:
    """An image at an address that a call with `response_format: url` was answered."""
    check_signature(name, expires, compression, signature, state.signing_key)
    uid, _, ending = name.rpartition(".")
    image = find_image_by_id(state.runtime.library, uid)
    if image.is_trashed:
        raise NotFound("This image was deleted.")
    body = OpenaiImageBody.model_validate(
        {"prompt": "-", "output_format": ending, "output_compression": compression or None}
    )
    data = encode_image(image, body, state.runtime).data
    headers = {
        "Cache-Control": "private, max-age=3600",
        "Cross-Origin-Resource-Policy": "cross-origin",  # pages of the client may show it
    }
    return Response(data, media_type=_MEDIA_TYPES[ending], headers=headers)


@router.get("/models")
def list_openai_models(runtime: RuntimeOf) -> OpenaiModels:
    """What calls can name as their model: aliases, models, backends and pools."""
    choices = {choice.id: choice.backend for choice in runtime.models.choices()}
    for alias, target in runtime.settings.server.openai_aliases.items():
        if not {*alias} & {*"*?["}:
            choices.setdefault(alias, target)
    for known in KNOWN_IDS:
        choices.setdefault(known, runtime.backend)
    return OpenaiModels(data=tuple(OpenaiModel(id=k, owned_by=v) for k, v in choices.items()))


@router.get("/models/{id:path}")
def get_openai_model(id: str, runtime: RuntimeOf) -> OpenaiModel:
    """One of them."""
    return OpenaiModel(id=id, owned_by=find_model(id, runtime).backend)

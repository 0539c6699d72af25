"""ComfyUI's own API in front of one of its servers: prompts are jobs, the rest is passed on."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote
from uuid import uuid4

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from imagen.server.comfyui.messages import PromptMessages, text_frame
from imagen.server.comfyui.prompts import RUNNING, WAITING, ClientPrompts, PromptBody
from imagen.server.state import AppState, CallerOf

if TYPE_CHECKING:
    from imagen.runtime.caller import Caller

_PASSED_ON = ("content-type", "content-disposition", "last-modified")
"""Headers of the engine's answers."""
_LONGEST_MESSAGE = 64 * 1024
_FEATURES = {"supports_preview_metadata": True}

router = APIRouter(tags=["comfyui"])


async def _prompts_of(http: Request) -> ClientPrompts:
    prompts = http.app.state.prompts
    assert isinstance(prompts, ClientPrompts)
    return prompts


Prompts = Annotated[ClientPrompts, Depends(_prompts_of)]


class ChangeBody(BaseModel):
    """Prompts to remove."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    clear: bool = False
    delete: tuple[str, ...] = ()
    prompt_id: str | None = None


@router.post("/prompt")
def post_prompt(body: PromptBody, prompts: Prompts, caller: CallerOf) -> dict[str, Any]:
    """Put a graph in line."""
    id = prompts.submit(body, caller)
    return {"prompt_id": id, "number": 0, "node_errors": {}}


@router.get("/prompt")
def get_prompt(prompts: Prompts, caller: CallerOf) -> dict[str, Any]:
    """How many prompts of the caller run or wait."""
    remaining = len(prompts.list_jobs((*RUNNING, *WAITING), caller))
    return {"exec_info": {"queue_remaining": remaining}}


@router.get("/queue")
def get_queue(prompts: Prompts, caller: CallerOf) -> dict[str, Any]:
    """The caller's prompts that run, and those that wait."""
    return {
        "queue_running": [prompts.row_of(job) for job in prompts.list_jobs(RUNNING, caller)],
        "queue_pending": [prompts.row_of(job) for job in prompts.list_jobs(WAITING, caller)],
    }


@router.post("/queue", response_class=Response)
def post_queue(body: ChangeBody, prompts: Prompts, caller: CallerOf) -> Response:
    """Remove the caller's waiting prompts, or some of them."""
    waiting = [job.id for job in prompts.list_jobs(WAITING, caller)]
    ids = waiting if body.clear else [id for id in body.delete if id in waiting]
    prompts.cancel(ids, caller, WAITING)
    return Response()


@router.post("/interrupt", response_class=Response)
def interrupt(prompts: Prompts, caller: CallerOf, body: ChangeBody | None = None) -> Response:
    """Stop the caller's running prompt, or this one if it runs."""
    running = [job.id for job in prompts.list_jobs(RUNNING, caller)]
    wanted = body.prompt_id if body is not None else None
    ids = running if wanted is None else [id for id in running if id == wanted]
    prompts.cancel(ids, caller, RUNNING)
    return Response()


@router.get("/history")
def get_history(prompts: Prompts, caller: CallerOf, max_items: int = 20) -> dict[str, Any]:
    """The caller's last prompts that have ended, as the engine has them."""
    ended = prompts.list_jobs(("done", "failed"), caller)[-max(1, min(max_items, 100)) :]
    return {id: entry for job in ended for id, entry in prompts.history(job).items()}


@router.get("/history/{id}")
def get_history_of(id: str, prompts: Prompts, caller: CallerOf) -> dict[str, Any]:
    """One prompt that has ended."""
    job = prompts.find(id, caller)
    return {} if job is None else prompts.history(job)


@router.get("/view")
@router.get("/object_info")
@router.get("/object_info/{name}")
@router.get("/system_stats")
@router.get("/embeddings")
@router.get("/models")
@router.get("/models/{name}")
@router.get("/features")
def pass_on(http: Request, prompts: Prompts) -> Response:
    """What the engine answers."""
    path = re.sub(r"^/api(?=/)", "", http.url.path.removeprefix(http.scope.get("root_path", "")))
    answer = prompts.ask("GET", quote(path), params=[*http.query_params.multi_items()])
    return _passed_on(answer)


@router.post("/upload/image")
@router.post("/upload/mask")
async def upload(http: Request, prompts: Prompts) -> Response:
    """Store an image in the engine's input folder."""
    body = await http.body()
    path = "/upload/mask" if http.url.path.endswith("/mask") else "/upload/image"
    headers = {"Content-Type": http.headers.get("content-type", "")}
    return _passed_on(
        await asyncio.to_thread(prompts.ask, "POST", path, content=body, headers=headers)
    )


def _passed_on(answer: Any) -> Response:
    kept = {name: answer.headers[name] for name in _PASSED_ON if name in answer.headers}
    return Response(answer.content, answer.status_code, headers=kept)


async def follow(websocket: WebSocket) -> None:
    """Send the events of the client's prompts until it leaves."""
    state: AppState = websocket.app.state.server
    prompts: ClientPrompts = websocket.app.state.prompts
    caller: Caller = websocket.scope["state"]["caller"]
    if "read" not in caller.scopes:
        await websocket.close(1008)
        return
    await websocket.accept()
    client_id = websocket.query_params.get("clientId", "")[:200] or uuid4().hex
    messages = PromptMessages(prompts, caller, client_id)
    with state.subscribe() as queue:
        await websocket.send_text(await asyncio.to_thread(messages.status, sid=client_id))
        reading = asyncio.ensure_future(_read(websocket, messages))
        try:
            while not reading.done():
                coming = asyncio.ensure_future(queue.get())
                await asyncio.wait({coming, reading}, return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    coming.cancel()
                    break
                for frame in await asyncio.to_thread(messages.translate, coming.result() or ()):
                    if isinstance(frame, bytes):
                        await websocket.send_bytes(frame)
                    else:
                        await websocket.send_text(frame)
        except WebSocketDisconnect:
            pass
        finally:
            reading.cancel()


async def _read(websocket: WebSocket, messages: PromptMessages) -> None:
    """Read what the client sends, until it leaves; only its features matter."""
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text") or ""
        if len(text) > _LONGEST_MESSAGE or '"feature_flags"' not in text:
            continue
        try:
            flags = json.loads(text)["data"]
            messages.wants_metadata = bool(flags.get("supports_preview_metadata"))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            continue
        await websocket.send_text(text_frame("feature_flags", _FEATURES))


router.routes.append(WebSocketRoute("/ws", follow))

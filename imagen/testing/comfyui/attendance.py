"""One connection: its requests in turn, or its websocket."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING
from urllib.parse import quote

from imagen.testing.comfyui import routes
from imagen.testing.comfyui.setup import Seen
from imagen.testing.comfyui.sockets import reset
from imagen.testing.comfyui.websocket import WebSocket
from imagen.testing.comfyui.wire import CUT, Answer, Stream
from imagen.testing.comfyui.world import Stopped

if TYPE_CHECKING:
    import socket

    from imagen.testing.comfyui.failure_switches import GatewayAnswer
    from imagen.testing.comfyui.wire import Request
    from imagen.testing.comfyui.world import World

_LOCAL = ("127.0.0.1", "localhost")


def attend(world: World, connection: socket.socket) -> None:
    """Serve a connection until one side is done with it."""
    stream = Stream(connection)
    try:
        while (request := stream.request()) is not None:
            if not _served(world, connection, stream, request):
                return
    except Stopped:
        return


def _served(world: World, connection: socket.socket, stream: Stream, request: Request) -> bool:
    """Whether another request may follow."""
    world.observed.requests.append(Seen(request.method, request.target, request.headers))
    path = _inner_path(world, request.path)
    refused = _refusal(world, request, path)
    if refused is None and path == "/ws" and request.is_websocket:
        return _talk(world, connection, stream, request)
    answer = refused or _answer(world, request, path)
    if answer.cut:
        reset(connection)
        return False
    stream.send(answer, head_only=request.method == "HEAD")
    return request.keeps_alive and not answer.is_last


def _inner_path(world: World, path: str) -> str | None:
    base = world.setup.base_path.rstrip("/")
    if not path.startswith(f"{base}/"):
        return None
    inner = path.removeprefix(base)
    return inner.removeprefix("/api") if inner.startswith("/api/") else inner


def _answer(world: World, request: Request, path: str | None) -> Answer:
    world.sleep(world.hostility.slow)
    return routes.answer(world, request, path or "")


def _refusal(world: World, request: Request, path: str | None) -> Answer | None:
    """The answer to a request that doesn't get through."""
    if path is None:
        return Answer(status=404)
    credential = world.setup.credential
    if credential and request.headers.get("authorization") != credential:
        return Answer(status=401, headers={"WWW-Authenticate": credential.split(" ")[0]})
    origin = request.headers.get("origin", "").partition("://")[2]
    host = request.headers.get("host", "")
    if origin and origin != host and host.split(":")[0] in _LOCAL:
        return Answer(status=403)
    if world.hostility.redirect:
        there = world.hostility.redirect.rstrip("/") + quote(path)
        return Answer(status=302, headers={"Location": there})
    return _hostile(world, request, path)


def _hostile(world: World, request: Request, path: str) -> Answer | None:
    hostility = world.hostility
    reconnects = hostility.refuse_reconnect and bool(world.observed.client_ids)
    if path == "/ws" and (hostility.refuse_ws or reconnects):
        return Answer(status=403)
    for number, refusal in enumerate(hostility.http_errors):
        if not _meant(refusal, request, path):
            continue
        if world.mischief.strikes(f"before {number} {refusal}", refusal.after):
            continue
        if world.mischief.strikes(f"http {number} {refusal}", refusal.times):
            return _refused(world, request, path, refusal)
    return None


def _refused(world: World, request: Request, path: str, refusal: GatewayAnswer) -> Answer:
    """What is answered in place of the server."""
    if refusal.reaches:
        _answer(world, request, path)
    if refusal.hangs:
        world.sleep(threading.TIMEOUT_MAX)
    if refusal.cuts:
        return CUT
    again = {} if refusal.retry_after is None else {"Retry-After": refusal.retry_after}
    return Answer(
        status=refusal.status,
        body=refusal.body.encode(),
        content_type=refusal.content_type,
        headers=again,
    )


def _meant(refusal: GatewayAnswer, request: Request, path: str) -> bool:
    return path.startswith(refusal.path) and refusal.method in ("", request.method)


def _talk(world: World, connection: socket.socket, stream: Stream, request: Request) -> bool:
    """A websocket, from its handshake to its end."""
    sid = request.query.get("clientId") or uuid.uuid4().hex
    websocket = WebSocket(connection, stream, sid=sid)
    if not websocket.accepts(request.head):
        websocket.open()
        return False
    first = not world.observed.client_ids
    world.observed.client_ids.append(sid)
    running = world.jobs.running
    at = world.now_at if running is not None and running.client_id == sid else None
    world.hub.enter(websocket, world.jobs.remaining(), first=first, running=at)
    try:
        websocket.listen(world.hub.answer_flags)
    finally:
        world.hub.leave(websocket)
    return False

"""What the server answers over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.testing.comfyui import prompts, uploads, views
from imagen.testing.comfyui.hub import FEATURES
from imagen.testing.comfyui.setup import OLD_VERSION
from imagen.testing.comfyui.wire import EMPTY, Answer, as_json, as_text, broken

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen.testing.comfyui.wire import Request
    from imagen.testing.comfyui.world import World

    Handler = Callable[[World, Request], Answer]

_NOT_FOUND = Answer(status=404, content_type="application/octet-stream")
_MODEL_BYTES = 2 << 30
_WEBSOCKET_ONLY = 'No WebSocket UPGRADE hdr: None\n Can "Upgrade" only to "WebSocket".'


def answer(world: World, request: Request, path: str) -> Answer:
    """The answer to a request for a path, without base path and `/api`."""
    most = world.hostility.largest_body
    if most and len(request.body) > most:
        return as_text(f"Maximum request body size {most} exceeded.", 413)
    method = "GET" if request.method == "HEAD" else request.method
    handler = _ROUTES.get((method, path))
    if handler is not None:
        return handler(world, request)
    for start, longer in _LONGER.items():
        if method == "GET" and path.startswith(start):
            return longer(world, path.removeprefix(start))
    return _NOT_FOUND


def _remaining(world: World, _: Request) -> Answer:
    return as_json({"exec_info": {"queue_remaining": world.jobs.remaining()}})


def _queue(world: World, _: Request) -> Answer:
    return as_json(world.jobs.queue())


def _change_queue(world: World, request: Request) -> Answer:
    said = _object(request)
    if said is None:
        return broken()
    if said.get("clear"):
        world.jobs.clear()
    deleted = world.jobs.delete(str(prompt_id) for prompt_id in said.get("delete", ()))
    if deleted or said.get("clear"):
        world.tell_status()
    return EMPTY


def _interrupt(world: World, request: Request) -> Answer:
    said = _object(request) if request.body else {}
    if said is None:
        return broken()
    wanted = said.get("prompt_id")
    world.observed.interrupts.append(wanted)
    running = world.jobs.running
    if world.hostility.old_server or wanted is None or (running and running.prompt_id == wanted):
        world.interrupted.set()
    return EMPTY


def _history(world: World, request: Request) -> Answer:
    entries = list(world.jobs.history.items())
    query = request.query
    try:
        most = int(query["max_items"]) if "max_items" in query else len(entries)
        offset = int(query.get("offset", -1))
    except ValueError:
        return broken()
    first = max(0, len(entries) - most) if offset < 0 else offset
    return as_json(dict(entries[first : first + most]))


def _history_of(world: World, prompt_id: str) -> Answer:
    world.jobs.release(world.tell_status)
    entry = world.jobs.history.get(prompt_id)
    late = world.hostility.history_late
    if entry is None or world.mischief.strikes(f"history_late {prompt_id}", late):
        return as_json({})
    return as_json({prompt_id: entry})


def _change_history(world: World, request: Request) -> Answer:
    said = _object(request)
    if said is None:
        return broken()
    if said.get("clear"):
        world.jobs.history.clear()
    for prompt_id in said.get("delete", ()):
        world.jobs.history.pop(prompt_id, None)
    return EMPTY


def _free(world: World, request: Request) -> Answer:
    said = _object(request)
    if said is None:
        return broken()
    if said.get("free_memory"):
        world.jobs.cache = {}
    return EMPTY


def _object_info(world: World, _: Request) -> Answer:
    return as_json(world.catalogue.all())


def _class_info(world: World, name: str) -> Answer:
    return as_json({name: world.catalogue.info(name)} if name in world.catalogue else {})


def _folders(world: World, _: Request) -> Answer:
    return as_json(world.shelves.folders)


def _models(world: World, folder: str) -> Answer:
    known = folder in world.shelves.folders
    return as_json(world.shelves.names(folder)) if known else Answer(status=404)


def _sized(world: World, folder: str) -> Answer:
    """The files of a folder, with what the disk says of them."""
    about = {"pathIndex": 0, "modified": 1.0, "created": 1.0, "size": _MODEL_BYTES}
    return as_json([{"name": name, **about} for name in world.shelves.names(folder)])


def _features(world: World, _: Request) -> Answer:
    return _NOT_FOUND if world.hostility.old_server else as_json(FEATURES)


def _embeddings(_world: World, _: Request) -> Answer:
    return as_json([])


def _no_socket(_world: World, _: Request) -> Answer:
    return as_text(_WEBSOCKET_ONLY, 400)


def _system_stats(world: World, _: Request) -> Answer:
    total, free = world.setup.vram
    version = OLD_VERSION if world.hostility.old_server else world.setup.version
    system = {
        "os": "posix",
        "ram_total": 64 << 30,
        "ram_free": 48 << 30,
        "comfyui_version": version,
        "python_version": "3.11.7",
        "pytorch_version": "2.8.0",
        "embedded_python": False,
        "argv": ["main.py"],
    }
    device = {
        "name": "cuda:0 Imaginary GPU : cudaMallocAsync",
        "type": "cuda",
        "index": 0,
        "vram_total": total,
        "vram_free": free,
        "torch_vram_total": total - free,
        "torch_vram_free": 0,
    }
    return as_json({"system": system, "devices": [device]})


def _object(request: Request) -> dict[str, Any] | None:
    """The body, if it is a JSON object."""
    try:
        said = request.json()
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


_ROUTES: dict[tuple[str, str], Handler] = {
    ("GET", "/ws"): _no_socket,
    ("GET", "/prompt"): _remaining,
    ("POST", "/prompt"): prompts.post,
    ("GET", "/queue"): _queue,
    ("POST", "/queue"): _change_queue,
    ("POST", "/interrupt"): _interrupt,
    ("GET", "/history"): _history,
    ("POST", "/history"): _change_history,
    ("GET", "/view"): views.get,
    ("POST", "/upload/image"): uploads.post,
    ("GET", "/object_info"): _object_info,
    ("GET", "/models"): _folders,
    ("GET", "/embeddings"): _embeddings,
    ("GET", "/features"): _features,
    ("GET", "/system_stats"): _system_stats,
    ("POST", "/free"): _free,
}
_LONGER: dict[str, Callable[[World, str], Answer]] = {
    "/history/": _history_of,
    "/object_info/": _class_info,
    "/models/": _models,
    "/experiment/models/": _sized,
}

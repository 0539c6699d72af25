"""The HTTP routes: what the server answers, and what a gateway answers in its place."""

from __future__ import annotations

import mimetypes
import re
import threading
import uuid
from dataclasses import replace
from email.parser import BytesHeaderParser
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from imagen.testing.comfyui import images
from imagen.testing.comfyui.state import FOLDERS, OLD_VERSION, QueuedPrompt
from imagen.testing.comfyui.validation import PromptRefused, validate_prompt
from imagen.testing.comfyui.websocket import FEATURES
from imagen.testing.http_server import RESET, HttpAnswer, json_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imagen.testing.comfyui.graph import Graph
    from imagen.testing.comfyui.state import ServerState
    from imagen.testing.comfyui.validation import PostedGraph, ValidatedPrompt
    from imagen.testing.http_server import HttpRequest

OTHER_CLIENT = "another-client"
_TEXT = {"Content-Type": "text/plain; charset=utf-8"}
_EMPTY = HttpAnswer()
_NOT_FOUND = HttpAnswer(status=404, headers={"Content-Type": "application/octet-stream"})
_CRASHED = HttpAnswer(
    status=500,
    body=b"500 Internal Server Error\n\nServer got itself in trouble",
    headers={**_TEXT, "Connection": "close"},
)
"""What ComfyUI answers after an exception."""
_MODEL_BYTES = 2 << 30
_LONGEST_WAIT_SECONDS = 30.0
_CANONICAL_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_BOUNDARY = re.compile(r'boundary="?([^";]+)"?')


def inner_path(state: ServerState, path: str) -> str | None:
    """The path without base path and `/api`; None for a path outside the base path."""
    base = state.options.base_path.rstrip("/")
    if not path.startswith(f"{base}/"):
        return None
    inner = path.removeprefix(base)
    return inner.removeprefix("/api") if inner.startswith("/api/") else inner


def refuse(state: ServerState, request: HttpRequest, path: str | None) -> HttpAnswer | None:
    """The answer to a request that does not get through; None for one that does."""
    if path is None:
        return HttpAnswer(status=404)
    credential, switches = state.options.credential, state.switches
    if credential and request.headers.get("authorization") != credential:
        scheme = credential.split(" ")[0]
        return HttpAnswer(status=401, headers={"WWW-Authenticate": scheme})
    origin = request.headers.get("origin", "").partition("://")[2]
    host = request.headers.get("host", "")
    if origin and origin != host and host.split(":")[0] in ("127.0.0.1", "localhost"):
        return HttpAnswer(status=403)
    if switches.redirect:
        target = switches.redirect.rstrip("/") + quote(path)
        return HttpAnswer(status=302, headers={"Location": target})
    is_reconnect = switches.refuse_reconnect and bool(state.log.client_ids)
    if path == "/ws" and (switches.refuse_ws or is_reconnect):
        return HttpAnswer(status=403)
    for number, gateway in enumerate(switches.http_errors):
        if not path.startswith(gateway.path) or gateway.method not in ("", request.method):
            continue
        if state.active.strikes(f"before {number} {gateway}", gateway.after):
            continue
        if state.active.strikes(f"http {number} {gateway}", gateway.times):
            if gateway.reaches:
                answer_request(state, request, path)
            if gateway.hangs:
                state.sleep(threading.TIMEOUT_MAX)
            if gateway.cuts:
                return RESET
            retry = {} if gateway.retry_after is None else {"Retry-After": gateway.retry_after}
            return HttpAnswer(
                status=gateway.status,
                body=gateway.body.encode(),
                headers={"Content-Type": gateway.content_type, **retry},
            )
    return None


def answer_request(state: ServerState, request: HttpRequest, path: str) -> HttpAnswer:
    """The server's own answer."""
    state.sleep(state.switches.slow)
    limit = state.switches.largest_body
    if limit and len(request.body) > limit:
        text = f"Maximum request body size {limit} exceeded."
        return HttpAnswer(status=413, body=text.encode(), headers=_TEXT)
    method = "GET" if request.method == "HEAD" else request.method
    route = _ROUTES.get((method, path))
    if route is not None:
        return route(state, request)
    for prefix, prefix_route in _PREFIX_ROUTES.items():
        if method == "GET" and path.startswith(prefix):
            return prefix_route(state, path.removeprefix(prefix))
    return _NOT_FOUND


def _read_object(request: HttpRequest) -> dict[str, Any] | None:
    """The body, if it is a JSON object."""
    try:
        content = request.json()
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def get_ws(_state: ServerState, _: HttpRequest) -> HttpAnswer:
    text = 'No WebSocket UPGRADE hdr: None\n Can "Upgrade" only to "WebSocket".'
    return HttpAnswer(status=400, body=text.encode(), headers=_TEXT)


def get_prompt(state: ServerState, _: HttpRequest) -> HttpAnswer:
    return json_answer({"exec_info": {"queue_remaining": state.queue.remaining()}})


def get_queue(state: ServerState, _: HttpRequest) -> HttpAnswer:
    return json_answer(state.queue.rows())


def post_queue(state: ServerState, request: HttpRequest) -> HttpAnswer:
    content = _read_object(request)
    if content is None:
        return _CRASHED
    if content.get("clear"):
        state.queue.clear()
    is_deleted = state.queue.delete(str(prompt_id) for prompt_id in content.get("delete", ()))
    if is_deleted or content.get("clear"):
        state.send_status()
    return _EMPTY


def post_interrupt(state: ServerState, request: HttpRequest) -> HttpAnswer:
    content = _read_object(request) if request.body else {}
    if content is None:
        return _CRASHED
    wanted, running = content.get("prompt_id"), state.queue.running
    state.log.interrupts.append(wanted)
    is_running = running is not None and running.prompt_id == wanted
    if state.switches.old_server or wanted is None or is_running:
        state.interrupted.set()
    return _EMPTY


def get_history(state: ServerState, request: HttpRequest) -> HttpAnswer:
    entries, query = list(state.queue.history.items()), request.query
    try:
        limit = int(query.get("max_items", len(entries)))
        offset = int(query.get("offset", -1))
    except ValueError:
        return _CRASHED
    first = max(0, len(entries) - limit) if offset < 0 else offset
    return json_answer(dict(entries[first : first + limit]))


def get_history_of(state: ServerState, prompt_id: str) -> HttpAnswer:
    state.queue.release(state.send_status)
    entry = state.queue.history.get(prompt_id)
    late = state.switches.history_late
    if entry is None or state.active.strikes(f"history_late {prompt_id}", late):
        return json_answer({})
    return json_answer({prompt_id: entry})


def post_history(state: ServerState, request: HttpRequest) -> HttpAnswer:
    content = _read_object(request)
    if content is None:
        return _CRASHED
    if content.get("clear"):
        state.queue.history.clear()
    for prompt_id in content.get("delete", ()):
        state.queue.history.pop(prompt_id, None)
    return _EMPTY


def post_free(state: ServerState, request: HttpRequest) -> HttpAnswer:
    content = _read_object(request)
    if content is None:
        return _CRASHED
    if content.get("free_memory"):
        state.queue.cache = {}
    return _EMPTY


def get_object_info(state: ServerState, _: HttpRequest) -> HttpAnswer:
    return json_answer(state.catalog.all())


def get_class_info(state: ServerState, name: str) -> HttpAnswer:
    return json_answer({name: state.catalog.info(name)} if name in state.catalog else {})


def get_model_folders(state: ServerState, _: HttpRequest) -> HttpAnswer:
    return json_answer(state.models.folders)


def get_models(state: ServerState, folder: str) -> HttpAnswer:
    if folder not in state.models.folders:
        return HttpAnswer(status=404)
    return json_answer(state.models.names(folder))


def get_models_with_sizes(state: ServerState, folder: str) -> HttpAnswer:
    file = {"pathIndex": 0, "modified": 1.0, "created": 1.0, "size": _MODEL_BYTES}
    return json_answer([{"name": name, **file} for name in state.models.names(folder)])


def get_features(state: ServerState, _: HttpRequest) -> HttpAnswer:
    return _NOT_FOUND if state.switches.old_server else json_answer(FEATURES)


def get_embeddings(_state: ServerState, _: HttpRequest) -> HttpAnswer:
    return json_answer([])


def get_system_stats(state: ServerState, _: HttpRequest) -> HttpAnswer:
    total, free = state.options.vram
    system = {
        "os": "posix",
        "ram_total": 64 << 30,
        "ram_free": 48 << 30,
        "comfyui_version": OLD_VERSION if state.switches.old_server else state.options.version,
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
    return json_answer({"system": system, "devices": [device]})


def post_prompt(state: ServerState, request: HttpRequest) -> HttpAnswer:
    """Queue a prompt, or refuse it."""
    if state.active.strikes("lost_post_request", state.switches.lost_post_request):
        return RESET
    try:
        body = request.json()
        if "prompt" not in body:
            raise PromptRefused("no_prompt", "No prompt provided", "No prompt provided")
        switches, count = state.switches, state.queue.next_number()
        number = (
            float(body["number"]) if "number" in body else -count if body.get("front") else count
        )
        extra = dict(body.get("extra_data", {}))
        if "client_id" in body:
            extra["client_id"] = body["client_id"]
        prompt_id = str(uuid.uuid4())
        if "prompt_id" in body and not switches.old_server:
            prompt_id = str(body["prompt_id"])
            if switches.strict_uuid and not _CANONICAL_UUID.fullmatch(prompt_id):
                message = "prompt_id must be a canonical UUID"
                raise PromptRefused("invalid_prompt_id", message, prompt_id)
        targets = None if switches.old_server else body.get("partial_execution_targets")
        validated = validate_prompt(body["prompt"], state.catalog, targets)
        if switches.node_errors_200:
            _fail_last_output(validated, body["prompt"])
        prompt = QueuedPrompt(number, prompt_id, body["prompt"], extra, validated.outputs)
        state.log.prompts.append(body)
        for _ in range(switches.busy):
            other = foreign_prompt(state, seconds=switches.busy_seconds, before=number)
            state.queue.put(other, state.send_status)
        is_lost = state.active.strikes("lost_post_response", switches.lost_post_response)
        if is_lost and switches.taken_late:
            state.queue.hold(prompt, switches.taken_late)
            return RESET
        state.queue.put(prompt, state.send_status)
        if switches.instant_cached:
            prompt.done.wait(_LONGEST_WAIT_SECONDS)
        if is_lost:
            return RESET
        answer = {"prompt_id": prompt_id, "number": number, "node_errors": validated.node_errors}
        return json_answer(answer)
    except PromptRefused as refused:
        return json_answer(refused.body, 400)
    except (ValueError, TypeError, AttributeError):
        return _CRASHED


def foreign_prompt(
    state: ServerState,
    graph: Graph | None = None,
    *,
    seconds: float,
    client_id: str | None = OTHER_CLIENT,
    before: float | None = None,
) -> QueuedPrompt:
    """A prompt of another client, which comes before the prompt of the number `before`."""
    colour = uuid.uuid4().int % (1 << 24)
    graph = graph or {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": colour},
        },
        "9": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }
    outputs = [
        node for node, content in graph.items() if state.catalog.is_output(content["class_type"])
    ]
    number = state.queue.next_number() if before is None else before - 0.5
    extra = {} if client_id is None else {"client_id": client_id}
    return QueuedPrompt(number, str(uuid.uuid4()), graph, extra, outputs, seconds, is_foreign=True)


def _fail_last_output(prompt: ValidatedPrompt, graph: PostedGraph) -> None:
    """Give the last output an error; it is skipped unless it is the only one."""
    output = prompt.outputs[-1]
    prompt.outputs = prompt.outputs[:-1] or [output]
    problem = {
        "type": "required_input_missing",
        "message": "Required input is missing",
        "details": "images",
        "extra_info": {"input_name": "images"},
    }
    prompt.node_errors[output] = {
        "errors": [problem],
        "dependent_outputs": [output],
        "class_type": graph[output]["class_type"],
    }


def post_upload(state: ServerState, request: HttpRequest) -> HttpAnswer:
    """Store the file of a multipart form as an input."""
    fields = {name: (filename, data) for name, filename, data in _form_fields(request)}
    filename, data = fields.get("image", (None, b""))
    texts = {name: value.decode("utf-8", "replace") for name, (_, value) in fields.items()}
    subfolder, folder = texts.get("subfolder", ""), texts.get("type", "input")
    if not filename or any(
        ".." in path.split("/") or path.startswith("/") for path in (filename, subfolder)
    ):
        return HttpAnswer(status=400)
    if folder not in FOLDERS or "/" in filename:
        return _CRASHED
    renames = state.switches.rename_upload
    if renames:
        state.files.put(b"the file of another client", folder, subfolder, filename)
    overwrite = texts.get("overwrite") in ("true", "1") and not renames
    stored = state.files.upload(data, folder, subfolder, filename, overwrite=overwrite)
    return json_answer(stored)


def _form_fields(request: HttpRequest) -> Iterator[tuple[str, str | None, bytes]]:
    """The name, the file name if there is one, and the data of each field of a form."""
    boundary = _BOUNDARY.search(request.headers.get("content-type", ""))
    if boundary is None:
        return
    separator = b"\r\n--" + boundary[1].encode()
    for part in (b"\r\n" + request.body).split(separator)[1:-1]:
        head, _, data = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        headers = BytesHeaderParser().parsebytes(head + b"\r\n\r\n")
        name = headers.get_param("name", header="content-disposition")
        # Clients write UTF-8 there, without marking it.
        quoted = re.search(rb'filename="((?:[^"\\]|\\.)*)"', head)
        filename = quoted[1].decode("utf-8", "replace").replace('\\"', '"') if quoted else None
        yield str(name), filename, data


def get_view(state: ServerState, request: HttpRequest) -> HttpAnswer:
    """A file by `filename`, `subfolder` and `type`; `preview=FORMAT;QUALITY` re-encodes it."""
    query, is_evil = request.query, state.switches.evil_names
    if "filename" not in query:
        return HttpAnswer(status=404)
    name, folder = query["filename"], query.get("type", "output")
    subfolder, preview = query.get("subfolder", ""), query.get("preview", "")
    if not is_evil:
        if not name or ".." in name or name.startswith("/") or folder not in FOLDERS:
            return HttpAnswer(status=400)
        if ".." in subfolder.split("/") or subfolder.startswith("/"):
            return HttpAnswer(status=403)
        name = name.rpartition("/")[2]
    data = state.files.get(folder, subfolder, name)
    if data is None:
        return HttpAnswer(status=404)
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    headers = {} if is_evil else {"Content-Disposition": f'filename="{name}"'}
    answer = HttpAnswer(body=data, headers={"Content-Type": media_type, **headers})
    if preview and not is_evil:
        kind = "image/jpeg" if preview.startswith("jpeg") else "image/webp"
        try:
            encoded = images.reencode(data, preview)
        except OSError:
            return _CRASHED
        return replace(answer, body=encoded, headers={**headers, "Content-Type": kind})
    if state.active.strikes("truncate_view", state.switches.truncate_view):
        return replace(answer, missing=(len(data) + 1) // 2)
    if state.active.strikes("cut_file", state.switches.cut_file):
        return replace(answer, body=data[: len(data) // 2])
    return answer


_ROUTES: dict[tuple[str, str], Callable[[ServerState, HttpRequest], HttpAnswer]] = {
    ("GET", "/ws"): get_ws,
    ("GET", "/prompt"): get_prompt,
    ("POST", "/prompt"): post_prompt,
    ("GET", "/queue"): get_queue,
    ("POST", "/queue"): post_queue,
    ("POST", "/interrupt"): post_interrupt,
    ("GET", "/history"): get_history,
    ("POST", "/history"): post_history,
    ("GET", "/view"): get_view,
    ("POST", "/upload/image"): post_upload,
    ("GET", "/object_info"): get_object_info,
    ("GET", "/models"): get_model_folders,
    ("GET", "/embeddings"): get_embeddings,
    ("GET", "/features"): get_features,
    ("GET", "/system_stats"): get_system_stats,
    ("POST", "/free"): post_free,
}
_PREFIX_ROUTES: dict[str, Callable[[ServerState, str], HttpAnswer]] = {
    "/history/": get_history_of,
    "/object_info/": get_class_info,
    "/models/": get_models,
    "/experiment/models/": get_models_with_sizes,
}

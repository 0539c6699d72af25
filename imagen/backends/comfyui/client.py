"""The HTTP client of a ComfyUI server, and its answers as typed values.

Each `parse_…` raises ValueError for JSON that ComfyUI does not send: a gateway may answer in its
place, and nothing about a job follows from that. Its message continues a sentence.
"""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import quote

from imagen.backends.base import Gpu
from imagen.backends.comfyui.config import base_url, credential_remedy, request_headers
from imagen.core.json_values import as_mapping, parse_json
from imagen.core.text import one_line
from imagen.errors import BackendError, Rejected, Unavailable, WorkflowError
from imagen.net import http

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx

    from imagen.backends.comfyui.config import ComfyUIConfig

T = TypeVar("T")

_ANSWER_SECONDS = 60.0
_SHORT_ANSWER_SECONDS = 10.0
"""For small requests, which are repeated if need be."""
_JSON = {"Content-Type": "application/json"}
_RAISE_LIMIT = (
    "start the server, or the proxy in front of it, with a higher limit "
    "(ComfyUI: --max-upload-size, in MB)."
)
_MOST_VALUES = 5_000_000
"""A node catalog lists every file for each node that takes one."""
_RECENT = 20
"""Entries of the history that are searched for a job whose id is not known."""


class AcceptedPrompt(NamedTuple):
    """The answer to a prompt that was queued."""

    prompt_id: str
    node_errors: Mapping[str, object]
    """The outputs that the server will skip, and why."""


class RefusedPrompt(NamedTuple):
    """The answer to a prompt that was refused, as the server gave it."""

    reason: Mapping[str, object]


class ComfyQueueItem(NamedTuple):
    """One prompt in the queue."""

    prompt_id: str
    client_id: str


class ComfyQueue(NamedTuple):
    """The prompts that run, and those that wait in the order in which they will run."""

    running: tuple[ComfyQueueItem, ...] = ()
    pending: tuple[ComfyQueueItem, ...] = ()

    def runs(self, prompt_id: str) -> bool:
        return any(item.prompt_id == prompt_id for item in self.running)

    def position(self, prompt_id: str) -> int | None:
        """How many waiting prompts come first; None for a prompt that does not wait."""
        ids = [item.prompt_id for item in self.pending]
        return ids.index(prompt_id) if prompt_id in ids else None

    def find_prompt(self, client_id: str) -> str | None:
        """The id of this client's prompt, if it has one."""
        items = (*self.running, *self.pending)
        return next((item.prompt_id for item in items if item.client_id == client_id), None)


class HistoryEntry(NamedTuple):
    """The history of one prompt that has ended."""

    outputs: Mapping[str, object]
    display_nodes: Mapping[str, str]
    """For a node that was created while the prompt ran: the node of the graph behind it."""
    messages: tuple[tuple[str, Mapping[str, object]], ...]
    status: str
    client_id: str = ""

    @property
    def has_made(self) -> bool:
        """Whether the job succeeded and gave something."""
        return self.status == "success" and any(self.outputs.values())


class ServerStats(NamedTuple):
    """What a server says about itself."""

    version: str | None = None
    vram_used_bytes: int | None = None
    """Of the first device; None for a CPU."""
    device: str = ""
    gpus: tuple[Gpu, ...] = ()


class ComfyClient:
    """One server, whose connections are kept alive until `close`; for any number of threads."""

    def __init__(self, config: ComfyUIConfig) -> None:
        self._config = config
        self.at = base_url(config.url)
        self.known: ServerStats | None = None
        """The server's last statistics, once they were asked for."""
        self.is_comfyui = False
        """Whether anything at this address has answered as ComfyUI does."""
        self.headers = request_headers(config)
        self.tls = http.tls(self.at, config.ca_file)
        self._short = http.timeouts(
            connect_seconds=config.connect_seconds,
            read_seconds=min(_SHORT_ANSWER_SECONDS, config.idle_seconds),
        )
        self._http = http.HttpClient(
            self.at,
            headers=self.headers,
            connect_seconds=config.connect_seconds,
            read_seconds=min(_ANSWER_SECONDS, config.idle_seconds),
            tls=self.tls,
        )

    @property
    def is_closed(self) -> bool:
        return self._http.is_closed

    def close(self) -> None:
        self._http.close()

    def submit(
        self,
        graph: Mapping[str, object],
        prompt_id: str,
        client_id: str,
        *,
        read_seconds: float = _ANSWER_SECONDS,
    ) -> AcceptedPrompt | RefusedPrompt:
        """Queue a graph; raises BackendError for any answer that is not ComfyUI's."""
        body = {"prompt": graph, "prompt_id": prompt_id, "client_id": client_id}
        timeout = http.timeouts(
            connect_seconds=self._config.connect_seconds,
            read_seconds=min(_ANSWER_SECONDS, read_seconds),
        )
        response = self._send(
            "POST", "/prompt", content=_encode(body), headers=_JSON, timeout=timeout
        )
        if response.status_code == 400:
            with suppress(BackendError):
                return self._parse(response, parse_refused)
        if response.status_code == 413:
            raise Rejected(
                f"{self.at} does not accept a request as large as this one.",
                remedy=_RAISE_LIMIT[0].upper() + _RAISE_LIMIT[1:],
            )
        return self._parse(self.check(response), parse_accepted)

    def upload(self, data: bytes, name: str, subfolder: str, media_type: str) -> str:
        """Store an image in the server's input folder; returns its name in a graph.

        The server renames a file whose name is taken by other bytes.
        """
        response = self._send(
            "POST",
            "/upload/image",
            files={"image": (name, data, media_type or "application/octet-stream")},
            data={"subfolder": subfolder, "type": "input"},
        )
        if response.status_code == 413:
            raise Rejected(
                f"{self.at} does not accept an image as large as {len(data) / 1e6:.1f} MB.",
                remedy=f"Use a smaller image, or {_RAISE_LIMIT}",
            )
        return self._parse(self.check(response), parse_upload_name)

    def history(self, prompt_id: str) -> HistoryEntry | None:
        """The history of a prompt; None for one that has not ended or is not known."""
        path = f"/history/{quote(prompt_id, safe='')}"  # an old server chooses its own ids
        parse = partial(parse_history_entry, prompt_id=prompt_id)
        return self._get(path, parse, timeout=self._short)

    def queue(self) -> ComfyQueue:
        return self._get("/queue", parse_queue, timeout=self._short)

    def find_prompt(self, client_id: str) -> str | None:
        """The id of the one prompt of this client, in the queue or in the history."""
        waiting = self.queue().find_prompt(client_id)  # first: it may move to the history
        if waiting is not None:
            return waiting
        parse = partial(find_client_prompt, client_id=client_id)
        return self._get("/history", parse, params={"max_items": _RECENT}, timeout=self._short)

    def delete(self, prompt_id: str) -> None:
        """Delete a prompt from the queue; one that runs is left alone."""
        self._post("/queue", {"delete": [prompt_id]})

    def interrupt(self, prompt_id: str | None) -> None:
        """Interrupt this prompt if it runs; None interrupts whatever runs."""
        self._post("/interrupt", {} if prompt_id is None else {"prompt_id": prompt_id})

    def free(self) -> None:
        """Ask the server to unload its models once its current work is done."""
        self._post("/free", {"unload_models": True, "free_memory": True})

    def stats(self) -> ServerStats:
        self.known = self._get("/system_stats", parse_stats)
        return self.known

    def version(self) -> str | None:
        """The server's version, asked for once."""
        return (self.known or self.stats()).version

    def node_catalog(self) -> dict[str, object]:
        """Every node class of the server, with its inputs and their choices."""
        return self._get("/object_info", parse_node_catalog)

    def node_info(self, node_class: str) -> dict[str, object]:
        """The catalog of one node class; empty where the server does not have it."""
        return self._get(f"/object_info/{quote(node_class, safe='')}", parse_node_catalog)

    def folder(self, name: str) -> list[object]:
        """The files of a folder below models/, with their sizes; old servers do not tell them."""
        return self._get(f"/experiment/models/{quote(name, safe='')}", parse_folder)

    def view(self, filename: str, subfolder: str, folder: str) -> httpx.Response:
        """The answer to a request for a file that the server made."""
        names = {"filename": filename, "subfolder": subfolder, "type": folder}
        # JSON can hold lone surrogates, which have no place in a URL.
        params = {key: name.encode("utf-8", "replace").decode() for key, name in names.items()}
        return self._send(
            "GET",
            "/view",
            params=params,
            limit=http.LARGEST_FILE,
            seconds=self._config.total_seconds,
        )

    def pass_on(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """The server's own answer, whatever it is, to the request of another client."""
        return self._send(
            method, path, limit=http.LARGEST_FILE, seconds=self._config.total_seconds, **kwargs
        )

    def check(self, response: httpx.Response) -> httpx.Response:
        """The response, if it is a success; raises BackendError."""
        try:
            remedy = credential_remedy(self._config)
            return http.check_response(response, self.at, credential=remedy)
        except Rejected as error:
            if error.remedy:
                raise
            raise error.with_remedy(self._address_remedy()) from error

    def _get(self, path: str, parse: Callable[[object], T], **kwargs: Any) -> T:
        return self._parse(self.check(self._send("GET", path, **kwargs)), parse)

    def _post(self, path: str, body: Mapping[str, object]) -> None:
        content = _encode(body)
        self.check(self._send("POST", path, content=content, headers=_JSON, timeout=self._short))

    def _send(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        if self.is_closed:  # by a thread that is no longer waited for
            raise BackendError("The backend was closed while it worked.")
        try:
            return self._http.request(method, path, **kwargs)
        except Unavailable as error:
            if error.remedy or not http.not_sent(error):
                raise
            config = self._config
            remedy = (
                "Start ComfyUI there (in its folder: python main.py --listen), "
                f"or set backends.{config.name}.url to where it runs."
            )
            raise error.with_remedy(f"{remedy}\n{config.hint}".rstrip()) from error

    def _parse(self, response: httpx.Response, parse: Callable[[object], T]) -> T:
        """The parsed answer; raises BackendError where something other than ComfyUI answered."""
        try:
            value = parse(
                parse_json(response.content, max_values=_MOST_VALUES, strict_numbers=False)
            )
        except ValueError as error:
            kind = one_line(response.headers.get("content-type", "").partition(";")[0])
            what = f"it sent {kind or 'nothing'} instead of JSON"
            raise BackendError(
                f"{self.at} does not answer like ComfyUI: "
                f"{f'its JSON {one_line(str(error))}' if 'json' in kind else what}.",
                remedy=self._address_remedy(),
            ) from error
        self.is_comfyui = True
        return value

    def _address_remedy(self) -> str:
        return (
            f"Check that backends.{self._config.name}.url is ComfyUI's URL, including its path "
            "if it has one."
        )


def _encode(body: Mapping[str, object]) -> bytes:
    """JSON in plain ASCII, which can hold lone surrogates too."""
    try:
        return json.dumps(body, allow_nan=False, separators=(",", ":")).encode("ascii")
    except (ValueError, TypeError) as error:
        raise WorkflowError(f"The graph cannot be sent as JSON: {error}.") from error


def parse_upload_name(answer: object) -> str:
    """What a graph calls a file that was uploaded."""
    name, subfolder, folder = (as_mapping(answer).get(k) for k in ("name", "subfolder", "type"))
    if not isinstance(name, str) or not name:
        raise ValueError("has no name")
    path = f"{subfolder}/{name}" if isinstance(subfolder, str) and subfolder else name
    return path if folder in (None, "", "input") else f"{path} [{folder}]"


def parse_accepted(answer: object) -> AcceptedPrompt:
    """The answer to a prompt that was queued; old servers choose its id themselves."""
    prompt_id = as_mapping(answer).get("prompt_id")
    if not isinstance(prompt_id, str) or not prompt_id:
        raise ValueError("has no prompt_id")
    return AcceptedPrompt(prompt_id, as_mapping(as_mapping(answer).get("node_errors")))


def parse_refused(answer: object) -> RefusedPrompt:
    reason = as_mapping(answer)
    if not reason.keys() >= {"error", "node_errors"}:
        raise ValueError("has no error with node_errors")
    return RefusedPrompt(reason)


def parse_queue(answer: object) -> ComfyQueue:
    """The queue; the server sends the waiting prompts as an unsorted heap."""
    queue = as_mapping(answer)
    return ComfyQueue(
        _queued_prompts(queue.get("queue_running")), _queued_prompts(queue.get("queue_pending"))
    )


def _queued_prompts(rows: object) -> tuple[ComfyQueueItem, ...]:
    if not isinstance(rows, list) or not all(
        isinstance(row, list)
        and len(row) >= 2
        and isinstance(row[0], int | float)
        and isinstance(row[1], str)
        for row in rows
    ):
        raise ValueError("is not a queue")
    ordered = sorted(rows, key=lambda row: (row[0], row[1]))
    return tuple(ComfyQueueItem(row[1], _client_id(row)) for row in ordered)


def _client_id(row: object) -> str:
    extra = row[3] if isinstance(row, list) and len(row) > 3 else None
    return str(as_mapping(extra).get("client_id") or "")


def parse_history_entry(answer: object, prompt_id: str) -> HistoryEntry | None:
    """The entry of one prompt in an answer of `/history`; None where it has none."""
    entry = _history(answer).get(prompt_id)
    if entry is None:
        return None
    status = as_mapping(entry.get("status"))
    messages = status.get("messages")
    display_nodes = {
        node: as_mapping(about).get("display_node")
        for node, about in as_mapping(entry.get("meta")).items()
    }
    return HistoryEntry(
        outputs=as_mapping(entry.get("outputs")),
        display_nodes={node: at for node, at in display_nodes.items() if isinstance(at, str)},
        messages=tuple(
            (message[0], as_mapping(message[1]))
            for message in (messages if isinstance(messages, list) else ())
            if isinstance(message, list) and len(message) == 2 and isinstance(message[0], str)
        ),
        status=str(status.get("status_str") or ""),
        client_id=_client_id(entry.get("prompt")),
    )


def find_client_prompt(answer: object, client_id: str) -> str | None:
    """The id of this client's prompt in an answer of `/history`."""
    entries = _history(answer).items()
    return next((i for i, e in entries if _client_id(e.get("prompt")) == client_id), None)


def _history(answer: object) -> dict[str, dict[str, object]]:
    if not isinstance(answer, dict):
        raise ValueError("is not a history")
    if not all(isinstance(as_mapping(one).get("outputs"), dict) for one in answer.values()):
        raise ValueError("holds an entry without outputs")
    return answer


def parse_stats(answer: object) -> ServerStats:
    """The server's version, and the memory of its devices."""
    system = as_mapping(answer).get("system")
    if not isinstance(system, dict):
        raise ValueError("has no system")
    version, listed = system.get("comfyui_version"), as_mapping(answer).get("devices")
    devices = [as_mapping(one) for one in listed] if isinstance(listed, list) else []
    gpus = [_parse_gpu(one) for one in devices if one.get("type") != "cpu"]
    used = None
    if devices and devices[0].get("type") != "cpu":
        total, free = gpus[0].vram_total_bytes, gpus[0].vram_free_bytes
        used = None if total is None or free is None else max(0, total - free)
    return ServerStats(
        version=version if isinstance(version, str) else None,
        vram_used_bytes=used,
        device=one_line(str(devices[0].get("name") or "")) if devices else "",
        gpus=tuple(gpus),
    )


def _parse_gpu(device: Mapping[str, object]) -> Gpu:
    """A device is called `cuda:0 NVIDIA RTX 4090 : cudaMallocAsync`: the card, and its driver."""
    name = one_line(str(device.get("name") or "")).partition(" : ")[0]
    index, _, card = name.partition(" ")
    total, free = (
        value if type(value) is int and value >= 0 else None
        for value in (device.get("vram_total"), device.get("vram_free"))
    )
    return Gpu(
        name=(card if ":" in index and card else name) or "unnamed",
        vram_total_bytes=total,
        vram_free_bytes=free,
    )


def parse_node_catalog(answer: object) -> dict[str, object]:
    """Node classes, by name."""
    if not isinstance(answer, dict) or not all("input" in as_mapping(n) for n in answer.values()):
        raise ValueError("is not a list of node classes")
    return answer


def parse_folder(answer: object) -> list[object]:
    """The files of a folder of models."""
    if not isinstance(answer, list):
        raise ValueError("is not a list of files")
    return answer

"""The outputs of a job, fetched whole, and the facts of its run."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from mimetypes import guess_type
from typing import TYPE_CHECKING, Any, NamedTuple

from imagen.backends.comfyui.follow import SAVES_TO_THE_SOCKET
from imagen.core.image_file import download_fault, media_type, png_size, png_text
from imagen.core.json_values import as_mapping, parse_json
from imagen.core.result import Facts, Output
from imagen.core.text import one_line
from imagen.errors import BackendError, Lost, RateLimited, Rejected, Unavailable
from imagen.graphs.edits import MODEL_INPUTS
from imagen.net.retry import retry
from imagen.net.threads import run_while_reporting

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    import httpx

    from imagen.backends.comfyui.client import ComfyClient, ServerStats
    from imagen.backends.comfyui.follow import ComfyJobRecord
    from imagen.core.request import Request
    from imagen.errors import ImagenError

_ATTEMPTS = 4
_KEPT = "output"
"""The type of a file that stays on the server; others are previews."""
_SAVE_INPUTS = {"images", "filename_prefix"}
"""Inputs by which a node is known that saves files."""
_TEXT = "text/plain"
_UNKNOWN_TYPE = "application/octet-stream"
_DELETED = (
    "If it was deleted there, use another seed or free the server's memory: its cache still "
    "counts on the file."
)
_GATEWAY = (
    "Something in front of the server may answer in its place: a login page, a proxy or a filter."
)
_MODEL_ENDINGS = (".safetensors", ".sft", ".ckpt", ".gguf", ".pt", ".pth", ".bin", ".onnx")
_GRAPH_INPUTS = {
    "seed": ("seed", "noise_seed"),
    "steps": ("steps",),
    "cfg": ("cfg",),
    "sampler": ("sampler_name",),
    "scheduler": ("scheduler",),
    "width": ("width",),
    "height": ("height",),
}
"""The inputs of a graph that hold what the request leaves open."""


class ComfyFile(NamedTuple):
    """One file that a node made, in the server's words."""

    node: str
    batch_index: int
    filename: str
    subfolder: str
    type: str

    @property
    def name(self) -> str:
        return f"{self.subfolder}/{self.filename}" if self.subfolder else self.filename


class ComfyText(NamedTuple):
    """One text that a node gave."""

    node: str
    batch_index: int
    text: str


def list_outputs(record: ComfyJobRecord, only: Collection[str] = ()) -> list[ComfyFile | ComfyText]:
    """The files and texts of a job's nodes in the graph's order; `only` those of some nodes.

    Previews count where no file was kept.
    """
    order = {node: place for place, node in enumerate(record.graph)}
    shown = {node: record.display_nodes.get(node, node) for node in record.outputs}
    nodes = sorted(record.outputs, key=lambda node: (order.get(shown[node], len(order)), node))
    things = [
        thing
        for node in nodes
        if not only or shown[node] in only
        for thing in _node_outputs(shown[node], record.outputs[node])
    ]
    kept = [thing for thing in things if isinstance(thing, ComfyText) or thing.type == _KEPT]
    return kept if any(isinstance(thing, ComfyFile) for thing in kept) else things


def _node_outputs(node: str, output: Mapping[str, object]) -> Iterator[ComfyFile | ComfyText]:
    """Each file and text of one node, under whatever key; each file once."""
    files: dict[tuple[str, str, str], ComfyFile] = {}
    for value in output.values():
        for about in map(as_mapping, value if isinstance(value, list) else ()):
            name = about.get("filename")
            if isinstance(name, str) and name:
                key = name, str(about.get("subfolder") or ""), str(about.get("type") or _KEPT)
                files.setdefault(key, ComfyFile(node, len(files), *key))
    yield from files.values()
    texts = output.get("text")
    for index, text in enumerate(texts if isinstance(texts, list) else [texts]):
        if isinstance(text, str):
            yield ComfyText(node, index, text)


def lacks_images(graph: Mapping[str, object], things: Collection[ComfyFile | ComfyText]) -> bool:
    """Whether nothing came, or no file although the graph has a node that saves some."""
    inputs = (as_mapping(as_mapping(node).get("inputs")) for node in graph.values())
    is_file = [isinstance(thing, ComfyFile) for thing in things]
    return not any(is_file) if any(_SAVE_INPUTS & one.keys() for one in inputs) else not is_file


def socket_outputs(record: ComfyJobRecord, only: Collection[str] = ()) -> list[Output]:
    """The images that nodes saved to the websocket."""
    return [
        Output(data=data, media_type=media_type(data) or _UNKNOWN_TYPE, index=index, source=node)
        for node, images in record.socket_images.items()
        if not only or node in only
        for index, data in enumerate(images)
    ]


def missing_socket_images(record: ComfyJobRecord) -> tuple[str, ...]:
    """A sentence for each node whose images come over a websocket that was not open."""
    return tuple(
        f"Node {node} ({SAVES_TO_THE_SOCKET}) sends its image over the websocket only, and it "
        "did not arrive; SaveImage keeps it."
        for node, about in record.graph.items()
        if as_mapping(about).get("class_type") == SAVES_TO_THE_SOCKET
    )


class _ComfyFileRefused(Unavailable):
    """The server refuses a file, for now or because it is gone."""

    is_from_comfyui = False
    """Whether ComfyUI itself says so, rather than a gateway in front of it."""


def fetch_outputs(
    client: ComfyClient,
    things: Collection[ComfyFile | ComfyText],
    tick: Callable[[], None],
    *,
    unless: Callable[[ImagenError], bool] = lambda _: False,
) -> tuple[list[Output], list[Lost]]:
    """The outputs that can still be fetched, and an error for each one that cannot.

    `unless` says after which errors a file is not requested again.
    """
    fetched: list[Output] = []
    missing: list[Lost] = []
    for thing in things:
        if isinstance(thing, ComfyText):
            data = thing.text.encode("utf-8", "replace")
            text = Output(data=data, media_type=_TEXT, index=thing.batch_index, source=thing.node)
            fetched.append(text)
            continue
        download = partial(_download, client, thing)
        attempts = partial(retry, download, attempts=_ATTEMPTS, unless=unless)
        try:
            response = run_while_reporting(attempts, tick)
        except _ComfyFileRefused as error:
            lost = Lost(error.message, remedy=error.remedy, is_certain=error.is_from_comfyui)
            missing.append(lost)
            continue
        kind = media_type(response.content) or _header_type(response)
        fetched.append(
            Output(
                data=response.content,
                media_type=kind or guess_type(thing.filename)[0] or _UNKNOWN_TYPE,
                index=thing.batch_index,
                name=one_line(thing.name),
                source=thing.node,
            )
        )
    return fetched, missing


def _download(client: ComfyClient, file: ComfyFile) -> httpx.Response:
    """One answer, if it is the file; raises Unavailable where it may be the next time."""
    response = client.view(file.filename, file.subfolder, file.type)
    name = one_line(file.name)
    try:
        client.check(response)
    except (Unavailable, RateLimited):
        raise
    except BackendError as error:
        refused = _ComfyFileRefused(
            f"ComfyUI made {name} but refuses to send it (status {response.status_code}).",
            remedy=_GATEWAY if isinstance(error, Rejected) else error.remedy,
        )
        if response.status_code == 404 and not response.content:
            refused = refused.replace(is_from_comfyui=True, remedy=_DELETED)
        raise refused from error
    if wrong := download_fault(response.content, file.filename, _header_type(response)):
        raise Unavailable(
            f"What {client.at} sent for {name} {wrong}, {_ATTEMPTS} times.", remedy=_GATEWAY
        )
    return response


def _header_type(response: httpx.Response) -> str:
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind if kind.isascii() and kind != _UNKNOWN_TYPE else ""


def is_text(output: Output) -> bool:
    """Whether this is a text that a node gave, rather than a file of any kind."""
    return output.media_type == _TEXT and not output.name


def is_from_graph(graph: Mapping[str, object], data: bytes) -> bool:
    """Whether a file is from this graph, as far as it says.

    A server whose output folder is emptied gives the same names to other files.
    """
    with suppress(ValueError):
        embedded = as_mapping(parse_json(png_text(data, "prompt") or "{}", strict_numbers=False))
        return not embedded or _comparable(graph) == _comparable(embedded)
    return True


def _comparable(graph: Mapping[str, object]) -> dict[str, object]:
    """The graph with numbers for texts that are numbers, as the server may change them."""
    return {
        name: (
            as_mapping(node).get("class_type"),
            {key: _as_number(v) for key, v in as_mapping(as_mapping(node).get("inputs")).items()},
        )
        for name, node in graph.items()
    }


def _as_number(value: Any) -> float | str:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return str(value)


class JobTimes(NamedTuple):
    """The times of a job, by our own clock."""

    submitted: float
    ended: float
    fetched: float


def build_facts(
    request: Request,
    record: ComfyJobRecord,
    times: JobTimes,
    stats: ServerStats,
    outputs: Sequence[Output],
    **ids: str,
) -> Facts:
    """What is known of a job that succeeded: from its request, its graph, the server, the clock."""
    literals = [
        (name, value)
        for node in record.graph.values()
        for name, value in as_mapping(as_mapping(node).get("inputs")).items()
        if isinstance(value, str | int | float)
    ]
    files = [
        (name, value)
        for name, value in literals
        if isinstance(value, str) and value.lower().endswith(_MODEL_ENDINGS)
    ]
    models = tuple(dict.fromkeys(value for _, value in files))
    main = (value for name in MODEL_INPUTS for key, value in files if key == name)
    settings: dict[str, Any] = {
        name: next((value for key, value in literals if key in inputs), None)
        if getattr(request, name) is None
        else getattr(request, name)
        for name, inputs in _GRAPH_INPUTS.items()
    }
    if settings["scheduler"] is None:  # some models have a node for it
        classes = (str(as_mapping(n).get("class_type") or "") for n in record.graph.values())
        settings["scheduler"] = next((c for c in classes if c.endswith("Scheduler")), None)
    sizes = (png_size(output.data) for output in outputs)
    width, height = next((size for size in sizes if size is not None), (0, 0))
    if width and height:
        settings |= {"width": width, "height": height}
    executing = queued = None
    if record.began_ms is not None and record.finished_ms is not None:
        executing = max(0.0, record.finished_ms - record.began_ms) / 1000
    if record.started_at is not None:
        queued = max(0.0, record.started_at - times.submitted)
    elif executing is not None:
        queued = max(0.0, times.ended - times.submitted - executing)
    engine = {
        **ids,
        "server_version": stats.version,
        "device": stats.device,
        "vram_used_bytes": stats.vram_used_bytes,
        "node_seconds": {node: round(s, 4) for node, s in record.node_seconds.items()},
    }
    return Facts(
        model=next(main, models[0] if models else ""),
        models=models,
        latency_seconds=times.fetched - times.submitted,
        queued_seconds=queued,
        executing_seconds=executing,
        cached=None if record.cached is None else record.cached >= record.graph.keys(),
        engine={name: value for name, value in engine.items() if value not in (None, "", {})},
        **settings,
    )

"""The facts of one run: what the graph asked for, what the server told, what the clock says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from imagen.backends.comfyui.answers import Stats, mapping
from imagen.core.image_file import png_size
from imagen.core.result import Facts
from imagen.graphs.edits import MODEL_INPUTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from imagen.backends.comfyui.record import Record
    from imagen.core.request import Request
    from imagen.core.result import Output

_MODELS = (".safetensors", ".sft", ".ckpt", ".gguf", ".pt", ".pth", ".bin", ".onnx")
_NAMES = {
    "seed": ("seed", "noise_seed"),
    "steps": ("steps",),
    "cfg": ("cfg",),
    "sampler": ("sampler_name",),
    "scheduler": ("scheduler",),
    "width": ("width",),
    "height": ("height",),
}
"""Where a graph holds what the request leaves open."""


class Times(NamedTuple):
    """When things happened, by our own clock."""

    submitted: float
    ended: float
    fetched: float


def facts(
    request: Request,
    record: Record,
    times: Times,
    stats: Stats,
    outputs: Sequence[Output],
    **engine: Any,
) -> Facts:
    """What is known of a run that ended well."""
    models = tuple(dict.fromkeys(value for _, value in _files(record.graph)))
    main = (value for name in MODEL_INPUTS for key, value in _files(record.graph) if key == name)
    executing = _executing_seconds(record)
    return Facts(
        model=next(main, models[0] if models else ""),
        models=models,
        latency_seconds=times.fetched - times.submitted,
        queued_seconds=_queued_seconds(record, times, executing),
        executing_seconds=executing,
        cached=None if record.cached is None else record.cached >= record.graph.keys(),
        engine=_engine(record, stats, engine),
        **(_asked(request, record.graph) | _size(outputs)),
    )


def _engine(record: Record, stats: Stats, engine: Mapping[str, Any]) -> dict[str, Any]:
    told = {
        **engine,
        "server_version": stats.version,
        "device": stats.device,
        "vram_used_bytes": stats.vram_used_bytes,
        "node_seconds": {node: round(s, 4) for node, s in record.node_seconds.items()},
    }
    return {name: value for name, value in told.items() if value not in (None, "", {})}


def _executing_seconds(record: Record) -> float | None:
    """From the server's own timestamps, which are milliseconds."""
    if record.began_ms is None or record.finished_ms is None:
        return None
    return max(0.0, record.finished_ms - record.began_ms) / 1000


def _queued_seconds(record: Record, times: Times, executing: float | None) -> float | None:
    """Until we heard of its beginning; where we did not, the time that nothing else explains."""
    if record.started_at is not None:
        return max(0.0, record.started_at - times.submitted)
    return None if executing is None else max(0.0, times.ended - times.submitted - executing)


def _asked(request: Request, graph: Mapping[str, Any]) -> dict[str, Any]:
    """What the request says, or else the graph itself."""
    return {name: _one(getattr(request, name), graph, inputs) for name, inputs in _NAMES.items()}


def _one(asked: Any, graph: Mapping[str, Any], inputs: Sequence[str]) -> Any:
    if asked is not None:
        return asked
    found = next((value for name, value in _literals(graph) if name in inputs), None)
    return _scheduler_node(graph) if found is None and "scheduler" in inputs else found


def _scheduler_node(graph: Mapping[str, Any]) -> str | None:
    """Some models have a schedule of their own, which is a node and no name."""
    kinds = (str(mapping(node).get("class_type") or "") for node in graph.values())
    return next((kind for kind in kinds if kind.endswith("Scheduler")), None)


def _size(outputs: Sequence[Output]) -> dict[str, int]:
    """What a picture says of itself goes before what was asked for."""
    sizes = (png_size(output.data) for output in outputs)
    width, height = next((size for size in sizes if size is not None), (0, 0))
    return {"width": width, "height": height} if width and height else {}


def _files(graph: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in _literals(graph):
        if isinstance(value, str) and value.lower().endswith(_MODELS):
            yield name, value


def _literals(graph: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for node in graph.values():
        for name, value in mapping(mapping(node).get("inputs")).items():
            if isinstance(value, str | int | float):
                yield name, value

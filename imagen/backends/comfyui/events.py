"""The frames of ComfyUI's websocket, read into typed events; whatever is not ours gives none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from imagen.backends.comfyui.answers import mapping
from imagen.core.json_values import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PREVIEW, _PREVIEW_WITH_METADATA = 1, 4
_JPEG, _PNG = 1, 2
_NUMBER = 4  # bytes of a number in a binary frame
_LARGEST = 2.0**63  # beyond it, and for what is no number at all, nothing is known


class QueueChanged(NamedTuple):
    """Something was queued, started or ended; it may be anybody's."""


class Started(NamedTuple):
    """Our job has begun."""

    milliseconds: float | None


class Cached(NamedTuple):
    """These nodes need not run."""

    nodes: tuple[str, ...]


class Running(NamedTuple):
    """This node runs now; `shown` is the node of the graph it belongs to."""

    node: str
    shown: str


class Finished(NamedTuple):
    """These nodes are done."""

    nodes: tuple[str, ...]


class Stepped(NamedTuple):
    """How far a node is."""

    node: str
    step: int
    steps: int


class Made(NamedTuple):
    """An output node gave something away."""

    node: str
    shown: str
    output: Mapping[str, Any]


class Picture(NamedTuple):
    """A picture over the websocket: a preview, or the output of a node that saves there."""

    data: bytes
    node: str | None
    """None in the older form, which doesn't say."""


class Succeeded(NamedTuple):
    """Our job has done all it had to."""

    milliseconds: float | None


class Broken(NamedTuple):
    """A node of ours failed."""

    node: str
    node_class: str
    kind: str
    message: str
    traceback: tuple[str, ...] = ()
    milliseconds: float | None = None

    @property
    def is_blocked(self) -> bool:
        """Whether it only kept a branch from running: the job goes on after that."""
        return self.kind.rpartition(".")[2] == "ExecutionBlocked"


class Interrupted(NamedTuple):
    """Our job was stopped, at this node."""

    node: str
    milliseconds: float | None = None


class Ended(NamedTuple):
    """The last word on our job; its history is written by now."""


Event = (
    QueueChanged
    | Started
    | Cached
    | Running
    | Finished
    | Stepped
    | Made
    | Picture
    | Succeeded
    | Broken
    | Interrupted
    | Ended
)


def read(frame: str | bytes, prompt_id: str) -> Event | None:
    """The event of a frame, if it is about `prompt_id` or about the queue."""
    return _read_binary(frame, prompt_id) if isinstance(frame, bytes) else _text(frame, prompt_id)


def event(kind: str, data: Mapping[str, Any]) -> Event | None:
    """The event of a message that is known to be ours: of the websocket, or of the history."""
    reader = _READERS.get(kind)
    return reader(data) if reader else None


def _text(frame: str, prompt_id: str) -> Event | None:
    try:
        message = mapping(parse_json(frame, strict_numbers=False))
    except ValueError:
        return None
    kind, data = message.get("type"), mapping(message.get("data"))
    if kind == "status":
        return QueueChanged()
    if data.get("prompt_id") != prompt_id or not isinstance(kind, str):
        return None
    return event(kind, data)


def _read_binary(frame: bytes, prompt_id: str) -> Picture | None:
    kind = int.from_bytes(frame[:_NUMBER], "big")
    if kind == _PREVIEW:
        form = int.from_bytes(frame[_NUMBER : 2 * _NUMBER], "big")
        return Picture(frame[2 * _NUMBER :], None) if form in (_JPEG, _PNG) else None
    if kind == _PREVIEW_WITH_METADATA:
        return _with_metadata(frame[_NUMBER:], prompt_id)
    return None


def _with_metadata(rest: bytes, prompt_id: str) -> Picture | None:
    size = int.from_bytes(rest[:_NUMBER], "big")
    try:
        about = mapping(parse_json(rest[_NUMBER : _NUMBER + size], strict_numbers=False))
    except ValueError:
        return None
    if about.get("prompt_id") != prompt_id:
        return None
    node = about.get("display_node_id") or about.get("node_id")
    return Picture(rest[_NUMBER + size :], node if isinstance(node, str) else None)


def _started(data: Mapping[str, Any]) -> Started:
    return Started(_milliseconds(data))


def _cached(data: Mapping[str, Any]) -> Cached:
    return Cached(_strings(data.get("nodes")))


def _executing(data: Mapping[str, Any]) -> Running | Ended | None:
    node = data.get("node", "")
    if node is None:
        return Ended()
    return Running(node, _shown(data, node)) if isinstance(node, str) and node else None


def _progress(data: Mapping[str, Any]) -> Stepped | None:
    node, value, most = data.get("node"), _number(data.get("value")), _number(data.get("max"))
    if value is None or most is None or most < 1:
        return None
    return Stepped(str(node or ""), int(max(0, min(value, most))), int(most))


def _states(data: Mapping[str, Any]) -> Finished:
    nodes = mapping(data.get("nodes"))
    done = (name for name, said in nodes.items() if mapping(said).get("state") == "finished")
    return Finished(tuple(done))


def _executed(data: Mapping[str, Any]) -> Made | None:
    node = data.get("node")
    if not isinstance(node, str):
        return None
    return Made(node, _shown(data, node), mapping(data.get("output")))


def _succeeded(data: Mapping[str, Any]) -> Succeeded:
    return Succeeded(_milliseconds(data))


def _broken(data: Mapping[str, Any]) -> Broken:
    return Broken(
        node=str(data.get("node_id") or ""),
        node_class=str(data.get("node_type") or ""),
        kind=str(data.get("exception_type") or "error"),
        message=str(data.get("exception_message") or ""),
        traceback=_strings(data.get("traceback")),
        milliseconds=_milliseconds(data),
    )


def _interrupted(data: Mapping[str, Any]) -> Interrupted:
    return Interrupted(str(data.get("node_id") or ""), _milliseconds(data))


_READERS: Mapping[str, Callable[[Mapping[str, Any]], Event | None]] = {
    "execution_start": _started,
    "execution_cached": _cached,
    "executing": _executing,
    "progress": _progress,
    "progress_state": _states,
    "executed": _executed,
    "execution_success": _succeeded,
    "execution_error": _broken,
    "execution_interrupted": _interrupted,
}


def _shown(data: Mapping[str, Any], node: str) -> str:
    shown = data.get("display_node")
    return shown if isinstance(shown, str) and shown else node


def _strings(value: Any) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def _milliseconds(data: Mapping[str, Any]) -> float | None:
    return _number(data.get("timestamp"))


def _number(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return value if known and abs(value) < _LARGEST else None

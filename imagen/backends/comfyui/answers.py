"""What a ComfyUI server answers over HTTP, read once into typed values.

Each reader raises ValueError for JSON that ComfyUI does not send: a gateway may answer in its
place, and nothing about a job follows from that. Its message continues a sentence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from imagen.backends.base import Gpu
from imagen.core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Accepted(NamedTuple):
    """The answer to a prompt that was taken."""

    prompt_id: str
    node_errors: Mapping[str, Any]
    """Outputs that the server will skip, and why."""


class Refused(NamedTuple):
    """The answer to a prompt that was not taken: the server's words as they came."""

    said: Any


class QueueEntry(NamedTuple):
    """One prompt in the queue."""

    prompt_id: str
    client_id: str


class Queue(NamedTuple):
    """What runs, and what waits, in the order in which it will run."""

    running: tuple[QueueEntry, ...] = ()
    pending: tuple[QueueEntry, ...] = ()

    def runs(self, prompt_id: str) -> bool:
        return any(item.prompt_id == prompt_id for item in self.running)

    def position(self, prompt_id: str) -> int | None:
        """How many of those that wait come first; None where it does not wait."""
        ids = [item.prompt_id for item in self.pending]
        return ids.index(prompt_id) if prompt_id in ids else None

    def of_client(self, client_id: str) -> str | None:
        """The prompt of this client, where it has one."""
        items = (*self.running, *self.pending)
        return next((item.prompt_id for item in items if item.client_id == client_id), None)


class HistoryEntry(NamedTuple):
    """What the history says of one prompt that has ended."""

    outputs: Mapping[str, Any]
    display: Mapping[str, str]
    """For a node that the server made while it ran: the node of the graph it stands for."""
    messages: tuple[tuple[str, Mapping[str, Any]], ...]
    status: str
    client_id: str = ""

    @property
    def has_made(self) -> bool:
        """Whether the job came to a good end, with something to fetch."""
        return self.status == "success" and any(self.outputs.values())


class Stats(NamedTuple):
    """What the server says of itself."""

    version: str | None = None
    vram_used_bytes: int | None = None
    device: str = ""
    gpus: tuple[Gpu, ...] = ()


def stored(said: Any) -> str:
    """What a graph calls a file that was uploaded."""
    name, subfolder, folder = (mapping(said).get(key) for key in ("name", "subfolder", "type"))
    if not isinstance(name, str) or not name:
        raise ValueError("has no name")
    path = f"{subfolder}/{name}" if isinstance(subfolder, str) and subfolder else name
    return path if folder in (None, "", "input") else f"{path} [{folder}]"


def accepted(said: Any) -> Accepted:
    """The answer to a prompt that was taken; old servers choose its id themselves."""
    prompt_id = mapping(said).get("prompt_id")
    if not isinstance(prompt_id, str) or not prompt_id:
        raise ValueError("has no prompt_id")
    return Accepted(prompt_id, mapping(said.get("node_errors")))


def refused(said: Any) -> Refused:
    """The answer to a prompt that was not taken."""
    if not mapping(said).keys() >= {"error", "node_errors"}:
        raise ValueError("has no error with node_errors")
    return Refused(said)


def queue(said: Any) -> Queue:
    """The queue; the server gives those that wait as an unsorted heap."""
    said = mapping(said)
    return Queue(_items(said.get("queue_running")), _items(said.get("queue_pending")))


def entry(said: Any, prompt_id: str) -> HistoryEntry | None:
    """The entry of one prompt in what `/history` answered; None where it has none."""
    found = _entries(said).get(prompt_id)
    return None if found is None else _entry(found)


def _entries(said: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(said, dict):
        raise ValueError("is not a history")
    for found in said.values():
        if not isinstance(mapping(found).get("outputs"), dict):
            raise ValueError("holds an entry without outputs")
    return said


def _entry(found: Mapping[str, Any]) -> HistoryEntry:
    status = mapping(found.get("status"))
    return HistoryEntry(
        outputs=mapping(found.get("outputs")),
        display=dict(_display(mapping(found.get("meta")))),
        messages=tuple(_messages(status.get("messages"))),
        status=str(status.get("status_str") or ""),
        client_id=_client_id(found.get("prompt")),
    )


def of_client(said: Any, client_id: str) -> str | None:
    """The id of this client's prompt in what `/history` answered."""
    entries = _entries(said).items()
    return next((i for i, found in entries if _entry(found).client_id == client_id), None)


def stats(said: Any) -> Stats:
    """The server's version, and how much memory its first device uses."""
    system = mapping(said).get("system")
    if not isinstance(system, dict):
        raise ValueError("has no system")
    version = system.get("comfyui_version")
    listed = said.get("devices")
    devices = [mapping(one) for one in listed] if isinstance(listed, list) else []
    device = devices[0] if devices else {}
    return Stats(
        version=version if isinstance(version, str) else None,
        vram_used_bytes=_vram_used(device),
        device=one_line(str(device.get("name") or "")),
        gpus=tuple(map(_gpu, (one for one in devices if one.get("type") != "cpu"))),
    )


def _gpu(device: Mapping[str, Any]) -> Gpu:
    """A name is `cuda:0 NVIDIA RTX 4090 : cudaMallocAsync`: the card, and how it is driven."""
    name = one_line(str(device.get("name") or "")).partition(" : ")[0]
    index, _, card = name.partition(" ")
    name = card if ":" in index and card else name
    total, free = (_bytes(device.get(key)) for key in ("vram_total", "vram_free"))
    return Gpu(name=name or "unnamed", vram_total_bytes=total, vram_free_bytes=free)


def _bytes(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def catalogue(said: Any) -> dict[str, Any]:
    """Classes of nodes, by name."""
    if not isinstance(said, dict) or not all("input" in mapping(node) for node in said.values()):
        raise ValueError("is not a list of node classes")
    return said


def folder(said: Any) -> list[Any]:
    """The files of a folder of models."""
    if not isinstance(said, list):
        raise ValueError("is not a list of files")
    return said


def _vram_used(device: Mapping[str, Any]) -> int | None:
    """None for a processor, whose memory is everybody's."""
    total, free = device.get("vram_total"), device.get("vram_free")
    if not isinstance(total, int) or not isinstance(free, int) or device.get("type") == "cpu":
        return None
    return max(0, total - free)


def mapping(value: Any) -> dict[str, Any]:
    """`value` if it is a JSON object, or an empty one."""
    return value if isinstance(value, dict) else {}


def _items(said: Any) -> tuple[QueueEntry, ...]:
    if not isinstance(said, list) or not all(map(_is_row, said)):
        raise ValueError("is not a queue")
    rows = sorted(said, key=lambda row: (row[0], row[1]))
    return tuple(QueueEntry(row[1], _client_id(row)) for row in rows)


def _is_row(row: Any) -> bool:
    return (
        isinstance(row, list)
        and len(row) >= 2
        and isinstance(row[0], int | float)
        and isinstance(row[1], str)
    )


def _client_id(row: Any) -> str:
    extra = row[3] if isinstance(row, list) and len(row) > 3 else None
    return str(mapping(extra).get("client_id") or "")


def _display(meta: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for node, said in meta.items():
        shown = mapping(said).get("display_node")
        if isinstance(shown, str):
            yield node, shown


def _messages(said: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for message in said if isinstance(said, list) else ():
        if isinstance(message, list) and len(message) == 2 and isinstance(message[0], str):
            yield message[0], mapping(message[1])

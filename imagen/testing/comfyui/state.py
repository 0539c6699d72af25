"""The state of a simulated server: its options, its queue and history, its files, its log."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from hashlib import sha1
from random import choices
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from imagen.testing.comfyui.failure_switches import ActiveSwitches, FailureSwitches
    from imagen.testing.comfyui.graph import Graph
    from imagen.testing.comfyui.node_catalog import ModelFiles, NodeClasses
    from imagen.testing.comfyui.websocket import ConnectedClients
    from imagen.testing.http_server import HttpRequest

ImageStyle = Literal["painted", "flat", "noise"]
History = dict[str, dict[str, Any]]
OLD_VERSION = "0.3.40"
NEW_VERSION = "0.9.2"
"""The oldest version that runs every bundled workflow."""
FOLDERS = ("output", "temp", "input")
_SECRETS = ("auth_token_comfy_org", "api_key_comfy_org")
_ANNOTATED = re.compile(r"^(.*) \[(output|temp|input)\]$")


class ServerStopped(Exception):
    """The server stops, and with it whatever it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How a well-behaved server is set up."""

    base_path: str = ""
    credential: str = ""
    version: str = NEW_VERSION
    node_catalog: Mapping[str, Any] | None = None
    models: Mapping[str, Sequence[str]] | None = None
    missing_models: Collection[str] = ()
    step_seconds: float = 0.0
    load_seconds: float = 0.0
    images: ImageStyle = "painted"
    live_previews: bool = False
    vram: tuple[int, int] = (24 << 30, 20 << 30)
    tls: tuple[str, str] | None = None


@dataclass(slots=True)
class ClientLog:
    """Everything that clients did, in order; it survives restarts."""

    prompts: list[dict[str, Any]] = field(default_factory=list)
    client_ids: list[str] = field(default_factory=list)
    requests: list[HttpRequest] = field(default_factory=list)
    interrupts: list[str | None] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class ServerState:
    """All parts of one life of the server, from its start to its stop."""

    options: ServerOptions
    active: ActiveSwitches
    log: ClientLog
    files: ServerFiles
    models: ModelFiles
    catalog: NodeClasses
    clients: ConnectedClients
    queue: PromptQueue
    die: Callable[[], None]
    """Die, and come back if the switches say so; returns at once."""
    interrupted: threading.Event = field(default_factory=threading.Event)
    stopping: threading.Event = field(default_factory=threading.Event)
    running_node: str | None = None

    @property
    def switches(self) -> FailureSwitches:
        return self.active.current

    def sleep(self, seconds: float) -> None:
        """Raises ServerStopped where the server stops meanwhile."""
        if self.stopping.wait(max(0.0, seconds)):
            raise ServerStopped

    def send_status(self) -> None:
        self.clients.send_status(self.queue.remaining())


@dataclass(slots=True, eq=False)
class QueuedPrompt:
    """One prompt in the queue."""

    number: float
    prompt_id: str
    graph: Graph
    extra_data: dict[str, Any]
    outputs: list[str]
    seconds: float = 0.0
    """How long a prompt of another client takes."""
    is_foreign: bool = False
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def client_id(self) -> str | None:
        client_id = self.extra_data.get("client_id")
        return None if client_id is None else str(client_id)

    def row(self, *, with_secrets: bool = True) -> list[object]:
        """As `/queue` shows it, or without its secrets as the history does."""
        extra = {k: v for k, v in self.extra_data.items() if with_secrets or k not in _SECRETS}
        return [self.number, self.prompt_id, self.graph, extra, self.outputs]


class PromptQueue:
    """Pending, running and finished prompts; safe to use from any thread."""

    def __init__(self) -> None:
        self.running: QueuedPrompt | None = None
        self.history: History = {}
        self.cache: dict[str, dict[str, Any] | None] = {}
        """The output of each node by signature; None for nodes without one."""
        self._pending: list[QueuedPrompt] = []
        self._held: list[QueuedPrompt] = []
        self._count = 0
        self._changed = threading.Condition()
        self._closed = False

    def next_number(self) -> int:
        with self._changed:
            self._count += 1
            return self._count - 1

    def put(self, prompt: QueuedPrompt, announce: Callable[[], None]) -> None:
        """Queue a prompt, and announce it before it can start."""
        with self._changed:
            self._pending.append(prompt)
            announce()
            self._changed.notify()

    def hold(self, prompt: QueuedPrompt, requests: int) -> None:
        """Keep a prompt back until its history has been requested this many times."""
        self._held = [prompt] * requests

    def release(self, announce: Callable[[], None]) -> None:
        """Queue the held prompt if this is the last request that it waits for."""
        prompt = self._held.pop() if self._held else None
        if prompt is not None and not self._held:
            self.put(prompt, announce)

    def take(self) -> QueuedPrompt | None:
        """Wait for the next prompt and make it the running one; None once the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._closed)
            if self._closed:
                return None
            self.running = min(self._pending, key=lambda each: (each.number, each.prompt_id))
            self._pending.remove(self.running)
            return self.running

    def finish(self, prompt: QueuedPrompt, entry: dict[str, object]) -> None:
        """Write the history of the prompt that ran."""
        with self._changed:
            self.history[prompt.prompt_id] = entry
            self.running = None

    def delete(self, prompt_ids: Iterable[str]) -> bool:
        """Remove pending prompts; whether there were any."""
        wanted = set(prompt_ids)
        with self._changed:
            before = len(self._pending)
            self._pending = [each for each in self._pending if each.prompt_id not in wanted]
            return len(self._pending) < before

    def clear(self) -> None:
        with self._changed:
            self._pending.clear()

    def remaining(self) -> int:
        with self._changed:
            return len(self._pending) + (self.running is not None)

    def rows(self) -> dict[str, list[list[Any]]]:
        """As `/queue` shows it: pending prompts are in no order."""
        with self._changed:
            running = [] if self.running is None else [self.running.row()]
            pending = [each.row() for each in reversed(self._pending)]
            return {"queue_running": running, "queue_pending": pending}

    def close(self) -> None:
        """Let `take` return, and release everybody who waits for a prompt."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            for each in (*self._pending, *([self.running] if self.running else [])):
                each.done.set()

    def reopen(self) -> None:
        """Continue after a restart that lost nothing; a prompt that ran is run again."""
        with self._changed:
            self._closed = False
            if self.running is not None:
                self._pending.append(self.running)
            self.running = None


class ServerFiles:
    """The files in the output, temp and input folders, held in memory."""

    def __init__(self) -> None:
        self._files: dict[tuple[str, str, str], bytes] = {}
        """By folder, subfolder and file name."""
        self._temp_mark = "".join(choices(ascii_lowercase, k=5))

    def put(self, data: bytes, folder: str, subfolder: str, name: str) -> dict[str, str]:
        """Store a file; returns its description as results hold it."""
        self._files[folder, subfolder, name] = data
        return {"filename": name, "subfolder": subfolder, "type": folder}

    def get(self, folder: str, subfolder: str, name: str) -> bytes | None:
        return self._files.get((folder, subfolder, name))

    def remove(self, filename: str) -> None:
        """Delete every file of this name, as somebody at the server may."""
        self._files = {place: data for place, data in self._files.items() if place[2] != filename}

    def next_name(self, prefix: str, folder: str) -> tuple[str, str]:
        """The next subfolder and file name for a prefix."""
        if folder == "temp":
            prefix = f"ComfyUI_temp_{self._temp_mark}"
        subfolder, _, stem = prefix.replace("\\", "/").rpartition("/")
        names = (name for name in self._names(folder, subfolder) if name.startswith(f"{stem}_"))
        numbers = (name.removeprefix(f"{stem}_").partition("_")[0] for name in names)
        taken = max((int(number) for number in numbers if number.isdigit()), default=0)
        return subfolder, f"{stem}_{taken + 1:05}_.png"

    def upload(
        self, data: bytes, folder: str, subfolder: str, name: str, *, overwrite: bool
    ) -> dict[str, str]:
        """Store an upload; other bytes under a name that is taken get another name."""
        stem, dot, suffix = name.rpartition(".")
        free, count = name, 0
        while not overwrite and self.get(folder, subfolder, free) not in (None, data):
            count += 1
            free = f"{stem} ({count}){dot}{suffix}" if dot else f"{name} ({count})"
        self.put(data, folder, subfolder, free)
        return {"name": free, "subfolder": subfolder, "type": folder}

    def find_input(self, reference: str) -> bytes | None:
        """The file that LoadImage means by `sub/name.png` or `name.png [temp]`."""
        annotated = _ANNOTATED.match(reference)
        path, folder = (annotated[1], annotated[2]) if annotated else (reference, "input")
        subfolder, _, name = path.rpartition("/")
        return self.get(folder, subfolder, name)

    def fingerprint(self, reference: object) -> str:
        """A hash of the file that LoadImage means; empty where there is none."""
        data = self.find_input(reference) if isinstance(reference, str) else None
        return "" if data is None else sha1(data, usedforsecurity=False).hexdigest()

    def inputs(self) -> list[str]:
        return sorted(self._names("input", ""))

    def clear(self, folder: str) -> None:
        self._files = {place: data for place, data in self._files.items() if place[0] != folder}

    def _names(self, folder: str, subfolder: str) -> Iterator[str]:
        return (place[2] for place in list(self._files) if place[:2] == (folder, subfolder))

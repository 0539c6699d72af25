"""Prompts of ComfyUI's clients as jobs of the queue, and its engine for everything else."""

from __future__ import annotations

import json
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from imagen.backends.comfyui.adapter import ComfyUIBackend
from imagen.backends.redact import unwrap_backend
from imagen.core.filesystem import make_private_folder, write_whole
from imagen.core.request import Request
from imagen.core.ticket import new_id
from imagen.errors import ConfigError, NotFound, WorkflowError
from imagen.jobs.model import ENDED
from imagen.jobs.submit import JobRequest, RefusedRows, SubmitOptions, submit_requests
from imagen.outputs.provenance import is_graph
from imagen.pipeline.pools import open_named
from imagen.pipeline.record import find_caller

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    import httpx

    from imagen.config import Settings
    from imagen.jobs.model import QueuedJob, QueueState
    from imagen.runtime import Runtime
    from imagen.runtime.caller import Caller

_FOLDER = "prompts"
"""Where graphs are stored, below the state directory."""
_UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_FRONT = 100
"""The priority of a prompt that is to come before the others."""
_REMOVE_SECONDS = 24 * 3600.0
_KEEP_SECONDS = 30 * 24 * 3600.0
_MOST_JOBS = 500
_MOST_NODES = 5000
_MOST_CLIENTS = 10_000
RUNNING: tuple[QueueState, ...] = ("running", "cancelling")
WAITING: tuple[QueueState, ...] = ("queued", "held")


class PromptBody(BaseModel):
    """A graph to run."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    prompt: dict[str, Any] = Field(description="The graph, in the API format.")
    prompt_id: str | None = Field(None, pattern=_UUID)
    client_id: str = Field("", max_length=200, description="Whose websocket gets its events.")
    front: bool = Field(False, description="Whether it comes before the others.")
    number: float | None = Field(None, description="Below 0, it comes before the others.")


def require_comfyui(settings: Settings) -> str:
    """The backend whose engine is passed through. Raises ConfigError for another kind."""
    name = str(settings.server.comfyui)
    if settings.backends.get(name, {}).get("type", name) != "comfyui":
        raise ConfigError(
            f"server.comfyui: {name!r} is not a backend of type comfyui.",
            remedy="Name one, or leave server.comfyui out.",
        )
    return name


@dataclass
class ClientPrompts:
    """The jobs of ComfyUI's clients. Threads may share it."""

    runtime: Runtime
    backend: str
    clients: dict[str, str] = field(default_factory=dict)
    """The client of each job that was submitted since the server began."""
    _remove_after: float = 0.0

    @property
    def _folder(self) -> Path:
        return self.runtime.settings.state_dir.absolute() / _FOLDER

    def submit(self, body: PromptBody, caller: Caller) -> str:
        """Put a graph in line; the id of its job. Raises ImagenError."""
        from imagen.graphs.importer.extract_settings import extract_settings  # seldom needed

        graph = body.prompt
        if not is_graph(graph) or len(graph) > _MOST_NODES:
            raise WorkflowError("prompt: expected a graph in the API format.")
        text = json.dumps(graph, sort_keys=True)
        path = self._folder / f"{sha256(text.encode()).hexdigest()[:32]}.json"
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        make_private_folder(self._folder)
        write_whole(path, text.encode(), is_private=True)
        self._remove_old()
        id = body.prompt_id or new_id()
        self.clients[id] = body.client_id
        while len(self.clients) > _MOST_CLIENTS:
            del self.clients[next(iter(self.clients))]
        is_first = body.front or (body.number is not None and body.number < 0)
        options = SubmitOptions(
            backend=self.backend,
            workflow=str(path),
            priority=_FRONT if is_first else 0,
            caller=caller.name,
            is_served=self.runtime.has_worker,
        )
        label = str(extract_settings(graph).values.get("prompt") or "a graph")
        row = JobRequest(Request(), self.backend, label=label, id=id)
        settings, store = self.runtime.settings, self.runtime.store
        try:
            submit_requests([row], settings, options, kind="request", name=label, store=store)
        except RefusedRows as refused:
            raise refused.rows[0].error from None
        return id

    def find(self, id: str, caller: Caller) -> QueuedJob | None:
        """A prompt of this caller."""
        try:
            job = self.runtime.store.read(id)
        except NotFound:
            return None
        return job if self._is_of(job, caller) else None

    def list_jobs(self, states: Collection[QueueState], caller: Caller) -> list[QueuedJob]:
        """The prompts of this caller in these states, oldest first."""
        jobs = self.runtime.store.list_jobs(states=states, limit=_MOST_JOBS)
        return [job for job in reversed(jobs) if self._is_of(job, caller)]

    def cancel(self, ids: Collection[str], caller: Caller, states: Collection[QueueState]) -> None:
        """Cancel these prompts, as far as they are the caller's and in these states."""
        for id in ids:
            job = self.find(id, caller)
            if job is not None and job.state in states:
                self.runtime.store.cancel(id)

    def graph_of(self, job: QueuedJob) -> dict[str, Any]:
        """The graph of a job as it was sent; empty if its file is gone."""
        try:
            graph: dict[str, Any] = json.loads((self._folder / self._file_of(job)).read_bytes())
        except (OSError, ValueError):
            return {}
        return graph

    def history(self, job: QueuedJob) -> dict[str, Any]:
        """The entry of a prompt in the history; empty while it has not ended."""
        if job.state not in ENDED:
            return {}
        entry = self.ask("GET", f"/history/{quote(job.ticket_id)}").json().get(job.ticket_id)
        if isinstance(entry, dict):
            return {job.id: entry}
        error = job.error or {}
        failure = {"prompt_id": job.id, "exception_message": str(error.get("message", ""))}
        return {
            job.id: {
                "prompt": self.row_of(job),
                "outputs": {},
                "status": {
                    "status_str": "error",
                    "completed": False,
                    "messages": [["execution_error", failure]],
                },
                "meta": {},
            }
        }

    def row_of(self, job: QueuedJob) -> list[object]:
        """A job as ComfyUI lists it: number, id, graph, further data, output nodes."""
        graph = self.graph_of(job)
        extra = {"client_id": self.clients.get(job.id, "")}
        return [-job.priority, job.id, graph, extra, []]

    def ask(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """What the engine itself answers. Raises BackendError if it cannot be reached."""
        with (
            closing(open_named(self.backend, self.runtime.settings)) as opened,
            unwrap_backend(opened) as engine,
        ):
            assert isinstance(engine, ComfyUIBackend)
            return engine.client().pass_on(method, path, **kwargs)

    def _remove_old(self) -> None:
        """Once in a while, remove graphs that were not sent for a long time."""
        if time.monotonic() < self._remove_after:
            return
        self._remove_after = time.monotonic() + _REMOVE_SECONDS
        oldest = time.time() - _KEEP_SECONDS
        for file in self._folder.glob("*.json"):
            with suppress(OSError):
                if file.stat().st_mtime < oldest:
                    file.unlink()

    def _file_of(self, job: QueuedJob) -> str:
        return job.spec.workflow.replace("\\", "/").rpartition("/")[2] if job.spec else ""

    def _is_of(self, job: QueuedJob, caller: Caller) -> bool:
        name = caller.name or find_caller(self.runtime.settings.usage)
        is_prompt = job.spec is not None and job.spec.workflow.startswith(str(self._folder))
        return is_prompt and job.caller == name

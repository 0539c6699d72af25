"""Events of jobs as the messages of ComfyUI's websocket."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagen.core.json_values import as_mapping
from imagen.errors import ImagenError
from imagen.jobs.model import ENDED
from imagen.server.comfyui.prompts import RUNNING, WAITING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from imagen.library.events import LibraryEvent
    from imagen.runtime.caller import Caller
    from imagen.server.comfyui.prompts import ClientPrompts

    Frame = str | bytes

_PREVIEW, _PREVIEW_WITH_METADATA = 1, 4
_JPEG, _PNG = 1, 2
_PNG_SIGNATURE = b"\x89PNG"


@dataclass
class _FollowedPrompt:
    """What a client was last sent of one prompt."""

    graph: Mapping[str, Any]
    node: str = ""
    preview: bytes | None = None


def text_frame(kind: str, data: Mapping[str, object]) -> str:
    return json.dumps({"type": kind, "data": data})


class PromptMessages:
    """The messages for one websocket. Its methods block."""

    def __init__(self, prompts: ClientPrompts, caller: Caller, client_id: str) -> None:
        self._prompts = prompts
        self._caller = caller
        self._client_id = client_id
        self._known: dict[str, _FollowedPrompt | None] = {}
        self.wants_metadata = False
        """Whether the client understands previews that say which prompt they belong to."""

    def status(self, **more: str) -> str:
        """How many prompts of this caller run or wait."""
        remaining = len(self._prompts.list_jobs((*RUNNING, *WAITING), self._caller))
        info = {"exec_info": {"queue_remaining": remaining}}
        return text_frame("status", {"status": info, **more})

    def translate(self, batch: Sequence[LibraryEvent]) -> list[Frame]:
        """What to send for these events."""
        frames: list[Frame] = []
        for event in batch:
            prompt = self._follow(event.job) if event.job else None
            if prompt is None:
                continue
            if event.kind == "progress":
                frames += self._progress(event.job, prompt, event.data)
            elif event.kind == "state":
                frames += self._state(event.job, str(event.data.get("state", "")))
        return frames

    def _follow(self, id: str) -> _FollowedPrompt | None:
        """A prompt of this client; None for any other job."""
        if id not in self._known:
            job = self._prompts.find(id, self._caller)
            is_mine = job and self._prompts.clients.get(id, self._client_id) == self._client_id
            graph = self._prompts.graph_of(job) if job and is_mine else None
            self._known[id] = None if graph is None else _FollowedPrompt(graph)
        return self._known[id]

    def _progress(
        self, id: str, prompt: _FollowedPrompt, data: Mapping[str, object]
    ) -> Iterator[Frame]:
        node = _find_node(prompt.graph, str(data.get("node") or ""))
        if node and node != prompt.node:
            prompt.node = node
            yield text_frame("executing", {"node": node, "display_node": node, "prompt_id": id})
        if data.get("step") is not None and data.get("steps"):
            values = {"value": data["step"], "max": data["steps"]}
            yield text_frame("progress", {**values, "prompt_id": id, "node": prompt.node})
        preview = self._prompts.runtime.store.preview(id)
        if preview is not None and preview != prompt.preview:
            prompt.preview = preview
            yield self._preview_frame(id, prompt.node, preview)

    def _state(self, id: str, state: str) -> Iterator[Frame]:
        stamp = {"prompt_id": id, "timestamp": round(time.time() * 1000)}
        yield self.status()
        if state == "running":
            yield text_frame("execution_start", stamp)
            yield text_frame("execution_cached", {**stamp, "nodes": []})
        if state not in ENDED:
            return
        job = self._prompts.find(id, self._caller)
        entry: Mapping[str, Any] = {}
        if job is not None and state == "done":
            with suppress(ImagenError):
                entry = as_mapping(self._prompts.history(job).get(id))
        for node, output in as_mapping(entry.get("outputs")).items():
            named = {"node": node, "display_node": node, "output": output}
            yield text_frame("executed", {**named, "prompt_id": id})
        if state == "done":
            yield text_frame("execution_success", stamp)
        elif state == "cancelled":
            yield text_frame("execution_interrupted", {**stamp, "executed": []})
        else:
            error = (job.error if job is not None else None) or {}
            failure = {"exception_type": str(error.get("code", state)), "executed": []}
            message = {"exception_message": str(error.get("message", "")), "traceback": []}
            yield text_frame("execution_error", {**stamp, **failure, **message})
        yield text_frame("executing", {"node": None, "prompt_id": id})
        self._known.pop(id, None)

    def _preview_frame(self, id: str, node: str, image: bytes) -> bytes:
        is_png = image.startswith(_PNG_SIGNATURE)
        if not self.wants_metadata:
            kinds = (_PREVIEW, _PNG if is_png else _JPEG)
            return b"".join(kind.to_bytes(4, "big") for kind in kinds) + image
        about = {
            "node_id": node,
            "display_node_id": node,
            "real_node_id": node,
            "parent_node_id": None,
            "prompt_id": id,
            "image_type": "image/png" if is_png else "image/jpeg",
        }
        encoded = json.dumps(about).encode()
        sizes = (_PREVIEW_WITH_METADATA, len(encoded))
        return b"".join(size.to_bytes(4, "big") for size in sizes) + encoded + image


def _find_node(graph: Mapping[str, Any], words: str) -> str:
    """The node that progress describes: by its title, its class or its id."""
    for id, node in graph.items():
        title = as_mapping(as_mapping(node).get("_meta")).get("title")
        if words and words in (title, as_mapping(node).get("class_type"), id):
            return id
    return ""

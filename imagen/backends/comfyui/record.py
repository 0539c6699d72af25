"""All that has been heard of one job so far, from its frames or from the history."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from imagen.backends.comfyui import events
from imagen.backends.comfyui.answers import mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from imagen.backends.comfyui.answers import HistoryEntry

SAVES_TO_THE_SOCKET = "SaveImageWebsocket"
"""The class of the node whose pictures come over the websocket and nowhere else."""


class Record:
    """One job, as it is told event by event."""

    def __init__(
        self, graph: Mapping[str, Any], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.graph = graph
        self._clock = clock
        self.ended = False
        self.started_at: float | None = None
        """When we heard that it began, by our clock."""
        self.began_ms: float | None = None
        self.finished_ms: float | None = None
        """By the server's clock."""
        self.succeeded = False
        self.broken: events.Broken | None = None
        self.blocked: tuple[events.Broken, ...] = ()
        self.interrupted: events.Interrupted | None = None
        self.node = ""
        """The node of the graph that runs now."""
        self.step: int | None = None
        self.steps: int | None = None
        self.done: set[str] = set()
        self.cached: set[str] | None = None
        self.outputs: dict[str, Mapping[str, Any]] = {}
        self.shown: dict[str, str] = {}
        self.pictures: dict[str, list[bytes]] = {}
        """What nodes saved to the websocket."""
        self.preview: bytes | None = None
        self.node_seconds: dict[str, float] = {}
        self._node_since = 0.0

    def take(self, event: events.Event) -> None:
        """Note what one event says."""
        match event:
            case events.Started(milliseconds):
                self.started_at = self._clock() if self.started_at is None else self.started_at
                self.began_ms = milliseconds
            case events.Cached(nodes):
                self.cached = {*nodes}
                self.done |= self.cached
            case events.Running(_, shown):
                self._enter(shown)
            case events.Finished(nodes):
                self.done |= {*nodes}
            case events.Stepped(_, step, steps):
                self.step, self.steps = step, steps
            case events.Made(node, shown, output):
                self.outputs[node] = output
                self.shown[node] = shown
            case events.Picture():
                self._take_picture(event)
            case _:
                self._take_end(event)

    def adopt(self, entry: HistoryEntry) -> None:
        """Note what the history says: it has all of the outputs, and the end."""
        self.outputs |= {node: mapping(output) for node, output in entry.outputs.items()}
        self.shown |= entry.display
        for kind, data in entry.messages:
            event = events.event(kind, data)
            if isinstance(event, events.Started):
                self.began_ms = event.milliseconds
            elif event is not None:
                self.take(event)
        self._finish()

    def is_whole(self) -> bool:
        """Whether each node that nothing else is made from gave something away."""
        used = {link for node in self.graph.values() for link in _sources(node)}
        heard = {self.shown.get(node, node) for node, output in self.outputs.items() if output}
        return all(node in heard for node in self.graph if node not in used)

    def needs_the_socket(self) -> bool:
        """Whether something that the job gives comes over the websocket only."""
        return any(self._saves_to_the_socket(node) for node in self.graph)

    def take_preview(self) -> bytes | None:
        """The newest preview, once."""
        preview, self.preview = self.preview, None
        return preview

    def _take_end(self, event: events.Event) -> None:
        match event:
            case events.Succeeded(milliseconds):
                self.succeeded = True
                self.finished_ms = milliseconds
            case events.Broken() if event.is_blocked:
                # It comes once over the websocket, and again with the history.
                self.blocked = tuple(dict.fromkeys((*self.blocked, event)))
            case events.Broken():
                self.broken = event
                self.finished_ms = event.milliseconds
            case events.Interrupted(_, milliseconds):
                self.interrupted = event
                self.finished_ms = milliseconds
            case events.Ended():
                self._finish()

    def _enter(self, node: str) -> None:
        self._leave()
        self.started_at = self._clock() if self.started_at is None else self.started_at
        self.node, self.step, self.steps = node, None, None
        self._node_since = self._clock()

    def _leave(self) -> None:
        if self.node:
            spent = self._clock() - self._node_since
            self.node_seconds[self.node] = self.node_seconds.get(self.node, 0.0) + spent
            self.done.add(self.node)
            self.node = ""

    def _finish(self) -> None:
        self._leave()
        self.ended = True

    def _take_picture(self, picture: events.Picture) -> None:
        """A picture that doesn't say whose it is counts only while ours runs."""
        node = picture.node or self.node
        if self._saves_to_the_socket(node):
            self.pictures.setdefault(node, []).append(picture.data)
        elif node:
            self.preview = picture.data

    def _saves_to_the_socket(self, node: str) -> bool:
        return mapping(self.graph.get(node)).get("class_type") == SAVES_TO_THE_SOCKET


def _sources(node: Any) -> list[str]:
    inputs = mapping(mapping(node).get("inputs")).values()
    return [value[0] for value in inputs if isinstance(value, list) and len(value) == 2]

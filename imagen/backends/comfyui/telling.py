"""Progress of one job in words and a fraction that never falls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.backends.comfyui.answers import mapping
from imagen.core.result import Progress
from imagen.core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.backends.comfyui.look import JobStatus
    from imagen.backends.comfyui.record import Record
    from imagen.core.result import OnProgress, Stage
    from imagen.core.ticket import Ticket

_SAMPLER_WEIGHT = 20.0
"""How much longer a node that counts steps takes than another, for the bar's sake."""
_FETCHING = 0.98
"""The fraction at which all is made and the fetching begins."""


class ProgressReporter:
    """Tells the caller how far one job is."""

    def __init__(self, graph: Mapping[str, Any], on_progress: OnProgress) -> None:
        self._graph = graph
        self._on_progress = on_progress
        self._fraction = 0.0
        self._stage: Stage = "submitted"
        self._weights = {node: _weight(mapping(said)) for node, said in graph.items()}

    def submitted(self, ticket: Ticket | None = None) -> None:
        """The server has, or may have, the job; or it is still being asked to take it."""
        self._tell("submitted", ticket=ticket)

    def waiting(self, record: Record, sight: JobStatus | None) -> None:
        """Where the job is now."""
        if record.started_at is None and not (sight and sight.runs):
            position = sight.position if sight else None
            self._tell("submitted" if position is None else "queued", queue_position=position)
            return
        self._raise_to(self._share(record) * _FETCHING)
        stage: Stage = "loading" if self._is_loader(record.node) else "running"
        self._tell(
            stage,
            node=self.title(record.node),
            step=record.step,
            steps=record.steps,
            preview=record.take_preview(),
        )

    def changed(self, ticket: Ticket) -> None:
        """More is known of the job than its ticket said."""
        self._tell(self._stage, ticket=ticket)

    def fetching(self) -> None:
        self._raise_to(_FETCHING)
        self._tell("fetching")

    def done(self) -> None:
        self._raise_to(1.0)
        self._tell("done")

    def title(self, node: str) -> str:
        """A node as its author called it."""
        said = mapping(self._graph.get(node))
        title = mapping(said.get("_meta")).get("title") or said.get("class_type") or node
        return one_line(str(title), limit=60)

    def _tell(self, stage: Stage, **facts: Any) -> None:
        self._stage = stage
        self._on_progress(Progress(stage=stage, fraction=self._fraction, **facts))

    def _raise_to(self, fraction: float) -> None:
        self._fraction = max(self._fraction, min(fraction, 1.0))

    def _share(self, record: Record) -> float:
        """How much of the graph is done, by weight."""
        total = sum(self._weights.values())
        done = sum(self._weights.get(node, 0.0) for node in record.done)
        if record.step is not None and record.steps and record.node not in record.done:
            done += self._weights.get(record.node, 0.0) * record.step / record.steps
        return done / total if total else 0.0

    def _is_loader(self, node: str) -> bool:
        return "Loader" in str(mapping(self._graph.get(node)).get("class_type") or "")


def _weight(node: Mapping[str, Any]) -> float:
    counts = "steps" in mapping(node.get("inputs")) or "Sampler" in str(node.get("class_type"))
    return _SAMPLER_WEIGHT if counts else 1.0

"""Where a job is by now: the history and the queue know, whatever the websocket told."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from imagen.backends.comfyui.answers import HistoryEntry
    from imagen.backends.comfyui.client import ComfyClient


class JobStatus(NamedTuple):
    """One look at the server; none of these is a job that it doesn't know."""

    entry: HistoryEntry | None = None
    """Ended: what the history says."""
    runs: bool = False
    position: int | None = None
    """Waits: how many come first."""
    is_stalled: bool = False
    """Waits although nothing runs."""
    before: tuple[str, ...] = ()
    """For a waiting job, what runs now: it changes while the server makes progress."""

    @property
    def is_gone(self) -> bool:
        return self.entry is None and not self.runs and self.position is None


def look(client: ComfyClient, prompt_id: str) -> JobStatus:
    """Find a job. The history is asked again after the queue: it may have ended in between."""
    entry = client.history(prompt_id)
    if entry is not None:
        return JobStatus(entry=entry)
    queue = client.queue()
    if queue.runs(prompt_id):
        return JobStatus(runs=True)
    position = queue.position(prompt_id)
    if position is not None:
        before = tuple(item.prompt_id for item in queue.running)
        return JobStatus(position=position, is_stalled=not queue.running, before=before)
    return JobStatus(entry=client.history(prompt_id))

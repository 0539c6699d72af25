"""The state of a server as JSON: its queue, and its engines."""

from __future__ import annotations

from pydantic import Field

from imagen.backends.base import Gpu
from imagen.views.base import Moment, View
from imagen.views.jobs import PauseView


class EngineStatusView(View):
    """What the jobs of some backends take turns on: an engine that a worker serves."""

    name: str
    backends: tuple[str, ...]
    at_once: int = Field(description="How many jobs it runs at once.")
    busy: int = Field(description="How many it runs now.")
    model: str | None = Field(
        description="The model of its newest job, which it has loaded; null if unknown."
    )
    paused: PauseView | None
    gpus: tuple[Gpu, ...] = Field((), description="Empty if it was not asked.")


class QueueStatusView(View):
    """How many jobs are in the queue."""

    running: int
    waiting: int = Field(description="Those that may start now.")
    pools: dict[str, int] = Field(description="How many wait for each backend or pool.")
    unserved: dict[str, int] = Field(description="Those that no running worker serves.")


class StatusView(View):
    """The state of the server."""

    version: str
    started: Moment
    uptime_seconds: float
    backend: str = Field(description="The backend or pool of requests that name none.")
    model: str | None = Field(description="The checkpoint of requests that name none there.")
    max_upload_bytes: int = Field(description="The largest image that a client may upload.")
    has_worker: bool = Field(description="Whether the server runs the jobs of the queue itself.")
    workers: int = Field(description="How many workers run, on any machine.")
    queue: QueueStatusView
    engines: tuple[EngineStatusView, ...]

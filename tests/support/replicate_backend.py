"""A Replicate backend on the simulated service, and what it sends there."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from simulators.replicate import COMMUNITY, MODELS

from imagen.backends import validate_block
from imagen.backends.remote_job import JobProgress, cancel_and_confirm, submit_once
from imagen.backends.replicate import Replicate, ReplicateConfig
from imagen.backends.replicate.input_names import InputMapping, map_inputs
from imagen.backends.replicate.input_schema import parse_inputs
from imagen.backends.replicate.job import ReplicateJob
from imagen.core.request import Request
from imagen.core.result import no_progress
from imagen.core.ticket import Ticket, new_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulators.replicate import Replicate as Cloud

    from imagen.backends.replicate.client import Prediction, ReplicateClient
    from imagen.core.result import OnProgress, Progress, Result

REQUEST = Request(prompt="a lighthouse in fog", width=64, height=48, seed=7, steps=3)


def replicate_config(url: str, *, name: str = "cloud", **block: Any) -> ReplicateConfig:
    """A configuration with short pauses between polls."""
    usual = {"model": COMMUNITY, "wait_seconds": 0, "poll_seconds": 0.05, "base_url": url}
    return validate_block(name, usual | block, ReplicateConfig)


def open_replicate(url: str, *, name: str = "cloud", **block: Any) -> Replicate:
    """A backend that shares its cache of input schemas with earlier ones."""
    usual: dict[str, Any] = {"cache_dir": Path("cache").absolute()}
    return Replicate(replicate_config(url, name=name, **(usual | block)))


def generate(
    cloud: Cloud, request: Request = REQUEST, on_progress: OnProgress = no_progress, **block: Any
) -> Result:
    """Generate the images of one request."""
    with closing(open_replicate(cloud.url, **block)) as engine:
        return engine.collect(engine.prepare(request), on_progress)


def prepare_ticket(cloud: Cloud, request: Request = REQUEST, **block: Any) -> Ticket:
    """The ticket of one request."""
    with closing(open_replicate(cloud.url, **block)) as engine:
        return engine.prepare(request)


def collect_progress(cloud: Cloud, request: Request = REQUEST, **block: Any) -> list[Progress]:
    """Every progress report of one request."""
    reports: list[Progress] = []
    generate(cloud, request, reports.append, **block)
    return reports


def submitted_bodies(cloud: Cloud) -> list[dict[str, Any]]:
    """The body of each submission."""
    posts = [seen for seen in cloud.requests if seen.method == "POST"]
    return [json.loads(seen.body) for seen in posts if seen.path.endswith("/predictions")]


def map_model_inputs(model: str) -> InputMapping:
    """The meaning of a simulated model's inputs."""
    return map_inputs(model, parse_inputs(MODELS[model]))


def create_job(client: ReplicateClient, began: str = "", **values: object) -> ReplicateJob:
    """A job with these inputs, prepared or submitted at this time."""
    ticket = Ticket(
        id=new_id(),
        backend="cloud",
        request=Request(prompt="a lighthouse"),
        receipt={},
        payload={"input": values},
    )
    if began:
        ticket = ticket.sent(began=began)
    config = client._config
    return ReplicateJob(ticket, client, config, no_progress)


class RecordedPauses(Event):
    """An event that is never set, and notes how long it was waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout or 0.0)
        return False


def submit_job(client: ReplicateClient, pauses: Event) -> Prediction:
    """Submit a job; pauses wait for the event."""
    job = create_job(client, prompt="a lighthouse", seed=7)
    progress = JobProgress(
        job.prepare(), no_progress, total_seconds=60, remedy="", clock=lambda: 0.0
    )
    progress.is_left = pauses
    return submit_once(job, progress, job.policy)


def cancel_job(
    client: ReplicateClient,
    known_id: Callable[[], str],
    *,
    cancel_seconds: float = 8.0,
    is_settled: Callable[[], bool] = lambda: True,
) -> str:
    """Cancel the job with this id; the sentence about what is in doubt."""
    job = create_job(client)
    policy = replace(job.policy, cancel_seconds=cancel_seconds)
    return cancel_and_confirm(job, policy, known_id, is_settled=is_settled)

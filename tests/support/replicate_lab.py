"""What the tests of the adapter share: a backend on a simulated Replicate."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulators.replicate import COMMUNITY, MODELS

from imagen.backends import validate_block
from imagen.backends.replicate import Replicate, ReplicateConfig
from imagen.backends.replicate.input_names import InputMapping, map_inputs
from imagen.backends.replicate.input_schema import parse_inputs
from imagen.core.request import Request
from imagen.core.result import no_progress

if TYPE_CHECKING:
    from simulators.replicate import Replicate as Cloud

    from imagen.core.result import OnProgress, Progress, Result
    from imagen.core.ticket import Ticket

ASKED = Request(prompt="a lighthouse in fog", width=64, height=48, seed=7, steps=3)


def configured(url: str, *, name: str = "cloud", **block: Any) -> ReplicateConfig:
    """A configuration that asks often and does not wait long."""
    usual = {"model": COMMUNITY, "wait_seconds": 0, "poll_seconds": 0.05, "base_url": url}
    return validate_block(name, usual | block, ReplicateConfig)


def opened(url: str, *, name: str = "cloud", **block: Any) -> Replicate:
    """A backend that finds the input schema where a backend before it has left it."""
    usual: dict[str, Any] = {"cache_dir": Path("cache").absolute()}
    return Replicate(configured(url, name=name, **(usual | block)))


def run(
    cloud: Cloud, request: Request = ASKED, on_progress: OnProgress = no_progress, **block: Any
) -> Result:
    """What one request gives."""
    with closing(opened(cloud.url, **block)) as engine:
        return engine.collect(engine.prepare(request), on_progress)


def prepared(cloud: Cloud, request: Request = ASKED, **block: Any) -> Ticket:
    """The ticket of one request."""
    with closing(opened(cloud.url, **block)) as engine:
        return engine.prepare(request)


def told(cloud: Cloud, request: Request = ASKED, **block: Any) -> list[Progress]:
    """All that the progress of one request says."""
    heard: list[Progress] = []
    run(cloud, request, heard.append, **block)
    return heard


def submitted(cloud: Cloud) -> list[dict[str, Any]]:
    """The body of each submission."""
    posts = [seen for seen in cloud.requests if seen.method == "POST"]
    return [json.loads(seen.body) for seen in posts if seen.path.endswith("/predictions")]


def vocabulary(model: str) -> InputMapping:
    """What the inputs of a simulated model mean."""
    return map_inputs(model, parse_inputs(MODELS[model]))

"""imagen as an engine of imagen: a backend of `type: a1111` at a server with the mock."""

from __future__ import annotations

from contextlib import closing
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from support.live_server import live_server, server_settings

from imagen.backends import open_backend
from imagen.backends.a1111.adapter import detect
from imagen.core.request import Request
from imagen.core.result import Progress, no_progress
from imagen.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.live_server import LiveServer

    from imagen.backends import Backend

REQUEST = Request(prompt="a lighthouse in fog", width=64, height=64, seed=7, steps=3)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    backends: dict[str, dict[str, Any]] = {
        "mock": {"type": "mock"},
        "slow": {"type": "mock", "step_seconds": 2},
    }
    folder = tmp_path_factory.mktemp("server")
    with live_server(server_settings(backends, folder=folder)) as running:
        yield running


@pytest.fixture
def backend(server: LiveServer) -> Iterator[Backend]:
    block = {"type": "a1111", "url": server.url, "poll_seconds": 0.02}
    with closing(open_backend("other", {"other": block})) as opened:
        yield opened


def test_server_is_detected_as_imagen(server: LiveServer) -> None:
    assert detect(server.url).blocks == {"imagen": {"type": "a1111", "url": server.url}}


def test_image_is_that_of_the_servers_own_backend(backend: Backend) -> None:
    result = backend.collect(backend.prepare(REQUEST), no_progress)
    with closing(open_backend("mock", {})) as mock:
        own = mock.collect(mock.prepare(REQUEST), no_progress)
    pixels = [
        Image.open(BytesIO(made.images[0].data)).convert("RGB").tobytes() for made in (result, own)
    ]
    assert pixels[0] == pixels[1]
    assert result.facts.seed == 7


def test_models_of_the_server_are_listed(backend: Backend) -> None:
    names = [model.name for model in backend.models() if model.kind == "checkpoint"]
    assert "slow" in names


def test_cancelled_job_is_cancelled_on_the_server(server: LiveServer, backend: Backend) -> None:
    """Closing its connection cancels this job only, whatever else has the same token."""

    def cancel_when_running(progress: Progress) -> None:
        if progress.stage == "running":
            raise Cancelled

    ticket = backend.prepare(REQUEST.with_values({"model": "slow"}))
    with pytest.raises(Cancelled) as caught:
        backend.collect(ticket, cancel_when_running)
    assert caught.value.is_stopped
    (job,) = server.client.get("/api/v1/jobs", params={"backend": "slow"}).json()["jobs"]
    assert server.wait_for_job(job["id"])["state"] == "cancelled"

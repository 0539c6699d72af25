"""A backend of `type: openai` whose server is imagen itself."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from support.images_api import open_images_api
from support.live_server import live_server, server_settings

from imagen.backends.openai.adapter import detect
from imagen.core.request import Request
from imagen.core.result import Progress, no_progress
from imagen.errors import Cancelled, Failed, Rejected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.live_server import LiveServer

    from imagen.backends.openai import OpenAI
    from imagen.jobs.model import QueuedJob


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    blocks: dict[str, dict[str, Any]] = {
        "mock": {"type": "mock"},
        "slow": {"type": "mock", "step_seconds": 0.5},
        "failing": {"type": "mock", "fail": "failed"},
    }
    with live_server(server_settings(blocks, folder=tmp_path_factory.mktemp("engine"))) as served:
        yield served


@pytest.fixture
def engine(server: LiveServer) -> Iterator[OpenAI]:
    with closing(open_images_api(f"{server.url}/v1", server="imagen")) as backend:
        yield backend


def _newest(server: LiveServer) -> QueuedJob:
    return server.runtime.store.list_jobs(limit=1)[0]


def _used(server: LiveServer) -> Request:
    spec = _newest(server).spec
    assert spec is not None
    return spec.request


def _request(**values: Any) -> Request:
    return Request(prompt="a fox").with_values({"width": 64, "height": 48, **values})


def test_the_server_is_found_as_imagen(server: LiveServer) -> None:
    block = {"type": "openai", "url": f"{server.url}/v1", "server": "imagen"}
    assert detect(server.url).blocks == {"imagen": block}


def test_parameters_of_imagen_reach_its_queue(server: LiveServer, engine: OpenAI) -> None:
    ticket = engine.prepare(_request(seed=7, steps=3, negative="rain", cfg=2.5))
    result = engine.collect(ticket, no_progress)
    assert result.outputs[0].seed == 7
    used = _used(server)
    assert (used.seed, used.steps, used.negative, used.cfg) == (7, 3, "rain", 2.5)


def test_a_random_seed_of_the_server_is_reported(engine: OpenAI) -> None:
    result = engine.collect(engine.prepare(_request(count=2)), no_progress)
    first, second = (output.seed for output in result.outputs)
    assert first is not None
    assert second == first + 1


def test_a_submitted_ticket_gives_the_same_image_again(server: LiveServer, engine: OpenAI) -> None:
    ticket = engine.prepare(_request())
    first = engine.collect(ticket, no_progress)
    jobs = len(server.runtime.store.list_jobs())
    again = engine.collect(ticket.sent(), no_progress)
    assert again.outputs[0].data == first.outputs[0].data
    assert len(server.runtime.store.list_jobs()) == jobs


def test_images_and_mask_have_their_meaning(server: LiveServer, engine: OpenAI) -> None:
    Image.new("RGB", (64, 48), "teal").save("fox.png")
    Image.new("L", (64, 48), 255).save("mask.png")
    tasks = []
    for values in (
        {"image": "fox.png", "strength": 0.4},
        {"image": "fox.png", "mask": "mask.png"},
        {"references": ("fox.png", "fox.png")},
    ):
        engine.collect(engine.prepare(_request(**values)), no_progress)
        tasks.append(_used(server).task)
    assert tasks == ["image-to-image", "inpaint", "edit"]


def test_an_unknown_model_is_refused_with_a_sentence(engine: OpenAI) -> None:
    with pytest.raises(Rejected, match="does not know this model"):
        engine.collect(engine.prepare(_request(model="moc")), no_progress)


def test_a_cancelled_request_cancels_its_job(server: LiveServer, engine: OpenAI) -> None:
    def cancel(progress: Progress) -> None:
        if progress.stage == "running":
            raise Cancelled

    with pytest.raises(Cancelled) as caught:
        engine.collect(engine.prepare(_request(model="slow", steps=20)), cancel)
    assert caught.value.is_stopped
    assert _newest(server).state == "cancelled"


def test_a_job_that_failed_is_not_sent_again(server: LiveServer, engine: OpenAI) -> None:
    jobs = len(server.runtime.store.list_jobs())
    with pytest.raises(Failed):
        engine.collect(engine.prepare(_request(model="failing")), no_progress)
    assert len(server.runtime.store.list_jobs()) == jobs + 1

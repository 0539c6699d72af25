"""A server whose page has something to show in every view, the same in every run."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

from imagen import Request
from imagen.backends.mock.painting import paint
from imagen.config import ServerSettings
from imagen.core.ticket import Ticket
from imagen.library import record_generation
from imagen.library.records import GenerationRecord
from imagen.library.search import Query, search_images
from imagen.library.tags import change_tags, set_rating
from support.library_samples import make_image, uuid_of
from support.live_server import LiveServer, live_server, server_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagen.library import Library

NOW = datetime(2026, 11, 28, 15, 30, tzinfo=UTC)
"""The date of the page in tests that look at it."""
_PROMPTS = (
    "misty mountain valley at dawn, layered ridges fading into haze",
    "a single light in the window of a wooden hut, painted in gouache",
    "dunes under a pale moon, wide angle",
    "Nebelküste bei Sonnenaufgang, Aquarell auf rauem Papier",
    "山間の湖、夜明け、静かな水面",
    "وادٍ جبلي ضبابي عند الفجر",
)
_SIZES = ((384, 256), (256, 384), (320, 320), (448, 256), (256, 448))
_MODELS = ("flux1-schnell", "sd35-medium", "flux2-klein-9b-distilled-fp8.safetensors")
_BACKENDS: dict[str, dict[str, Any]] = {
    "aurora": {"type": "mock", "look": "aurora"},
    "dusk": {"type": "mock", "look": "dusk"},
    "slow": {"type": "mock", "look": "slow", "step_seconds": 60},
    "broken": {"type": "mock", "fail": "failed"},
}


@contextmanager
def sample_site(folder: Path, *, images: int = 60) -> Iterator[LiveServer]:
    """A server with images of some months, a running, a waiting and a failed job."""
    settings = server_settings(_BACKENDS, folder=folder, server=ServerSettings(backend="aurora"))
    with live_server(settings) as server:
        fill_library(server.runtime.library, folder, images)
        yield server


def submit_jobs(server: LiveServer) -> None:
    """Let one job fail, one run for minutes, and one wait for it."""
    for backend, prompt in (("broken", _PROMPTS[1]), ("slow", _PROMPTS[0]), ("slow", _PROMPTS[2])):
        request = {"prompt": prompt, "width": 768, "height": 512, "seed": 5, "steps": 20}
        body = {"backend": backend, "request": request}
        job = server.client.post("/api/v1/generations", json=body).raise_for_status().json()["job"]
        if backend == "broken":
            server.wait_for_job(job)


def run_comparison(server: LiveServer) -> str:
    """The id of a comparison of two backends and one that fails, once it has ended."""
    request = {"prompt": _PROMPTS[0], "width": 512, "height": 384, "seed": 11}
    body = {
        "request": request,
        "models": ["aurora", "dusk", "broken"],
        "vary": [{"name": "steps", "values": [2, 6, 12]}],
    }
    made = server.client.post("/api/v1/comparisons", json=body).raise_for_status().json()
    server.wait_for_job(made["job"])
    return str(made["id"])


def fill_library(library: Library, folder: Path, images: int) -> None:
    """Record so many images, spread over the months before NOW."""
    random = Random(3)
    painted = folder / "painted"
    painted.mkdir()
    created = NOW - timedelta(hours=1)
    for number in range(1, images + 1):
        prompt = _PROMPTS[number % len(_PROMPTS)]
        width, height = _SIZES[number % len(_SIZES)]
        path = painted / f"{number}.png"
        paint(prompt=prompt, seed=number, width=width, height=height, steps=6).save(path)
        request = Request(prompt=prompt, width=width, height=height, seed=number, steps=6)
        backend = ("aurora", "dusk", "gpu")[number % 3]
        ticket = Ticket(id=uuid_of(number), backend=backend, request=request, receipt={})
        image = make_image(number, path=path)
        record_generation(
            library,
            GenerationRecord(
                id=ticket.id,
                backend=backend,
                kind="comfyui" if backend == "gpu" else "mock",
                ticket=ticket,
                request=request,
                facts={
                    "model": _MODELS[number % len(_MODELS)],
                    "latency_seconds": 2.5,
                    "seed": number,
                },
                created_at=created,
                ended_at=created + timedelta(seconds=2),
                caller="",
                images=(image.model_copy(update={"width": width, "height": height}),),
            ),
        )
        created -= timedelta(hours=random.choice((1, 2, 30, 60, 120)))
    shown = search_images(library, Query(), limit=images).images
    set_rating(library, shown[2:14:4], 5)
    change_tags(library, shown[1:9:2], add=("landscape", "keep"))

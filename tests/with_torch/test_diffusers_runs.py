"""A pipeline is loaded once, reports each step, stops between steps, and is freed on request."""

from __future__ import annotations

import gc
import weakref
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from support.tiny_models import (
    FAMILIES,
    first_pixels,
    generate,
    open_image,
    open_tiny,
    tiny_controlnet,
    tiny_model,
    write_photo,
)

from imagen.backends import validate_block
from imagen.backends.diffusers import DiffusersConfig
from imagen.backends.diffusers.model_source import read_source
from imagen.backends.diffusers.pipeline import load_pipeline
from imagen.backends.diffusers.plan import plan_run
from imagen.backends.diffusers.run import LOADED_PIPELINE, DiffusersRun
from imagen.core.request import Request
from imagen.errors import Cancelled

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.core.result import Progress

_REQUEST = Request(prompt="a fox", width=64, height=48, seed=7, steps=6)


def _unet() -> object:
    """The part that draws, of what is loaded now."""
    (loaded,) = LOADED_PIPELINE._values
    return loaded.base.unet


def test_pipeline_stays_loaded_between_calls_and_tasks(tmp_path: Path) -> None:
    first_pixels(open_tiny("sd1"))
    unet = _unet()
    first_pixels(open_tiny("sd1"), image=str(write_photo(tmp_path)), strength=0.5)
    first_pixels(open_tiny("sd1"))
    assert _unet() is unet


def test_another_model_replaces_the_loaded_pipeline() -> None:
    first_pixels(open_tiny("sd1"))
    unet = weakref.ref(_unet())
    first_pixels(open_tiny("sdxl"))
    gc.collect()
    assert unet() is None


def test_free_releases_the_pipeline() -> None:
    backend = open_tiny("sd1")
    first_pixels(backend)
    unet = weakref.ref(_unet())
    backend.close()
    assert unet() is not None
    backend.free()
    gc.collect()
    assert unet() is None


def test_free_releases_controlnets(tmp_path: Path) -> None:
    backend = open_tiny("sd1", controlnets={"canny": str(tiny_controlnet())})
    first_pixels(backend, controls=[{"kind": "canny", "image": str(write_photo(tmp_path))}])
    net = weakref.ref(LOADED_PIPELINE._values[0].controlnets["canny"])
    backend.free()
    gc.collect()
    assert net() is None


@pytest.mark.parametrize("family", FAMILIES)
def test_cancelling_stops_at_the_next_step_and_leaves_the_pipeline_usable(family: str) -> None:
    backend = open_tiny(family)
    before = first_pixels(backend, steps=6)
    told: list[Progress] = []

    def stop_at_two(progress: Progress) -> None:
        told.append(progress)
        if progress.step == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        backend.collect(backend.prepare(_REQUEST), stop_at_two)
    assert [progress.step for progress in told if progress.step is not None][-1] == 2
    assert not LOADED_PIPELINE.is_in_use
    assert first_pixels(backend, steps=6) == before


def test_cancelling_while_loading_returns_at_once() -> None:
    backend = open_tiny("sd1")
    backend.free()

    def stop(_: Progress) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        backend.collect(backend.prepare(_REQUEST), stop)
    assert len(first_pixels(backend)) == 64 * 48 * 3


def test_cancelled_run_in_the_queue_loads_nothing() -> None:
    waiting = _waiting_run()
    waiting._stop.set()
    with pytest.raises(Cancelled):
        waiting._load()


def _waiting_run() -> DiffusersRun:
    config = validate_block(
        "tiny", {"model": str(tiny_model("sd1")), "device": "cpu"}, DiffusersConfig
    )
    source = read_source(config)
    ticket = open_tiny("sd1").prepare(_REQUEST)
    return DiffusersRun(ticket, plan_run(_REQUEST, source, config), source, config)


@pytest.mark.parametrize(
    ("sampler", "steps", "told"),
    [("euler", 4, [1, 2, 3, 4]), ("heun", 3, [1, 2, 3, 4, 5]), ("pndm", 4, [1, 2, 3, 4, 5])],
)
def test_each_scheduler_step_reports_progress(sampler: str, steps: int, told: list[int]) -> None:
    said: list[Progress] = []
    generate(open_tiny("sd1"), said, sampler=sampler, steps=steps)
    running = [p for p in said if p.stage == "running" and p.preview is not None]
    assert [progress.step for progress in running] == told
    assert {progress.steps for progress in running} == {told[-1]}


@pytest.mark.parametrize("family", ["sd1", "sdxl", "sd3", "flux1"])
def test_each_step_has_a_preview(family: str) -> None:
    told: list[Progress] = []
    generate(open_tiny(family), told)
    previews = [progress.preview for progress in told if progress.preview]
    assert len(previews) == 3
    with Image.open(BytesIO(previews[-1])) as shown:
        assert (shown.format, shown.mode, shown.size) == ("JPEG", "RGB", (32, 24))


def test_progress_reports_loading_then_the_ticket_then_done() -> None:
    backend = open_tiny("sd1")
    backend.free()
    told: list[Progress] = []
    generate(backend, told)
    assert told[0].stage == "loading"
    assert [p.ticket.engine for p in told if p.ticket] == [{"device": "cpu"}]
    assert told[-1].stage == "done"


def test_facts_name_device_and_used_values_without_paths() -> None:
    facts = generate(open_tiny("sd1"), sampler="dpmpp_2m", scheduler="karras", cfg=5.0).facts
    assert (facts.model, facts.models) == (tiny_model("sd1").name, (tiny_model("sd1").name,))
    assert (facts.seed, facts.steps, facts.cfg) == (7, 3, 5.0)
    assert (facts.sampler, facts.scheduler) == ("dpmpp_2m", "karras")
    engine = {name: facts.engine[name] for name in ("device", "dtype", "offload", "pipeline")}
    assert engine == {
        "device": "cpu",
        "dtype": "float32",
        "offload": "none",
        "pipeline": "StableDiffusionPipeline",
    }


def test_model_offload_gives_the_same_image(tmp_path: Path) -> None:
    backend = open_tiny("sd1", controlnets={"canny": str(tiny_controlnet())})
    steered = {"controls": [{"kind": "canny", "image": str(write_photo(tmp_path))}]}
    before = first_pixels(backend), first_pixels(backend, **steered)
    LOADED_PIPELINE._values[0].offload = "model"
    assert (first_pixels(backend), first_pixels(backend, **steered), first_pixels(backend)) == (
        *before,
        before[0],
    )
    backend.free()


def test_offloaded_parts_return_to_main_memory_after_a_stopped_run() -> None:
    """diffusers puts them back itself only where a run comes to its end."""
    config = validate_block(
        "tiny", {"model": str(tiny_model("sd1")), "device": "cpu"}, DiffusersConfig
    )
    source = read_source(config)
    loaded = load_pipeline(source, config)
    loaded.offload = "model"
    plan = plan_run(_REQUEST, source, config)
    hooks = loaded.pipeline_for(plan)._all_hooks
    assert len(hooks) > 0
    assert loaded.pipeline_for(plan)._all_hooks is not hooks


def test_requested_model_replaces_the_own_model() -> None:
    backend = open_tiny("sd1", models_dir=str(tiny_model("sdxl").parent))
    own = first_pixels(backend)
    named = generate(backend, model=tiny_model("sdxl").name)
    assert named.facts.model == tiny_model("sdxl").name
    assert open_image(named).tobytes() == first_pixels(open_tiny("sdxl"))
    assert first_pixels(backend) == own


def test_requested_model_stays_loaded_for_the_next_request() -> None:
    backend = open_tiny("sd1", models_dir=str(tiny_model("sdxl").parent))
    first_pixels(backend, model=tiny_model("sdxl").name)
    unet = _unet()
    first_pixels(open_tiny("sdxl"))
    assert _unet() is unet

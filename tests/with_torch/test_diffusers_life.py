"""A pipeline is loaded once, told of at each step, stopped between two, and let go when asked."""

from __future__ import annotations

import gc
import weakref
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from support.tiny_models import FAMILIES, controlnet, drawn, first, model, opened, photo, picture

from imagen.backends import validate_block
from imagen.backends.diffusers import DiffusersConfig
from imagen.backends.diffusers.model_source import read_source
from imagen.backends.diffusers.pipeline import load
from imagen.backends.diffusers.plan import plan
from imagen.backends.diffusers.run import KEPT, Run
from imagen.core.request import Request
from imagen.errors import Cancelled

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.core.result import Progress

_ASKED = Request(prompt="a fox", width=64, height=48, seed=7, steps=6)


def _unet() -> object:
    """The part that draws, of what is loaded now."""
    (loaded,) = KEPT._kept
    return loaded.base.unet


def test_it_stays_loaded_between_calls_and_tasks_of_one_process(tmp_path: Path) -> None:
    first(opened("sd1"))
    unet = _unet()
    first(opened("sd1"), image=str(photo(tmp_path)), strength=0.5)
    first(opened("sd1"))
    assert _unet() is unet


def test_another_model_takes_its_place() -> None:
    first(opened("sd1"))
    unet = weakref.ref(_unet())
    first(opened("sdxl"))
    gc.collect()
    assert unet() is None


def test_freeing_lets_it_go() -> None:
    backend = opened("sd1")
    first(backend)
    unet = weakref.ref(_unet())
    backend.close()
    assert unet() is not None
    backend.free()
    gc.collect()
    assert unet() is None


def test_freeing_a_control_net_too(tmp_path: Path) -> None:
    backend = opened("sd1", controlnets={"canny": str(controlnet())})
    first(backend, controls=[{"kind": "canny", "image": str(photo(tmp_path))}])
    net = weakref.ref(KEPT._kept[0].nets["canny"])
    backend.free()
    gc.collect()
    assert net() is None


@pytest.mark.parametrize("family", FAMILIES)
def test_cancelling_stops_at_the_next_step_and_harms_nothing(family: str) -> None:
    backend = opened(family)
    before = first(backend, steps=6)
    told: list[Progress] = []

    def stop_at_two(progress: Progress) -> None:
        told.append(progress)
        if progress.step == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        backend.collect(backend.prepare(_ASKED), stop_at_two)
    assert [progress.step for progress in told if progress.step is not None][-1] == 2
    assert not KEPT.is_in_use
    assert first(backend, steps=6) == before


def test_cancelling_while_it_loads_needs_no_waiting() -> None:
    backend = opened("sd1")
    backend.free()

    def stop(_: Progress) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        backend.collect(backend.prepare(_ASKED), stop)
    assert len(first(backend)) == 64 * 48 * 3


def test_cancelling_while_another_runs_loads_nothing_afterwards() -> None:
    waiting = _waiting_run()
    waiting._stop.set()
    with pytest.raises(Cancelled):
        waiting._load()


def _waiting_run() -> Run:
    config = validate_block("tiny", {"model": str(model("sd1")), "device": "cpu"}, DiffusersConfig)
    source = read_source(config)
    ticket = opened("sd1").prepare(_ASKED)
    return Run(ticket, plan(_ASKED, source, config), source, config)


@pytest.mark.parametrize(
    ("sampler", "steps", "told"),
    [("euler", 4, [1, 2, 3, 4]), ("heun", 3, [1, 2, 3, 4, 5]), ("pndm", 4, [1, 2, 3, 4, 5])],
)
def test_each_step_of_the_scheduler_is_told(sampler: str, steps: int, told: list[int]) -> None:
    said: list[Progress] = []
    drawn(opened("sd1"), said, sampler=sampler, steps=steps)
    running = [p for p in said if p.stage == "running" and p.preview is not None]
    assert [progress.step for progress in running] == told
    assert {progress.steps for progress in running} == {told[-1]}


@pytest.mark.parametrize("family", ["sd1", "sdxl", "sd3", "flux1"])
def test_each_step_is_shown_small(family: str) -> None:
    told: list[Progress] = []
    drawn(opened(family), told)
    previews = [progress.preview for progress in told if progress.preview]
    assert len(previews) == 3
    with Image.open(BytesIO(previews[-1])) as shown:
        assert (shown.format, shown.mode, shown.size) == ("JPEG", "RGB", (32, 24))


def test_loading_is_told_and_then_the_ticket() -> None:
    backend = opened("sd1")
    backend.free()
    told: list[Progress] = []
    drawn(backend, told)
    assert told[0].stage == "loading"
    assert [p.ticket.engine for p in told if p.ticket] == [{"device": "cpu"}]
    assert told[-1].stage == "done"


def test_the_facts_name_the_device_and_what_was_used_and_not_where_it_lies() -> None:
    facts = drawn(opened("sd1"), sampler="dpmpp_2m", scheduler="karras", cfg=5.0).facts
    assert (facts.model, facts.models) == (model("sd1").name, (model("sd1").name,))
    assert (facts.seed, facts.steps, facts.cfg) == (7, 3, 5.0)
    assert (facts.sampler, facts.scheduler) == ("dpmpp_2m", "karras")
    engine = {name: facts.engine[name] for name in ("device", "dtype", "offload", "pipeline")}
    assert engine == {
        "device": "cpu",
        "dtype": "float32",
        "offload": "none",
        "pipeline": "StableDiffusionPipeline",
    }


def test_parts_that_rest_in_main_memory_draw_the_same(tmp_path: Path) -> None:
    backend = opened("sd1", controlnets={"canny": str(controlnet())})
    steered = {"controls": [{"kind": "canny", "image": str(photo(tmp_path))}]}
    before = first(backend), first(backend, **steered)
    KEPT._kept[0].offload = "model"
    assert (first(backend), first(backend, **steered), first(backend)) == (*before, before[0])
    backend.free()


def test_parts_that_a_stopped_run_fetched_go_back_to_main_memory() -> None:
    """diffusers puts them back itself only where a run comes to its end."""
    config = validate_block("tiny", {"model": str(model("sd1")), "device": "cpu"}, DiffusersConfig)
    source = read_source(config)
    loaded = load(source, config)
    loaded.offload = "model"
    made = plan(_ASKED, source, config)
    hooks = loaded.pipeline(made)._all_hooks
    assert len(hooks) > 0
    assert loaded.pipeline(made)._all_hooks is not hooks


def test_a_model_that_a_request_names_takes_the_place_of_the_blocks_own() -> None:
    backend = opened("sd1", models_dir=str(model("sdxl").parent))
    own = first(backend)
    named = drawn(backend, model=model("sdxl").name)
    assert named.facts.model == model("sdxl").name
    assert picture(named).tobytes() == first(opened("sdxl"))
    assert first(backend) == own


def test_a_model_stays_loaded_for_the_next_request_that_names_it() -> None:
    backend = opened("sd1", models_dir=str(model("sdxl").parent))
    first(backend, model=model("sdxl").name)
    unet = _unet()
    first(opened("sdxl"))
    assert _unet() is unet

"""Every listed sampler works, and takes the noise schedules that its table entry says."""

from __future__ import annotations

import json
import shutil
from inspect import signature
from typing import TYPE_CHECKING

import diffusers
import pytest
from support.tiny_models import first_pixels, open_tiny, tiny_model

from imagen.backends.diffusers.schedulers import (
    FLOW_SAMPLERS,
    NORMAL,
    SAMPLERS,
    SCHEDULES,
    list_samplers,
    list_schedules,
)

if TYPE_CHECKING:
    from pathlib import Path

_INSTALLED_SAMPLERS = [name for name in list_samplers(is_flow=False) if name in SAMPLERS]


@pytest.mark.parametrize("name", _INSTALLED_SAMPLERS)
def test_sampler_gives_the_same_image_twice(name: str) -> None:
    backend = open_tiny("sd1")
    assert first_pixels(backend, sampler=name) == first_pixels(backend, sampler=name)


@pytest.mark.parametrize("name", FLOW_SAMPLERS)
@pytest.mark.parametrize("family", ["sd3", "flux1", "flux2"])
def test_flow_sampler_gives_the_same_image_twice(name: str, family: str) -> None:
    backend = open_tiny(family)
    assert first_pixels(backend, sampler=name) == first_pixels(backend, sampler=name)


@pytest.mark.parametrize("name", _INSTALLED_SAMPLERS)
def test_takes_schedules_matches_the_scheduler_class(name: str) -> None:
    taken = signature(getattr(diffusers, SAMPLERS[name].scheduler).__init__).parameters
    assert ("use_karras_sigmas" in taken) is SAMPLERS[name].takes_schedules
    assert ("use_exponential_sigmas" in taken) is SAMPLERS[name].takes_schedules
    assert ("use_beta_sigmas" in taken) is SAMPLERS[name].takes_schedules


def test_normal_schedule_equals_the_default() -> None:
    backend = open_tiny("sd1")
    normal = first_pixels(backend, sampler="euler", scheduler=NORMAL, steps=4)
    assert normal == first_pixels(backend, sampler="euler", steps=4)


@pytest.mark.parametrize("schedule", [s for s in list_schedules(is_flow=False) if s != NORMAL])
def test_other_schedules_change_the_image(schedule: str) -> None:
    backend = open_tiny("sd1")
    scheduled = first_pixels(backend, sampler="euler", scheduler=schedule, steps=4)
    assert scheduled != first_pixels(backend, sampler="euler", steps=4)


@pytest.mark.parametrize("schedule", ["normal", "exponential"])
def test_requested_schedule_replaces_the_models_own(schedule: str, tmp_path: Path) -> None:
    shutil.copytree(tiny_model("sd1"), tmp_path / "karras")
    config = tmp_path / "karras" / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"use_karras_sigmas": True}))
    asked = {"sampler": "euler", "scheduler": schedule, "steps": 4}
    assert first_pixels(open_tiny(model=str(tmp_path / "karras")), **asked) == first_pixels(
        open_tiny("sd1"), **asked
    )


def test_karras_in_the_sampler_name_equals_karras_as_schedule() -> None:
    backend = open_tiny("sd1")
    apart = first_pixels(backend, sampler="dpmpp_2m", scheduler="karras")
    assert first_pixels(backend, sampler="dpmpp_2m_karras") == apart


def test_samplers_of_one_equation_converge_to_one_image() -> None:
    """With many small steps they must agree; otherwise one is configured wrongly."""
    backend = open_tiny("sd1")
    images = [
        first_pixels(backend, sampler=s, steps=25) for s in ("euler", "heun", "dpmpp_2m", "deis")
    ]
    apart = [max(map(_apart, images[0], other)) for other in images[1:]]
    assert max(apart) < 40


def _apart(one: int, other: int) -> int:
    return abs(one - other)


def test_schedules_are_normal_karras_exponential_and_beta() -> None:
    assert tuple(SCHEDULES) == ("normal", "karras", "exponential", "beta")

"""Every sampler that is offered draws, and takes the noise schedules that it is said to take."""

from __future__ import annotations

import json
import shutil
from inspect import signature
from typing import TYPE_CHECKING

import diffusers
import pytest
from support.tiny_models import first, model, opened

from imagen.backends.diffusers.schedulers import (
    FLOW_SAMPLERS,
    NORMAL,
    SAMPLERS,
    SCHEDULES,
    samplers,
    schedules,
)

if TYPE_CHECKING:
    from pathlib import Path

_WHOLE = [name for name in samplers(is_flow=False) if name in SAMPLERS]


@pytest.mark.parametrize("name", _WHOLE)
def test_a_sampler_draws_the_same_picture_twice(name: str) -> None:
    backend = opened("sd1")
    assert first(backend, sampler=name) == first(backend, sampler=name)


@pytest.mark.parametrize("name", FLOW_SAMPLERS)
@pytest.mark.parametrize("family", ["sd3", "flux1", "flux2"])
def test_a_flow_sampler_draws_the_same_picture_twice(name: str, family: str) -> None:
    backend = opened(family)
    assert first(backend, sampler=name) == first(backend, sampler=name)


@pytest.mark.parametrize("name", _WHOLE)
def test_the_table_says_truly_which_take_schedules(name: str) -> None:
    taken = signature(getattr(diffusers, SAMPLERS[name].scheduler).__init__).parameters
    assert ("use_karras_sigmas" in taken) is SAMPLERS[name].takes_schedules
    assert ("use_exponential_sigmas" in taken) is SAMPLERS[name].takes_schedules
    assert ("use_beta_sigmas" in taken) is SAMPLERS[name].takes_schedules


@pytest.mark.parametrize("schedule", schedules(is_flow=False))
def test_a_schedule_counts(schedule: str) -> None:
    backend = opened("sd1")
    drawn = first(backend, sampler="euler", scheduler=schedule, steps=4)
    assert (drawn == first(backend, sampler="euler", steps=4)) is (schedule == NORMAL)


@pytest.mark.parametrize("schedule", ["normal", "exponential"])
def test_the_schedule_of_the_model_gives_way(schedule: str, tmp_path: Path) -> None:
    shutil.copytree(model("sd1"), tmp_path / "karras")
    config = tmp_path / "karras" / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"use_karras_sigmas": True}))
    asked = {"sampler": "euler", "scheduler": schedule, "steps": 4}
    assert first(opened(model=str(tmp_path / "karras")), **asked) == first(opened("sd1"), **asked)


def test_karras_in_one_word_is_karras_in_two() -> None:
    backend = opened("sd1")
    apart = first(backend, sampler="dpmpp_2m", scheduler="karras")
    assert first(backend, sampler="dpmpp_2m_karras") == apart


def test_samplers_of_one_equation_come_to_one_picture() -> None:
    """With many small steps they must agree, or one of them is set up wrongly."""
    backend = opened("sd1")
    pictures = [first(backend, sampler=s, steps=25) for s in ("euler", "heun", "dpmpp_2m", "deis")]
    apart = [max(map(_apart, pictures[0], other)) for other in pictures[1:]]
    assert max(apart) < 40


def _apart(one: int, other: int) -> int:
    return abs(one - other)


def test_every_schedule_has_its_name() -> None:
    assert tuple(SCHEDULES) == ("normal", "karras", "exponential", "beta")

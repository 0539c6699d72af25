"""Samplers and schedules by the names of any tool, and what each engine calls them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from imagen.core.capabilities import Capabilities, Parameter, ParameterOutcome, resolve_parameters
from imagen.core.request import Request
from imagen.core.samplers import (
    COMFYUI_SAMPLERS,
    COMFYUI_SCHEDULERS,
    parse_sampler,
    parse_scheduler,
)
from imagen.errors import RequestError

if TYPE_CHECKING:
    from imagen.core.capabilities import Receipt

SD_CPP = ("euler", "euler_a", "heun", "dpm2", "dpm++2m", "dpm++2m_sde", "lcm", "ddim_trailing")
DIFFUSERS = ("default", "euler", "euler_a", "dpm2_a", "dpmpp_2m", "unipc", "sasolver", "pndm")
REPLICATE = ("DDIM", "DPMSolverMultistep", "KarrasDPM", "K_EULER_ANCESTRAL", "K_EULER", "PNDM")


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("euler", ("euler", "")),
        ("Euler a", ("euler_ancestral", "")),
        ("euler_a", ("euler_ancestral", "")),
        ("Euler Ancestral", ("euler_ancestral", "")),
        ("k_euler_ancestral", ("euler_ancestral", "")),
        ("K_EULER", ("euler", "")),
        ("KLMS", ("lms", "")),
        ("EulerAncestralDiscreteScheduler", ("euler_ancestral", "")),
        ("DPMSolverMultistepScheduler", ("dpmpp_2m", "")),
        ("KarrasDPM", ("dpmpp_2m", "karras")),
        ("DPM++ 2M Karras", ("dpmpp_2m", "karras")),
        ("dpmpp_2m_karras", ("dpmpp_2m", "karras")),
        ("dpm++2m_sde", ("dpmpp_2m_sde", "")),
        ("DPM++ 2M SDE SGMUniform", ("dpmpp_2m_sde", "sgm_uniform")),
        ("DPM++ 2M SDE SGM Uniform", ("dpmpp_2m_sde", "sgm_uniform")),
        ("dpmpp_2m_sde_k", ("dpmpp_2m_sde", "karras")),
        ("kdpm_2_a_k", ("dpm_2_ancestral", "karras")),
        ("DPM2 a", ("dpm_2_ancestral", "")),
        ("euler_a discrete", ("euler_ancestral", "normal")),
        ("UniPC", ("uni_pc", "")),
        ("DDIM", ("ddim", "")),
        ("PLMS", ("pndm", "")),
        ("rk_beta", ("rk_beta", "")),
        ("", ("", "")),
        ("k_", ("k_", "")),
    ],
)
def test_sampler_names_of_all_tools_are_known(name: str, meaning: tuple[str, str]) -> None:
    assert parse_sampler(name) == meaning


@pytest.mark.parametrize("name", COMFYUI_SAMPLERS)
def test_comfyui_samplers_mean_themselves(name: str) -> None:
    assert parse_sampler(name) == (name, "")


@pytest.mark.parametrize("name", COMFYUI_SCHEDULERS)
def test_comfyui_schedulers_mean_themselves(name: str) -> None:
    assert parse_scheduler(name) == name


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("Karras", "karras"),
        ("SGM Uniform", "sgm_uniform"),
        ("Uniform", "normal"),
        ("discrete", "normal"),
        ("Align Your Steps", "ays"),
        ("Automatic", ""),
        ("beta57", "beta57"),
    ],
)
def test_scheduler_names_of_all_tools_are_known(name: str, meaning: str) -> None:
    assert parse_scheduler(name) == meaning


@pytest.mark.parametrize(
    ("name", "choices", "used"),
    [
        pytest.param("Euler a", None, "euler_ancestral", id="comfyui"),
        pytest.param("ddim_trailing", None, "ddim", id="comfyui, the nearest"),
        pytest.param("dpmpp_2m_sde_gpu", None, "dpmpp_2m_sde_gpu", id="comfyui, its own"),
        pytest.param("res_2m", None, "res_2m", id="comfyui, of a custom node"),
        pytest.param("dpmpp_2m", SD_CPP, "dpm++2m", id="sd.cpp"),
        pytest.param("DDIM", SD_CPP, "ddim_trailing", id="sd.cpp, the nearest"),
        pytest.param("EulerDiscreteScheduler", DIFFUSERS, "euler", id="diffusers' class"),
        pytest.param("dpm_2_ancestral", DIFFUSERS, "dpm2_a", id="diffusers"),
        pytest.param("SA-Solver", DIFFUSERS, "sasolver", id="with a hyphen"),
        pytest.param("euler_ancestral", REPLICATE, "K_EULER_ANCESTRAL", id="replicate"),
        pytest.param("k_euler", REPLICATE, "K_EULER", id="another case"),
        pytest.param("DPM++ 2M Karras", REPLICATE, "KarrasDPM", id="the schedule in both"),
    ],
)
def test_sampler_is_translated_to_the_engines_name(
    name: str, choices: tuple[str, ...] | None, used: str
) -> None:
    assert _settled(choices, sampler=name)[0]["sampler"] == used


def test_receipt_shows_the_translated_name() -> None:
    mapped = ParameterOutcome(
        outcome="mapped", asked="Euler a", used="euler_a", why="its name here"
    )
    assert _settled(SD_CPP, sampler="Euler a")[1] == {"sampler": mapped}


def test_receipt_says_that_a_substitute_was_used() -> None:
    why = "the nearest that this backend has"
    mapped = ParameterOutcome(outcome="mapped", asked="ddim", used="ddim_trailing", why=why)
    assert _settled(SD_CPP, sampler="ddim")[1] == {"sampler": mapped}


def test_engines_own_name_is_applied_unchanged() -> None:
    assert _settled(SD_CPP, sampler="euler_a")[1] == {
        "sampler": ParameterOutcome(outcome="applied", asked="euler_a")
    }


def test_sampler_name_with_a_scheduler_sets_the_scheduler() -> None:
    values, receipt = _settled(SD_CPP, ("discrete", "karras"), sampler="DPM++ 2M Karras")
    assert values == {"sampler": "dpm++2m", "scheduler": "karras"}
    why = "the sampler 'DPM++ 2M Karras' names it"
    assert receipt["scheduler"] == ParameterOutcome(outcome="applied", asked="karras", why=why)


def test_scheduler_in_a_sampler_name_is_translated() -> None:
    values, receipt = _settled(SD_CPP, ("discrete",), sampler="euler normal")
    assert values == {"sampler": "euler", "scheduler": "discrete"}
    why = "the sampler 'euler normal' names it; its name here"
    mapped = ParameterOutcome(outcome="mapped", asked="normal", used="discrete", why=why)
    assert receipt["scheduler"] == mapped


def test_requested_scheduler_overrides_the_one_in_the_sampler_name() -> None:
    values, receipt = _settled(
        SD_CPP, ("discrete", "karras"), sampler="DPM++ 2M Karras", scheduler="discrete"
    )
    assert values == {"sampler": "dpm++2m", "scheduler": "discrete"}
    assert receipt["sampler"].outcome == "clamped"
    assert receipt["sampler"].why == "the request also has scheduler 'discrete'"


def test_same_scheduler_twice_does_not_conflict() -> None:
    _, receipt = _settled(
        SD_CPP, ("discrete", "karras"), sampler="DPM++ 2M Karras", scheduler="Karras"
    )
    assert receipt["sampler"].outcome == "mapped"


def test_scheduler_is_dropped_without_a_parameter() -> None:
    values, receipt = _settled(SD_CPP, sampler="DPM++ 2M Karras")
    assert values == {"sampler": "dpm++2m"}
    assert receipt["scheduler"].outcome == "dropped"


def test_sampler_given_as_scheduler_is_the_sampler() -> None:
    values, receipt = _settled(REPLICATE, scheduler="DDIM")
    assert values == {"sampler": "DDIM"}
    assert receipt["scheduler"] == ParameterOutcome(
        outcome="mapped", asked="DDIM", used={"sampler": "DDIM"}, why="it names a sampler"
    )


def test_automatic_scheduler_is_left_to_the_backend() -> None:
    values, receipt = _settled(SD_CPP, ("discrete",), scheduler="Automatic")
    assert values == {}
    mapped = ParameterOutcome(outcome="mapped", asked="Automatic", why="left to the backend")
    assert receipt == {"scheduler": mapped}


@pytest.mark.parametrize(
    ("name", "meant"),
    [("eular", "euler"), ("dpmpp_2n", "dpm++2m"), ("DPM++ 2N SDE", "dpm++2m_sde")],
)
def test_unknown_sampler_suggests_one_of_the_engine(name: str, meant: str) -> None:
    with pytest.raises(RequestError, match=r"sampler cannot be .* Did you mean") as caught:
        _settled(SD_CPP, sampler=name)
    assert f"Did you mean {meant!r}?" in caught.value.message


def _settled(
    samplers: tuple[str, ...] | None, schedulers: tuple[str, ...] = (), **asked: Any
) -> tuple[dict[str, Any], Receipt]:
    parameters = {"sampler": Parameter(type="string", choices=samplers)}
    if schedulers:
        parameters["scheduler"] = Parameter(type="string", choices=schedulers)
    return resolve_parameters(Request(**asked), Capabilities(parameters=parameters))

"""How an image was made, in one vocabulary."""

from __future__ import annotations

from typing import Any

import pytest
from support.other_tools_images import A1111, INVOKEAI, SDCPP, graph

from imagen.core.request import Request
from imagen.core.samplers import comfyui_names
from imagen.outputs import ImageRecord
from imagen.outputs.metadata.a1111 import parse_parameters
from imagen.outputs.metadata.invokeai import parse_metadata as parse_invokeai
from imagen.outputs.provenance import Provenance, backend_kind, find_provenance, request_from_values


def _parameters(text: str) -> ImageRecord:
    values, others = parse_parameters(text)
    return ImageRecord(source="parameters", resolved=values, facts=dict(others))


def test_a1111_parameters_give_settings_loras_and_unread_values() -> None:
    assert find_provenance(_parameters(A1111)) == Provenance(
        tool="a1111",
        values={
            "prompt": "a cat, (masterpiece:1.2)",
            "negative": "blurry, lowres",
            "steps": 20,
            "cfg": 7.0,
            "seed": 1234,
            "width": 512,
            "height": 768,
            "sampler": "dpmpp_2m",
            "scheduler": "karras",
            "clip_skip": 2,
            "loras": [{"name": "ink", "strength": 0.8}],
        },
        models=("v1-5-pruned-emaonly",),
        renamed={"sampler": "DPM++ 2M", "scheduler": "Karras"},
    )


def test_sdcpp_parameters_give_sampler_and_scheduler() -> None:
    found = find_provenance(_parameters(SDCPP))
    assert (found.tool, found.kind) == ("sd.cpp", "sdcpp")
    assert (found.values["sampler"], found.values["scheduler"]) == ("dpmpp_2m_v2", "karras")
    assert (found.values["cfg"], found.values["guidance"]) == (5.0, 3.5)
    assert found.models == ("v1-5-pruned-emaonly.safetensors",)
    assert found.unread == {"RNG": "cuda"}


def test_parameters_of_imagen_are_recognized_without_the_record() -> None:
    found = find_provenance(_parameters("a fox\nSteps: 4, Seed: 7, Size: 48x32, Version: imagen"))
    assert (found.tool, found.values["seed"]) == ("imagen", 7)


def test_invokeai_metadata_gives_settings_and_loras() -> None:
    values, facts = parse_invokeai(INVOKEAI)
    found = find_provenance(ImageRecord(source="invokeai", resolved=values, facts=facts))
    assert found == Provenance(
        tool="invokeai",
        values={
            "prompt": "a castle",
            "negative": "blurry",
            "width": 1024,
            "height": 768,
            "seed": 42,
            "cfg": 7.0,
            "steps": 30,
            "sampler": "dpmpp_2m",
            "scheduler": "karras",
            "loras": [{"name": "ink", "strength": 0.6}],
        },
        models=("sd_xl_base",),
        renamed={"sampler": "dpmpp_2m_k"},
        unread={"rand_device": "cpu"},
    )


def test_a_comfyui_graph_is_read_along_its_links() -> None:
    found = find_provenance(ImageRecord(source="prompt", graph=graph(negative="blurry", steps=12)))
    assert (found.tool, found.kind) == ("comfyui", "comfyui")
    assert found.models == ("sd_xl_base_1.0.safetensors",)
    assert found.values == {
        "prompt": "a glass fox",
        "negative": "blurry",
        "width": 1024,
        "height": 1024,
        "seed": 99,
        "steps": 12,
        "cfg": 7.0,
        "sampler": "dpmpp_2m",
        "scheduler": "karras",
        "count": 1,
    }


def test_the_provenance_of_an_own_record_has_the_seed_of_the_image() -> None:
    record = ImageRecord(
        source="sidecar",
        resolved={"prompt": "a fox", "seed": 7, "count": 3},
        facts={"model": "a.safetensors", "models": ["a.safetensors", "b.safetensors"]},
        file={"seed": 9, "index": 2},
    )
    found = find_provenance(record)
    assert found.values == {"prompt": "a fox", "seed": 9, "count": 3}
    assert found.models == ("a.safetensors", "b.safetensors")


@pytest.mark.parametrize(
    ("sampler", "schedule", "expected"),
    [
        ("Euler a", None, ("euler_ancestral", "")),
        ("DPM++ 2M Karras", None, ("dpmpp_2m", "karras")),
        ("DPM++ 2M SDE", "Exponential", ("dpmpp_2m_sde", "exponential")),
        ("DPM++ 2M", "Automatic", ("dpmpp_2m", "")),
        ("euler_a discrete", None, ("euler_ancestral", "normal")),
        ("UniPC", "SGM Uniform", ("uni_pc", "sgm_uniform")),
        ("Restart", "Karras", ("restart", "karras")),
        (None, None, ("", "")),
    ],
)
def test_samplers_get_comfyuis_names(
    sampler: str | None, schedule: str | None, expected: tuple[str, str]
) -> None:
    assert comfyui_names(sampler, schedule) == expected


@pytest.mark.parametrize(
    ("graph", "facts", "kind"),
    [
        ({"3": {"class_type": "KSampler", "inputs": {}}}, {}, "comfyui"),
        ({}, {"engine": {"prompt_id": "x"}}, "comfyui"),
        ({"input": {}, "model": "a/b"}, {}, "replicate"),
        ({}, {"engine": {"prediction_id": "x", "version": "1"}}, "replicate"),
        ({"arguments": ["-p", "x"]}, {}, "sdcpp"),
        ({"prompt": "x", "send_images": True}, {}, "a1111"),
        ({}, {"engine": {"task_id": "x"}}, "a1111"),
        ({"pipeline": "X"}, {"engine": {"diffusers": "0.42"}}, "diffusers"),
        ({"look": ""}, {}, "mock"),
        ({}, {"model": "mock"}, "mock"),
        ({}, {"model": "other"}, ""),
        ({}, {"engine": "odd"}, ""),
    ],
)
def test_backend_kind_is_detected_by_engine_facts_and_payload(
    graph: dict[str, Any], facts: dict[str, Any], kind: str
) -> None:
    assert backend_kind(ImageRecord(source="sidecar", graph=graph, facts=facts)) == kind


def test_request_from_values_returns_invalid_values() -> None:
    request, unfit = request_from_values(
        {"prompt": "a fox", "steps": -1, "cfg": 200.0, "hires": True}
    )
    assert request == Request(prompt="a fox")
    assert unfit == {"steps": -1, "cfg": 200.0, "hires": True}

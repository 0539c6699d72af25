"""Settings are extracted from the graph that made an image."""

from __future__ import annotations

from typing import Any

from support.other_tools_images import graph

from imagen.core.request import Lora
from imagen.graphs import edits
from imagen.graphs.importer.extract_settings import GraphSettings, extract_settings


def test_custom_sampler_has_the_same_settings_as_a_ksampler() -> None:
    found = extract_settings(graph("flux1-dev", guidance=2.5, steps=7))
    assert found.values == {
        "prompt": "a glass fox",
        "width": 1024,
        "height": 1024,
        "seed": 99,
        "steps": 7,
        "cfg": 1.0,
        "guidance": 2.5,
        "sampler": "euler",
        "scheduler": "simple",
        "count": 1,
    }
    assert found.models[0] == "flux1-dev.safetensors"


def test_loras_are_distinguished_from_models() -> None:
    steered = edits.with_loras(graph(), (Lora(name="ink.safetensors", strength=0.7),))
    found = extract_settings(steered)
    assert found.loras == (("ink.safetensors", 0.7),)
    assert found.models == ("sd_xl_base_1.0.safetensors",)


def test_strength_counts_only_with_an_initial_image() -> None:
    assert "strength" not in extract_settings(graph("sdxl", strength=0.5)).values
    found = extract_settings(graph("sdxl-img2img", strength=0.5, image="fox.png"))
    assert found.values["strength"] == 0.5
    assert found.images == ("fox.png",)


def test_nonsense_graph_has_no_settings() -> None:
    ring: dict[str, Any] = {
        "1": {"class_type": "A", "inputs": {"positive": ["2", 0], "seed": ["1", 0]}},
        "2": {"class_type": "B", "inputs": {"conditioning": ["1", 0], "text": ["2", 0]}},
        "3": "no node",
        "4": {"class_type": 7, "inputs": []},
    }
    assert extract_settings(ring) == GraphSettings(values={})

"""Models are listed with their folders, and have the usual tokens."""

from __future__ import annotations

from typing import Any

import pytest
from support.editor_files import PORTRAIT
from support.proposed_workflows import SAVE, proposed, sampler, tokens

from imagen.graphs.importer.convert import Download


def test_each_lora_has_its_own_weight() -> None:
    def lora(file: str, before: str, weight: float) -> dict[str, Any]:
        inputs = {"lora_name": file, "strength_model": weight, "strength_clip": weight}
        links = {"model": [before, 0], "clip": [before, 1]}
        return {"class_type": "LoraLoader", "inputs": inputs | links}

    more = {"20": lora("x.safetensors", "4", 1), "21": lora("y.safetensors", "20", 1)}
    found = tokens(PORTRAIT | more | {"3": sampler(model=["21", 0])})
    assert found["lora"] == ["20.lora_name"]
    assert found["lora_strength"] == ["20.strength_model", "20.strength_clip"]
    assert found["lora_2"] == ["21.lora_name"]
    assert found["lora_2_strength"] == ["21.strength_model", "21.strength_clip"]


def test_repeated_lora_has_two_weights() -> None:
    def lora(before: str, weight: float) -> dict[str, Any]:
        inputs = {"lora_name": "x.safetensors", "strength_model": weight, "model": [before, 0]}
        return {"class_type": "LoraLoaderModelOnly", "inputs": inputs}

    found = tokens(PORTRAIT | {"20": lora("4", 1), "21": lora("20", 0.5)})
    assert found["lora"] == ["20.lora_name", "21.lora_name"]
    assert found["lora_strength"] == ["20.strength_model"]
    assert found["lora_strength_2"] == ["21.strength_model"]


def test_models_of_the_first_sampler_come_first() -> None:
    def load(file: str) -> dict[str, Any]:
        return {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": file}}

    refine = sampler(latent_image=["3", 0], model=["1", 0])
    decode = {"class_type": "VAEDecode", "inputs": {"samples": ["20", 0], "vae": ["1", 2]}}
    graph = {"1": load("refiner.safetensors")} | PORTRAIT | {"20": refine, "8": decode}
    found = tokens(graph)
    assert (found["checkpoint"], found["checkpoint_2"]) == (["4.ckpt_name"], ["1.ckpt_name"])


@pytest.mark.parametrize(
    ("kind", "inputs", "expected"),
    [
        pytest.param(
            "UNETLoader",
            {"unet_name": "u.safetensors"},
            [("u.safetensors", "diffusion_models", "unet")],
            id="a diffusion model",
        ),
        pytest.param(
            "CLIPLoader",
            {"clip_name": "t5xxl_fp8.safetensors"},
            [("t5xxl_fp8.safetensors", "text_encoders", "clip")],
            id="one text encoder",
        ),
        pytest.param(
            "DualCLIPLoader",
            {"clip_name1": "t5xxl_fp8.safetensors", "clip_name2": "clip_l.safetensors"},
            [
                ("t5xxl_fp8.safetensors", "text_encoders", "t5xxl"),
                ("clip_l.safetensors", "text_encoders", "clip_l"),
            ],
            id="two text encoders",
        ),
        pytest.param(
            "CLIPVisionLoader",
            {"clip_name": "v.safetensors"},
            [("v.safetensors", "clip_vision", "clip_vision")],
            id="a vision encoder",
        ),
        pytest.param("VAELoader", {"vae_name": "taesd"}, [], id="none but a method"),
        pytest.param("Unheard", {"thing": "x.safetensors"}, [], id="an unknown folder"),
    ],
)
def test_models_are_listed_with_their_folders(
    kind: str, inputs: dict[str, Any], expected: list[tuple[str, str, str]]
) -> None:
    graph = {"1": {"class_type": kind, "inputs": inputs}, "9": SAVE, "8": PORTRAIT["5"]}
    models = proposed(graph).manifest.models
    assert [(model.file, model.folder, model.token) for model in models] == expected


def test_editor_file_provides_download_urls() -> None:
    downloads = {
        "a.safetensors": Download(folder="checkpoints/sd", source="https://example.org/a"),
    }
    model = proposed(PORTRAIT, downloads=downloads).manifest.models[0]
    assert (model.folder, model.source) == ("checkpoints/sd", "https://example.org/a")


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        pytest.param("../../etc", "https://example.org/a b", id="a way out and no address"),
        pytest.param("", "javascript:alert(1)", id="nothing and a script"),
    ],
)
def test_invalid_download_is_ignored(folder: str, source: str) -> None:
    downloads = {"a.safetensors": Download(folder=folder, source=source)}
    model = proposed(PORTRAIT, downloads=downloads).manifest.models[0]
    assert (model.folder, model.source) == ("checkpoints", "")


def test_packs_are_named_with_their_classes() -> None:
    nodes = proposed(PORTRAIT, packs={"B": "tiles", "A": "tiles"}).manifest.nodes
    assert [(pack.name, pack.classes) for pack in nodes] == [("tiles", ("A", "B"))]

"""The bundled workflows are valid, and say where their models come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imagen.graphs import (
    Workflow,
    bind,
    check_against_server,
    find_faults,
    find_workflow,
    list_workflow_files,
)
from imagen.testing.comfyui.state import NEW_VERSION

CATALOGUE: dict[str, Any] = json.loads(
    Path(__file__).with_name("node_catalog.json").read_text("utf-8")
)
NAMES = [
    "flux1-dev",
    "flux1-dev-img2img",
    "flux1-fill",
    "flux1-schnell",
    "flux1-schnell-img2img",
    "flux1-schnell-inpaint",
    "flux2-klein",
    "flux2-klein-9b",
    "flux2-klein-9b-base",
    "flux2-klein-base",
    "flux2-klein-edit",
    "flux2-klein-img2img",
    "flux2-klein-inpaint",
    "preprocess-canny",
    "preprocess-depth",
    "preprocess-pose",
    "preprocess-scribble",
    "qwen-image",
    "qwen-image-img2img",
    "qwen-image-inpaint",
    "restore-faces",
    "sd-turbo",
    "sd-turbo-img2img",
    "sd15",
    "sd15-img2img",
    "sd15-inpaint",
    "sd15-variation",
    "sd35-medium",
    "sd35-medium-img2img",
    "sd35-medium-inpaint",
    "sdxl",
    "sdxl-img2img",
    "sdxl-inpaint",
    "sdxl-turbo",
    "sdxl-turbo-img2img",
    "sdxl-variation",
    "upscale-hybrid",
    "upscale-model",
    "z-image-turbo",
    "z-image-turbo-img2img",
    "z-image-turbo-inpaint",
]
MODELS = [(name, model) for name in NAMES for model in find_workflow(name).manifest.models]
GIVEN = {
    "prompt": "a fox",
    "prompt_2": "a fox",
    "seed": 2**64 - 1,
    "variation_seed": 3,
    "image": "example.png",
    "mask": "example.png",
    "reference": "example.png",
}
"""What only a request can tell, and not a manifest."""
SIZED = {name: {"width", "height"} for name in ("upscale-model", "upscale-hybrid")}
"""Parameters computed from the size of the image and the factor."""


@pytest.fixture(params=NAMES)
def workflow(request: pytest.FixtureRequest) -> Workflow:
    """Each bundled workflow in turn."""
    return find_workflow(request.param)


def classes(workflow: Workflow) -> list[str]:
    """The classes of its nodes."""
    return [node["class_type"] for node in workflow.graph.values()]


def test_bundled_workflows_are_exactly_these() -> None:
    assert [entry.name for entry in list_workflow_files()] == NAMES


def test_bundled_workflow_has_no_faults(workflow: Workflow) -> None:
    assert find_faults(workflow) == []


def test_bundled_workflow_runs_on_a_server_with_its_models(workflow: Workflow) -> None:
    graph = bind(workflow.graph, _values(workflow))
    version = NEW_VERSION  # the simulator's own, where its user names none
    assert check_against_server(graph, CATALOGUE, manifest=workflow.manifest, version=version) == []


def test_bundled_workflow_has_title_description_and_licence(workflow: Workflow) -> None:
    assert workflow.manifest.title
    assert workflow.manifest.description
    assert workflow.manifest.licence or not workflow.manifest.models


def test_every_bundled_parameter_has_a_description(workflow: Workflow) -> None:
    assert all(parameter.description for parameter in workflow.parameters.values())


def test_only_parameters_of_the_request_lack_a_default(workflow: Workflow) -> None:
    without = {name for name, p in workflow.parameters.items() if p.default is None}
    assert without == workflow.tokens & GIVEN.keys() | SIZED.get(workflow.name, set())


def test_manifest_explains_only_missing_parameters(workflow: Workflow) -> None:
    assert workflow.manifest.without.keys().isdisjoint(workflow.tokens)


def test_negative_prompt_and_cfg_come_together(workflow: Workflow) -> None:
    assert ("negative" in workflow.tokens) == ("cfg" in workflow.tokens)
    assert ("negative" in workflow.manifest.without) == ("cfg" in workflow.manifest.without)


def test_every_bundled_node_has_a_title(workflow: Workflow) -> None:
    assert all(node["_meta"]["title"] for node in workflow.graph.values())


def test_bundled_workflow_saves_images_under_its_name(workflow: Workflow) -> None:
    assert workflow.parameters["filename_prefix"].default == f"imagen/{workflow.name}"


@pytest.mark.parametrize(("name", "model"), MODELS, ids=[f"{n}-{m.file}" for n, m in MODELS])
def test_bundled_model_has_a_download_url(name: str, model: Any) -> None:
    assert model.source.endswith(f"/{model.file}")
    assert "/resolve/main/" in model.source or "/releases/download/" in model.source
    assert model.size
    assert model.licence
    assert find_workflow(name).parameters[model.token].default == model.file


def test_schnell_graph_has_the_official_shape_and_an_unshifted_schedule() -> None:
    schnell = find_workflow("flux1-schnell")
    assert classes(schnell) == [
        "UNETLoader",
        "DualCLIPLoader",
        "VAELoader",
        "ModelSamplingFlux",
        "CLIPTextEncode",
        "ConditioningZeroOut",
        "EmptySD3LatentImage",
        "KSampler",
        "VAEDecode",
        "SaveImage",
    ]
    assert schnell.parameters["max_shift"].default == 0.0
    assert schnell.parameters["base_shift"].default == 0.0
    assert "max_shift and base_shift are 0 here" in schnell.manifest.description


@pytest.mark.parametrize(
    ("name", "defaults"),
    [
        ("flux1-schnell", {"steps": 4, "sampler": "euler", "scheduler": "simple", "width": 1024}),
        ("flux1-dev", {"steps": 20, "guidance": 3.5, "max_shift": 1.15, "base_shift": 0.5}),
        ("flux2-klein", {"steps": 4, "sampler": "euler", "width": 1024}),
        ("flux2-klein-base", {"steps": 20, "cfg": 5.0, "negative": ""}),
        ("flux2-klein-9b", {"steps": 4, "clip": "qwen_3_8b_fp8mixed.safetensors"}),
        ("flux2-klein-9b-base", {"steps": 20, "cfg": 5.0}),
        ("sd35-medium", {"steps": 40, "cfg": 4.5, "sampler": "dpmpp_2m", "shift": 3.0}),
        ("sdxl", {"steps": 25, "cfg": 7.0, "sampler": "dpmpp_2m", "scheduler": "karras"}),
        ("sd15", {"steps": 20, "cfg": 8.0, "scheduler": "normal", "width": 512}),
        ("sd-turbo", {"steps": 1, "sampler": "euler_ancestral", "height": 512}),
        ("sdxl-turbo", {"steps": 1, "sampler": "euler_ancestral", "height": 512}),
        ("z-image-turbo", {"steps": 8, "sampler": "res_multistep", "shift": 3.0}),
        ("qwen-image", {"steps": 20, "cfg": 4.0, "shift": 3.1, "width": 1328}),
    ],
)
def test_bundled_defaults_are_those_of_the_model(name: str, defaults: dict[str, Any]) -> None:
    parameters = find_workflow(name).parameters
    assert {key: parameters[key].default for key in defaults} == defaults


def test_schnell_and_klein_explain_why_they_take_no_negative_prompt() -> None:
    assert find_workflow("flux1-schnell").manifest.without["negative"] == (
        "FLUX.1 [schnell] is distilled to run at cfg 1, where a negative prompt is ignored"
    )
    assert "negative" in find_workflow("flux2-klein").manifest.without


@pytest.mark.parametrize(
    ("name", "kind", "loader_type"),
    [
        ("flux2-klein", "CLIPLoader", "flux2"),
        ("z-image-turbo", "CLIPLoader", "lumina2"),
        ("qwen-image", "CLIPLoader", "qwen_image"),
        ("flux1-schnell", "DualCLIPLoader", "flux"),
    ],
)
def test_text_encoder_is_loaded_with_the_models_type(
    name: str, kind: str, loader_type: str
) -> None:
    loaders = [n for n in find_workflow(name).graph.values() if n["class_type"] == kind]
    assert [loader["inputs"]["type"] for loader in loaders] == [loader_type]


def test_size_token_is_used_wherever_the_graph_needs_the_size() -> None:
    graph = bind(
        find_workflow("flux2-klein").graph, _values(find_workflow("flux2-klein")) | {"width": 768}
    )
    assert graph["6"]["inputs"]["width"] == 768
    assert graph["7"]["inputs"]["width"] == 768


def test_manifest_names_the_oldest_comfyui_if_nodes_do_not_reveal_it() -> None:
    assert find_workflow("flux2-klein").manifest.comfyui == "0.9.2"
    assert find_workflow("z-image-turbo").manifest.comfyui == "0.3.75"


def _values(workflow: Workflow) -> dict[str, Any]:
    defaults = {n: 512 if p.default is None else p.default for n, p in workflow.parameters.items()}
    return defaults | GIVEN

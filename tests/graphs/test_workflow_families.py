"""The workflows of a family share their files: one for each task."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from imagen.graphs import Workflow, find_workflow, list_workflows
from imagen.graphs.edits import place_of_controls, place_of_loras


class Sibling(NamedTuple):
    """The workflow of a further task, and the one that names it."""

    first: Workflow
    task: str
    own: Workflow


ALL = list_workflows(())
SIBLINGS = [
    pytest.param(Sibling(workflow, task, find_workflow(name)), id=f"{workflow.name} {task}")
    for workflow in ALL
    for task, name in workflow.manifest.tasks.items()
]
STEERED = [
    pytest.param(find_workflow(name), id=name)
    for workflow in ALL
    if workflow.manifest.controls
    for name in sorted({workflow.name, *workflow.manifest.tasks.values()})
]
NETS = [
    pytest.param(net, id=f"{workflow.name} {kind}")
    for workflow in ALL
    for kind, net in workflow.manifest.controls.items()
]


def nodes_of(workflow: Workflow, kind: str) -> dict[str, Any]:
    """The nodes of a class, by id."""
    return {i: node for i, node in workflow.graph.items() if node["class_type"] == kind}


def only(workflow: Workflow, kind: str) -> tuple[str, dict[str, Any]]:
    """The one node of a class: its id and its inputs."""
    [(node_id, node)] = nodes_of(workflow, kind).items()
    return node_id, node["inputs"]


@pytest.mark.parametrize(
    ("name", "family", "tasks"),
    [
        ("sd15", "sd15", {"image-to-image", "inpaint", "outpaint", "variation"}),
        ("sdxl", "sdxl", {"image-to-image", "inpaint", "outpaint", "variation"}),
        ("sd35-medium", "sd35", {"image-to-image", "inpaint", "outpaint"}),
        ("flux1-schnell", "flux1", {"image-to-image", "inpaint", "outpaint"}),
        ("flux1-dev", "flux1", {"image-to-image", "inpaint", "outpaint"}),
        ("flux2-klein", "flux2-klein", {"image-to-image", "inpaint", "outpaint", "edit"}),
        ("flux2-klein-9b", "flux2-klein", {"image-to-image", "inpaint", "outpaint", "edit"}),
        ("z-image-turbo", "z-image", {"image-to-image", "inpaint", "outpaint"}),
        ("qwen-image", "qwen-image", {"image-to-image", "inpaint", "outpaint"}),
        ("sd-turbo", "sd21", {"image-to-image"}),
        ("sdxl-turbo", "sdxl", {"image-to-image"}),
        ("flux2-klein-base", "flux2-klein", set()),
    ],
)
def test_family_has_a_workflow_for_each_task(name: str, family: str, tasks: set[str]) -> None:
    manifest = find_workflow(name).manifest
    assert (manifest.family, {*manifest.tasks}) == (family, tasks)


@pytest.mark.parametrize("sibling", SIBLINGS)
def test_workflow_of_another_task_has_the_same_family(sibling: Sibling) -> None:
    manifest = sibling.own.manifest
    assert manifest.family == sibling.first.manifest.family
    assert manifest.task == {"outpaint": "inpaint"}.get(sibling.task, sibling.task)
    assert manifest.tasks == {}


@pytest.mark.parametrize("sibling", SIBLINGS)
def test_workflow_of_another_task_loads_the_same_files(
    sibling: Sibling,
) -> None:
    """A backend gives the names of its own files to the workflows of further tasks."""
    first = {model.token for model in sibling.first.manifest.models}
    own = {model.token for model in sibling.own.manifest.models}
    assert first - own == {"flux1-fill": {"unet"}}.get(sibling.own.name, set())


@pytest.mark.parametrize("sibling", SIBLINGS)
def test_workflow_of_another_task_takes_the_images_of_that_task(sibling: Sibling) -> None:
    taken = {name for name, p in sibling.own.parameters.items() if p.type == "image"}
    needed = {
        "image-to-image": {"image"},
        "inpaint": {"image", "mask"},
        "outpaint": {"image", "mask"},
        "edit": {"reference"},
        "variation": set(),
    }
    assert taken == needed[sibling.task]


@pytest.mark.parametrize("workflow", [pytest.param(w, id=w.name) for w in ALL])
def test_image_parameter_has_the_type_image(workflow: Workflow) -> None:
    loaded = [*nodes_of(workflow, "LoadImage").values()]
    loaded += nodes_of(workflow, "LoadImageMask").values()
    names = {node["inputs"]["image"] for node in loaded}
    of_type = {f"$<{n}>" for n, p in workflow.parameters.items() if p.type == "image"}
    assert names == of_type


@pytest.mark.parametrize(
    "workflow", [pytest.param(w, id=w.name) for w in ALL if w.manifest.task == "inpaint"]
)
def test_inpainting_restores_what_the_mask_keeps(workflow: Workflow) -> None:
    mask, read = only(workflow, "LoadImageMask")
    composite, put = only(workflow, "ImageCompositeMasked")
    _, saved = only(workflow, "SaveImage")
    assert read == {"image": "$<mask>", "channel": "red"}
    assert put["mask"] == [mask, 0]
    assert workflow.graph[put["source"][0]]["class_type"] == "VAEDecode"
    assert workflow.graph[put["destination"][0]]["class_type"] == "RepeatImageBatch"
    assert saved["images"] == [composite, 0]


@pytest.mark.parametrize("sibling", SIBLINGS)
def test_loras_belong_directly_after_the_loaders(sibling: Sibling) -> None:
    place = place_of_loras(sibling.own.graph)
    loader = sibling.own.graph[place.model[0]]["class_type"]
    assert place == place_of_loras(sibling.first.graph)
    assert loader in ("CheckpointLoaderSimple", "UNETLoader")


@pytest.mark.parametrize("workflow", STEERED)
def test_controlnets_belong_before_the_sampler(workflow: Workflow) -> None:
    place = place_of_controls(workflow.graph)
    sampler = workflow.graph[place.samplers[0]]["class_type"]
    assert sampler in ("KSampler", "CFGGuider")
    assert place.negative is not None
    assert place.vae is not None


@pytest.mark.parametrize("net", NETS)
def test_bundled_controlnet_has_a_download_url(net: Any) -> None:
    assert net.source.startswith("https://huggingface.co/")
    assert net.source.endswith(f"/resolve/main/{net.file}") or "/split_files/" in net.source
    assert net.source.endswith(f"/{net.file}")
    assert net.size


def test_control_kinds_are_those_of_the_controlnets() -> None:
    kinds = {w.name: list(w.manifest.controls) for w in ALL if w.manifest.controls}
    assert kinds == {
        "qwen-image": ["canny", "depth", "pose"],
        "sd15": ["canny", "depth", "pose", "scribble"],
        "sdxl": ["canny", "depth", "pose", "scribble"],
        "z-image-turbo": ["canny", "depth", "pose"],
    }
    assert find_workflow("sdxl").manifest.controls["pose"].union == "openpose"
    assert find_workflow("z-image-turbo").manifest.controls["canny"].folder == "model_patches"


@pytest.mark.parametrize("workflow", [pytest.param(w, id=w.name) for w in ALL if w.manifest.nodes])
def test_custom_nodes_are_named_with_their_pack(workflow: Workflow) -> None:
    classes = {node["class_type"] for node in workflow.graph.values()}
    core = {"LoadImage", "SaveImage"}
    assert {kind for kind in classes if workflow.manifest.pack_of(kind)} == classes - core
    assert all(pack.source.startswith("https://github.com/") for pack in workflow.manifest.nodes)


@pytest.mark.parametrize(
    ("name", "task", "tokens"),
    [
        ("preprocess-canny", "preprocess", {"image", "canny_low", "canny_high"}),
        ("preprocess-depth", "preprocess", {"image", "resolution", "depth_model"}),
        ("preprocess-scribble", "preprocess", {"image", "resolution"}),
        ("upscale-model", "upscale", {"image", "width", "height", "upscale_model"}),
        ("restore-faces", "restore", {"image", "face_model", "fidelity", "face_detector"}),
    ],
)
def test_workflow_for_all_families_has_no_family(name: str, task: str, tokens: set[str]) -> None:
    workflow = find_workflow(name)
    assert (workflow.manifest.family, workflow.manifest.task) == ("", task)
    assert workflow.tokens == tokens | {"filename_prefix"}


def test_face_restoration_uses_the_model_that_its_nodes_support() -> None:
    """They call GFPGAN with an argument that it does not take, and give the face back as it was."""
    assert find_workflow("restore-faces").parameters["face_model"].default == "codeformer.pth"


def test_fill_keeps_its_own_model() -> None:
    """A backend that sets `unet` means the model that draws from text."""
    assert "unet" not in find_workflow("flux1-fill").tokens


def test_klein_image_to_image_runs_only_the_end_of_its_schedule() -> None:
    workflow = find_workflow("flux2-klein-img2img")
    split, _ = only(workflow, "SplitSigmasDenoise")
    _, sampler = only(workflow, "SamplerCustomAdvanced")
    assert sampler["sigmas"] == [split, 1]


def test_variations_are_drawn_one_by_one() -> None:
    """LatentInterpolate is wrong for batches: it normalises across their images."""
    workflow = find_workflow("sd15-variation")
    one_by_one, batches = only(workflow, "RebatchLatents")
    _, between = only(workflow, "LatentInterpolate")
    assert batches["batch_size"] == 1
    assert between["samples1"] == [one_by_one, 0]
    assert between["ratio"] == "$<variation_strength>"

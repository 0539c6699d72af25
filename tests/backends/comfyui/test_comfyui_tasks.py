"""One backend does every task: by sibling workflows, and by shared ones."""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from support.comfyui_backends import MANIFEST, REQUEST, SAMPLED
from support.comfyui_tasks import (
    IMAGE_TO_IMAGE,
    INPAINT,
    UNREACHABLE_URL,
    node,
    open_workflow,
    write_image,
    write_workflow,
)

from imagen.backends import validate_block
from imagen.backends.comfyui import ComfyUIConfig, default_overrides
from imagen.core.request import Outpaint, Request, Restore, Upscale
from imagen.core.result import no_progress
from imagen.errors import ConfigError, RequestError, WorkflowError
from imagen.testing.comfyui import ComfyUI as Server

if TYPE_CHECKING:
    from imagen.backends.comfyui import ComfyUIBackend

ENLARGED = {
    "1": node("LoadImage", image="$<image>"),
    "2": node("ImageScale", image=["1", 0], width="$<width>", height="$<height>"),
    "3": node("Note", model="$<upscale_model>"),
    "9": node("SaveImage", images=["2", 0]),
}
SHARED = {"upscale": "upscale-model", "restore": "restore-faces"}


def family(**manifest: Any) -> None:
    """A base called `mine` that names a sibling for redrawing and one for repainting."""
    tasks = {"image-to-image": "mine-redraw", "inpaint": "mine-repaint"}
    write_workflow("mine", SAMPLED, MANIFEST | {"tasks": tasks} | manifest)
    write_workflow("mine-redraw", IMAGE_TO_IMAGE)
    write_workflow("mine-repaint", INPAINT)


def mine(**block: Any) -> ComfyUIBackend:
    """The backend of that family."""
    return open_workflow(UNREACHABLE_URL, "mine", **block)


def test_tasks_come_from_the_base_workflow_its_siblings_and_shared_workflows() -> None:
    family()
    assert mine().capabilities().tasks == (
        "text-to-image",
        "upscale",
        "restore",
        "image-to-image",
        "inpaint",
        "outpaint",
        "preprocess",
    )


def test_the_parameters_belong_to_the_requested_task() -> None:
    family()
    backend = mine()
    assert "image" not in backend.capabilities().parameters
    assert {"image", "strength"} <= backend.capabilities("image-to-image").parameters.keys()
    assert "mask" in backend.capabilities("inpaint").parameters


def test_an_unsupported_task_has_the_parameters_of_the_first() -> None:
    family()
    backend = mine()
    assert backend.capabilities("edit") == backend.capabilities("text-to-image")


def test_a_request_goes_to_the_workflow_of_its_task() -> None:
    family()
    ticket = mine().prepare(REQUEST.with_values({"image": write_image("a.png"), "strength": 0.4}))
    assert ticket.payload["8"]["inputs"]["denoise"] == 0.4
    assert ticket.payload["10"]["class_type"] == "LoadImage"


def test_a_custom_workflow_hides_the_bundled_one_of_the_same_name() -> None:
    family()
    write_workflow(
        "upscale-model", {"1": node("MyUpscaler", image="$<image>", to="$<width>$<height>")}
    )
    request = REQUEST.with_values(
        {"image": write_image("a.png"), "upscale": Upscale(), "prompt": ""}
    )
    assert mine().prepare(request).payload["1"]["class_type"] == "MyUpscaler"


def test_the_images_come_from_the_output_nodes_of_the_workflow() -> None:
    saving = {"77": node("SaveImage", images=["90", 0], filename_prefix="a")}
    enlarging = {n: IMAGE_TO_IMAGE[n] for n in IMAGE_TO_IMAGE if n != "99"} | saving
    enlarging["98"] = node("UpscaleModelLoader", model_name="$<upscale_model>")
    parameters = MANIFEST["parameters"] | {
        "image": {"type": "image"},
        "strength": {"type": "float", "default": 0.3},
        "upscale_model": {"type": "string", "default": "RealESRGAN_x4plus.safetensors"},
    }
    write_workflow("mine", SAMPLED, MANIFEST | {"tasks": {"upscale": "larger"}, "output": ["99"]})
    write_workflow(
        "larger", enlarging, {"task": "upscale", "parameters": parameters, "output": ["77"]}
    )
    asked = Request(image=write_image("in.png"), upscale=Upscale(factor=2), seed=7)
    with Server() as server, closing(open_workflow(server.url, "mine")) as backend:
        ticket = backend.prepare(asked)
        assert ticket.request.strength == 0.3
        assert len(backend.collect(ticket, no_progress).images) == 1


def test_upscale_settings_fixed_by_the_workflow_are_reported() -> None:
    family()
    sized = node("MyUpscaler", image="$<image>", width="$<width>", height="$<height>")
    write_workflow("upscale-model", {"1": sized})
    values = {"image": write_image("a.png"), "upscale": Upscale(method="x.pth"), "prompt": ""}
    fate = mine().prepare(REQUEST.with_values(values)).receipt["upscale"]
    assert (fate.outcome, fate.used) == ("mapped", {"factor": 2.0})
    assert fate.why == "this workflow has a method of its own"


def test_the_configuration_names_another_workflow_for_a_task() -> None:
    family()
    write_workflow("other", INPAINT | {"1": node("OtherLoader")})
    values = {"image": write_image("a.png"), "mask": write_image("m.png", "white")}
    ticket = mine(tasks={"inpaint": "other"}).prepare(REQUEST.with_values(values))
    assert ticket.payload["1"]["class_type"] == "OtherLoader"


def test_the_base_does_its_own_task_whatever_its_manifest_names() -> None:
    family(tasks={"text-to-image": "mine-redraw"})
    assert mine().prepare(REQUEST).payload.keys() == SAMPLED.keys()


def test_siblings_are_found_beside_a_base_given_by_path() -> None:
    family()
    backend = open_workflow(UNREACHABLE_URL, "./shelf/mine.json", workflow_dirs=[])
    assert "mask" in backend.capabilities("inpaint").parameters


@pytest.mark.parametrize(
    ("task", "values", "graph", "name"),
    [
        ("image-to-image", {"image": "a.png"}, SAMPLED, "image"),
        ("inpaint", {"image": "a.png", "mask": "a.png"}, IMAGE_TO_IMAGE, "mask"),
        ("edit", {"references": ("a.png",)}, SAMPLED, "references"),
        ("variation", {"variation_strength": 0.5}, SAMPLED, "variation_strength"),
        ("restore", {"image": "a.png", "restore": Restore()}, SAMPLED, "image"),
    ],
    ids=["redrawing", "repainting", "editing", "varying", "restoring"],
)
def test_a_workflow_that_lacks_the_parameter_of_its_task_is_refused(
    task: str, values: dict[str, Any], graph: dict[str, Any], name: str
) -> None:
    write_image("a.png")
    write_workflow("mine", SAMPLED, MANIFEST)
    write_workflow("other", graph)
    sentence = f"The workflow 'other' cannot do {task}: it has no parameter {name!r}."
    with pytest.raises(WorkflowError, match=re.escape(sentence)):
        mine(tasks={task: "other"}).prepare(REQUEST.with_values(values))


def test_a_missing_sibling_is_reported_when_it_is_needed() -> None:
    family(tasks={"inpaint": "nowhere"})
    backend = mine()
    assert "inpaint" in backend.capabilities().tasks
    with pytest.raises(WorkflowError, match="Workflow 'nowhere' not found"):
        backend.capabilities("inpaint")


@pytest.mark.parametrize("task", ["control", "preprocess"])
def test_a_task_without_a_workflow_cannot_be_configured(task: str) -> None:
    block = {"workflow": "sd15", "tasks": {task: "mine"}}
    with pytest.raises(ConfigError, match=f"tasks: {task} "):
        validate_block("lab", block, ComfyUIConfig)


def test_configured_defaults_apply_to_siblings_too() -> None:
    family()
    parameters = mine(parameters={"steps": 9}).capabilities("image-to-image").parameters
    assert parameters["steps"].default == 9


def test_a_configured_default_may_apply_to_a_sibling_only() -> None:
    family()
    backend = mine(parameters={"strength": 0.3})
    assert backend.capabilities("image-to-image").parameters["strength"].default == 0.3
    assert "strength" not in backend.capabilities().parameters


def test_a_configured_default_that_no_workflow_accepts_is_an_error() -> None:
    family()
    with pytest.raises(WorkflowError, match="Did you mean 'steps'"):
        mine(parameters={"stepps": 9}).capabilities()


def test_siblings_use_the_model_files_of_the_base() -> None:
    loader = {"1": node("CheckpointLoaderSimple", ckpt_name="$<checkpoint>")}
    file = {"type": "string", "default": "other.safetensors"}
    model = {"file": "other.safetensors", "folder": "checkpoints", "token": "checkpoint"}
    family(parameters=MANIFEST["parameters"] | {"checkpoint": file}, models=[model])
    write_workflow("mine", SAMPLED | loader)
    write_workflow("mine-redraw", IMAGE_TO_IMAGE | loader)
    ticket = mine().prepare(REQUEST.with_values({"image": write_image("a.png")}))
    assert ticket.payload["1"]["inputs"]["ckpt_name"] == "other.safetensors"


@pytest.mark.parametrize(
    ("name", "defaults"),
    [
        ("mine", {"steps": 9}),
        ("mine-redraw", {"steps": 9, "strength": 0.3}),
        ("sdxl", {}),
    ],
    ids=["base", "sibling", "none of its"],
)
def test_default_overrides_apply_to_workflows_of_the_backend_only(
    name: str, defaults: dict[str, Any]
) -> None:
    family()
    backend = mine(parameters={"steps": 9, "strength": 0.3})
    assert default_overrides(backend, name) == defaults


def test_an_upscaled_image_has_its_size_times_the_factor() -> None:
    family()
    write_workflow("upscale-model", ENLARGED)
    values = {"image": write_image("a.png"), "upscale": Upscale(factor=1.5, method="x2.pth")}
    ticket = mine().prepare(
        REQUEST.with_values(values | {"prompt": "", "width": None, "height": None})
    )
    assert ticket.payload["2"]["inputs"] == {"image": ["1", 0], "width": 96, "height": 72}
    assert ticket.payload["3"]["inputs"] == {"model": "x2.pth"}
    assert (ticket.request.width, ticket.request.height) == (96, 72)
    assert ticket.receipt["upscale"].outcome == "applied"
    assert ticket.receipt["prompt"].outcome == "dropped"


def test_the_upscale_factor_overrides_a_requested_size_and_is_reported() -> None:
    family()
    values = {"image": write_image("a.png"), "upscale": Upscale(factor=2), "prompt": ""}
    ticket = mine().prepare(REQUEST.with_values(values | {"width": 100, "height": None}))
    fate = ticket.receipt["width"]
    assert (fate.outcome, fate.used, fate.why) == ("mapped", 128, "upscale determines it")
    assert ticket.request.width == 128


def test_restore_uses_the_requested_file_and_fidelity() -> None:
    family()
    values = {
        "image": write_image("a.png"),
        "restore": Restore(model="codeformer.pth", fidelity=0.8),
    }
    payload = mine().prepare(REQUEST.with_values(values)).payload
    inputs = {k: v for n in payload.values() for k, v in n["inputs"].items()}
    assert (inputs["model_name"], inputs["codeformer_fidelity"]) == ("codeformer.pth", 0.8)


def test_a_control_image_is_made_by_the_preprocessor_of_its_kind() -> None:
    family()
    backend = mine()
    known = backend.capabilities("preprocess")
    assert known.preprocessors == ("canny", "depth", "pose", "scribble")
    assert known.parameters["preprocess"].choices == ("canny", "depth", "pose", "scribble")
    assert {"canny_low", "depth_model"} <= known.parameters.keys()
    values = {"image": write_image("a.png"), "preprocess": "canny", "canny_low": 0.2}
    ticket = backend.prepare(REQUEST.with_values(values))
    assert ticket.payload["2"]["class_type"] == "Canny"
    assert ticket.payload["2"]["inputs"]["low_threshold"] == 0.2


def test_an_unknown_preprocessor_suggests_the_nearest() -> None:
    family()
    values = {"image": write_image("a.png"), "preprocess": "cany"}
    with pytest.raises(RequestError, match=r"preprocess cannot be 'cany'\. Did you mean 'canny'"):
        mine().prepare(REQUEST.with_values(values))


def test_outpainting_uses_the_padding_of_the_request() -> None:
    family()
    values = {
        "image": write_image("a.png"),
        "mask": write_image("m.png"),
        "outpaint": Outpaint(left=64),
    }
    ticket = mine().prepare(REQUEST.with_values(values))
    assert ticket.payload["11"]["class_type"] == "LoadImageMask"
    assert ticket.receipt["outpaint"].outcome == "applied"


def test_outpainting_pads_in_the_graph_where_the_request_has_no_padding() -> None:
    family()
    values = {"image": write_image("a.png"), "outpaint": Outpaint(left=64), "feather": 8}
    ticket = mine().prepare(REQUEST.with_values(values))
    pads = [n for n in ticket.payload.values() if n["class_type"] == "ImagePadForOutpaint"]
    assert [(pad["inputs"]["left"], pad["inputs"]["feathering"]) for pad in pads] == [(64, 8)]


def test_a_workflow_with_outpaint_tokens_gets_the_sides() -> None:
    sides = {side: f"$<{side}>" for side in ("left", "top", "right", "bottom")}
    family(tasks={"outpaint": "mine-beyond"})
    write_workflow("mine-beyond", {"1": node("Beyond", image="$<image>", **sides)})
    backend = mine()
    assert "outpaint" in backend.capabilities("outpaint").parameters
    values = {"image": write_image("a.png"), "outpaint": Outpaint(left=64)}
    inputs = backend.prepare(REQUEST.with_values(values)).payload["1"]["inputs"]
    assert {name: inputs[name] for name in sides} == {"left": 64, "top": 0, "right": 0, "bottom": 0}

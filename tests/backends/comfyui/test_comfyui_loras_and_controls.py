"""LoRAs, control images, reference images and single values are added to the graph."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from support.comfyui_backends import MANIFEST, REQUEST, SAMPLED
from support.comfyui_tasks import (
    IMAGE_TO_IMAGE,
    INPAINT,
    UNREACHABLE_URL,
    name_in_graph,
    node,
    only_image,
    open_workflow,
    write_image,
    write_workflow,
)

from imagen.core.request import Control, Lora, Upscale
from imagen.core.result import no_progress
from imagen.errors import Rejected, RequestError
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from PIL import Image

    from imagen.core.request import Request

INK = Lora(name="ink.safetensors", strength=0.5)
NETS = {"canny": {"file": "canny.safetensors"}, "depth": {"file": "d.safetensors"}}
PATCH = {"canny": {"file": "fun.safetensors", "folder": "model_patches"}}
MODELS = {
    "checkpoints": ["v1-5-pruned-emaonly-fp16.safetensors"],
    "loras": ["ink.safetensors", "sd/wash.safetensors"],
    "controlnet": ["canny.safetensors", "d.safetensors"],
}


@pytest.fixture(autouse=True)
def shelf() -> None:
    """A base that takes control images, and its siblings."""
    tasks = {"image-to-image": "mine-redraw", "inpaint": "mine-repaint"}
    write_workflow("mine", SAMPLED, MANIFEST | {"tasks": tasks, "controls": NETS})
    write_workflow("mine-redraw", IMAGE_TO_IMAGE)
    write_workflow("mine-repaint", INPAINT)


def made(request: Request, **switches: Any) -> Image.Image:
    """The image of a request on a server."""
    with (
        ComfyUI(models=MODELS, **switches) as server,
        closing(open_workflow(server.url, "mine")) as backend,
    ):
        return only_image(backend.collect(backend.prepare(request), no_progress))


def payload(request: Request, workflow: str = "mine", **block: Any) -> dict[str, Any]:
    """The graph that a request becomes."""
    return open_workflow(UNREACHABLE_URL, workflow, **block).prepare(request).payload


def loras(*names: str) -> Request:
    """The request with these LoRAs."""
    return REQUEST.with_values({"loras": tuple(Lora(name=name) for name in names)})


def controlled(*kinds: str, **values: Any) -> Request:
    """The request with a control image of each of these kinds."""
    path = write_image("edges.png", "white")
    controls = tuple(Control(kind=kind, image=path, **values) for kind in kinds)
    return REQUEST.with_values({"controls": controls})


def test_a_lora_is_added_to_the_graph() -> None:
    plain, inked = made(REQUEST), made(loras("ink.safetensors"))
    assert plain.tobytes() != inked.tobytes()


def test_a_lora_of_strength_0_is_dropped_and_reported() -> None:
    asked = (INK, Lora(name="wash.safetensors", strength=0))
    ticket = open_workflow(UNREACHABLE_URL, "mine").prepare(REQUEST.with_values({"loras": asked}))
    names = [n["inputs"].get("lora_name") for n in ticket.payload.values()]
    assert [name for name in names if name] == ["ink.safetensors"]
    assert ticket.receipt["loras"].outcome == "mapped"
    assert ticket.receipt["loras"].why == "a strength of 0 has no effect"
    assert ticket.request.loras == (INK,)


@pytest.mark.parametrize(
    ("name", "there"),
    [("ink", "ink.safetensors"), ("wash", "sd/wash.safetensors")],
    ids=["without its ending", "without its folder"],
)
def test_a_lora_is_found_by_a_part_of_its_name(name: str, there: str) -> None:
    with ComfyUI(models=MODELS) as server, closing(open_workflow(server.url, "mine")) as backend:
        result = backend.collect(backend.prepare(loras(name)), no_progress)
    assert there in result.facts.models
    assert result.warnings == (f"The server has {name!r} as {there!r}; that was used.",)


def test_a_missing_lora_suggests_the_nearest() -> None:
    with ComfyUI(models=MODELS) as server, closing(open_workflow(server.url, "mine")) as backend:
        ticket = backend.prepare(loras("inkk"))
        with pytest.raises(Rejected) as caught:
            backend.collect(ticket, no_progress)
    assert "the server has no file 'inkk' in models/loras. Did you mean 'ink'?" in str(caught.value)


def test_a_workflow_with_a_lora_token_uses_it() -> None:
    write_workflow("stacked", SAMPLED | {"20": node("Stack", model=["1", 0], stack="$<loras>")})
    graph = payload(loras("ink.safetensors"), "stacked")
    assert "LoraLoader" not in [n["class_type"] for n in graph.values()]


def test_a_workflow_without_a_model_explains_why_it_accepts_no_lora() -> None:
    write_workflow("bare", {"1": node("EmptyImage"), "9": node("SaveImage", images=["1", 0])})
    fate = open_workflow(UNREACHABLE_URL, "bare").prepare(loras("ink.safetensors")).receipt["loras"]
    assert (fate.outcome, fate.why) == (
        "dropped",
        "this workflow has no model that a LoRA could be applied to",
    )


def test_a_control_image_is_uploaded_and_added_to_the_graph() -> None:
    plain, steered = made(REQUEST), made(controlled("canny"))
    assert plain.tobytes() != steered.tobytes()


def test_a_backend_with_controlnets_has_the_control_task() -> None:
    known = open_workflow(UNREACHABLE_URL, "mine").capabilities("control")
    assert "control" in known.tasks
    assert known.controls == ("canny", "depth")


@pytest.mark.parametrize("values", [{"strength": 0.3}, {"mask": "m.png"}], ids=["redraw", "mask"])
def test_controls_and_loras_work_in_other_tasks(values: dict[str, Any]) -> None:
    write_image("m.png", "white")
    request = controlled("canny", "depth").with_values(
        {"image": write_image("a.png"), "loras": (INK,), **values}
    )
    kinds = [n["class_type"] for n in payload(request).values()]
    assert (kinds.count("ControlNetApplyAdvanced"), kinds.count("LoraLoader")) == (2, 1)


def test_strength_start_and_end_are_passed_to_the_controlnet() -> None:
    graph = payload(controlled("canny", strength=0.7, start=0.1, end=0.6))
    (applied,) = [n for n in graph.values() if n["class_type"] == "ControlNetApplyAdvanced"]
    inputs = applied["inputs"]
    assert (inputs["strength"], inputs["start_percent"], inputs["end_percent"]) == (0.7, 0.1, 0.6)
    (loaded,) = [n for n in graph.values() if n["class_type"] == "LoadImage"]
    assert loaded["inputs"]["image"] == name_in_graph("edges.png")


def test_a_control_of_strength_0_is_dropped_and_reported() -> None:
    ticket = open_workflow(UNREACHABLE_URL, "mine").prepare(controlled("canny", strength=0))
    assert ticket.receipt["controls"].why == "a strength of 0 has no effect"
    assert "uploads" not in ticket.engine


def test_a_controlnet_that_patches_the_model_reports_that_it_works_at_all_steps() -> None:
    write_workflow("mine", SAMPLED, MANIFEST | {"controls": PATCH})
    ticket = open_workflow(UNREACHABLE_URL, "mine").prepare(controlled("canny", end=0.5))
    assert "ModelPatchLoader" in [n["class_type"] for n in ticket.payload.values()]
    assert ticket.receipt["controls"].outcome == "mapped"
    assert ticket.receipt["controls"].why == "the ControlNet of canny works at all steps"


def test_an_unknown_control_kind_suggests_the_nearest() -> None:
    with pytest.raises(RequestError, match=r"Unknown control 'dpth'\. Did you mean 'depth'"):
        payload(controlled("dpth"))


def test_the_configuration_replaces_controlnets() -> None:
    graph = payload(controlled("canny"), controlnets={"canny": "my.safetensors"})
    assert "my.safetensors" in [n["inputs"].get("control_net_name") for n in graph.values()]


def test_a_workflow_without_controlnets_says_where_to_add_one() -> None:
    write_workflow("mine", SAMPLED, MANIFEST)
    backend = open_workflow(UNREACHABLE_URL, "mine")
    assert "control" not in backend.capabilities().tasks
    assert "controlnets" in backend.capabilities().without["controls"]


OWN_NET = SAMPLED | {
    "20": node("LoadImage", image="$<control_image>"),
    "21": node("Apply", image=["20", 0], strength="$<control_strength>"),
}
OWN = MANIFEST["parameters"] | {
    "control_image": {"type": "image", "default": "example.png"},
    "control_strength": {"type": "float", "default": 1.0},
}


def test_a_workflow_with_its_own_controlnet_uses_the_control_image() -> None:
    write_workflow("own", OWN_NET, {"parameters": OWN})
    backend = open_workflow(UNREACHABLE_URL, "own")
    ticket = backend.prepare(controlled("canny", strength=0.6))
    assert "control" in backend.capabilities().tasks
    assert ticket.payload["20"]["inputs"]["image"] == name_in_graph("edges.png")
    assert ticket.payload["21"]["inputs"]["strength"] == 0.6
    fate = ticket.receipt["controls"]
    assert (fate.outcome, fate.used) == ("mapped", ["control_image", "control_strength"])


def test_a_workflow_with_its_own_controlnet_refuses_two_images() -> None:
    write_workflow("own", OWN_NET, {"parameters": OWN})
    with pytest.raises(RequestError, match="controls: this workflow takes one image, not 2"):
        payload(controlled("canny", "depth"), "own")


def edit() -> None:
    """A base that edits one reference."""
    graph = SAMPLED | {
        "20": node("LoadImage", image="$<reference>"),
        "21": node("VAEEncode", pixels=["20", 0], vae=["1", 2]),
        "22": node("ReferenceLatent", conditioning=["5", 0], latent=["21", 0]),
        "8": node("KSampler", **(SAMPLED["8"]["inputs"] | {"positive": ["22", 0]})),
    }
    write_workflow("mine", graph, MANIFEST | {"task": "edit"})


def test_reference_images_are_uploaded_and_chained() -> None:
    edit()
    paths = (write_image("a.png"), write_image("b.png", "red"))
    graph = payload(REQUEST.with_values({"references": paths}))
    loaded = [n["inputs"]["image"] for n in graph.values() if n["class_type"] == "LoadImage"]
    assert loaded == [name_in_graph("a.png"), name_in_graph("b.png")]
    assert len([n for n in graph.values() if n["class_type"] == "ReferenceLatent"]) == 2


def test_an_edit_uses_the_first_reference_as_its_image() -> None:
    graph = {"1": node("LoadImage", image="$<image>"), "2": node("Edit", image=["1", 0])}
    write_workflow("mine", graph, {"task": "edit"})
    request = REQUEST.with_values({"references": (write_image("a.png"),)})
    assert payload(request)["1"]["inputs"]["image"] == name_in_graph("a.png")


def test_a_workflow_with_one_reference_refuses_two() -> None:
    graph = {
        "1": node("LoadImage", image="$<reference>"),
        "2": node("Edit", image=["1", 0], by="$<prompt>"),
    }
    write_workflow("mine", graph, {"task": "edit"})
    paths = (write_image("a.png"), write_image("b.png", "red"))
    with pytest.raises(RequestError, match="takes one image, not 2"):
        payload(REQUEST.with_values({"references": paths}))


def test_a_value_without_a_token_is_set_by_node_and_input() -> None:
    ticket = open_workflow(UNREACHABLE_URL, "mine").prepare(REQUEST.with_values({"8.denoise": 0.5}))
    assert ticket.payload["8"]["inputs"]["denoise"] == 0.5
    assert ticket.receipt["8.denoise"].outcome == "applied"
    assert ticket.request.extra["8.denoise"] == 0.5


def test_an_unknown_node_input_is_refused() -> None:
    with pytest.raises(RequestError, match=r"has no input 'denois'\. Did you mean 'denoise'"):
        payload(REQUEST.with_values({"The sampler.denois": 0.5}))


def enlarged(method: str) -> Request:
    """A request to enlarge an image with this upscaler."""
    values = {"image": write_image("a.png"), "upscale": Upscale(method=method), "prompt": ""}
    return REQUEST.with_values(values)


def test_an_upscaler_is_found_by_a_part_of_its_name() -> None:
    with ComfyUI() as server, closing(open_workflow(server.url, "sd15")) as backend:
        result = backend.collect(backend.prepare(enlarged("realesrgan_x4plus")), no_progress)
    assert result.facts.models == ("RealESRGAN_x4plus.safetensors",)


def test_a_missing_upscaler_is_refused_before_the_job_runs() -> None:
    with ComfyUI() as server, closing(open_workflow(server.url, "sd15")) as backend:
        ticket = backend.prepare(enlarged("RealESRGAN_x4pluss"))
        with pytest.raises(Rejected, match="Did you mean 'RealESRGAN_x4plus"):
            backend.collect(ticket, no_progress)
        assert server.prompts == []

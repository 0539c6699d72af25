"""The models of a server, and what other tasks lack there."""

from __future__ import annotations

from contextlib import closing

import pytest
from support.comfyui_backends import MANIFEST, SAMPLED
from support.comfyui_tasks import IMAGE_TO_IMAGE, node, open_workflow, write_workflow

from imagen.backends.base import MissingCapability, Model
from imagen.errors import Unavailable
from imagen.testing.comfyui import ComfyUI, GatewayAnswer

GIB = 1 << 30
FILES = {
    "checkpoints": ["v1-5-pruned-emaonly-fp16.safetensors"],
    "loras": ["sd/ink.safetensors"],
    "controlnet": ["control_v11p_sd15_canny_fp16.safetensors"],
    "upscale_models": ["RealESRGAN_x4plus.safetensors"],
    "vae": ["ae.safetensors"],
    "text_encoders": ["clip_l.safetensors"],
    "diffusion_models": [],
}


def offered(server: ComfyUI) -> tuple[Model, ...]:
    """What a backend on this server lists."""
    with closing(open_workflow(server.url, "sd15")) as backend:
        return backend.models()


def test_every_kind_of_file_is_listed_with_its_size() -> None:
    with ComfyUI(models=FILES) as server:
        found = [model for model in offered(server) if model.kind not in ("sampler", "scheduler")]
    assert found == [
        Model(
            kind="checkpoint",
            name="v1-5-pruned-emaonly-fp16.safetensors",
            family="sd15",
            size_bytes=2 * GIB,
            is_default=True,
        ),
        Model(kind="lora", name="sd/ink.safetensors", size_bytes=2 * GIB),
        Model(
            kind="controlnet",
            name="control_v11p_sd15_canny_fp16.safetensors",
            family="sd15",
            size_bytes=2 * GIB,
        ),
        Model(kind="upscaler", name="RealESRGAN_x4plus.safetensors", size_bytes=2 * GIB),
        Model(kind="vae", name="ae.safetensors", size_bytes=2 * GIB),
        Model(kind="vae", name="pixel_space"),
        Model(kind="text_encoder", name="clip_l.safetensors", size_bytes=2 * GIB),
    ]


def test_samplers_and_schedulers_are_listed_too() -> None:
    with ComfyUI(models=FILES) as server:
        found = offered(server)
    assert Model(kind="sampler", name="dpmpp_2m") in found
    assert Model(kind="scheduler", name="karras") in found


def test_both_forms_of_a_choice_are_read() -> None:
    catalogue = {
        "LoraLoader": {"input": {"required": {"lora_name": ["COMBO", {"options": ["a.pt"]}]}}},
        "VAELoader": {"input": {"required": {"vae_name": [["b.pt"], {}]}}},
    }
    with ComfyUI(node_catalog=catalogue, models={}) as server:
        found = [(model.kind, model.name) for model in offered(server)]
    assert found == [("lora", "a.pt"), ("vae", "b.pt")]


def test_models_are_listed_without_sizes_where_the_server_has_none() -> None:
    refusal = GatewayAnswer(status=404, path="/experiment", times=99)
    with ComfyUI(models=FILES, http_errors=(refusal,)) as server:
        found = offered(server)
    assert Model(kind="lora", name="sd/ink.safetensors") in found


def test_listing_models_of_an_unreachable_server_names_the_backend() -> None:
    with ComfyUI() as server:
        pass
    with pytest.raises(Unavailable) as caught:
        offered(server)
    assert caught.value.backend == "lab"


def test_missing_files_of_other_tasks_are_listed_and_do_not_affect_health() -> None:
    nets = {"canny": {"file": "c.safetensors", "source": "https://models.example/c"}}
    write_workflow("mine", SAMPLED, MANIFEST | {"tasks": {"inpaint": "mine-2"}, "controls": nets})
    write_workflow("mine-2", IMAGE_TO_IMAGE | {"1": node("UNETLoader", unet_name="u.safetensors")})
    with ComfyUI(models=FILES) as server, closing(open_workflow(server.url, "mine")) as backend:
        health = backend.check()
    told = {lack.what: lack for lack in health.lacking}
    assert (health.ok, health.summary, health.remedies) == (True, "ok", ())
    assert told["inpaint"].why.startswith("node 1 (UNETLoader)")
    assert told["control canny"] == MissingCapability(
        what="control canny",
        why="the server has no file 'c.safetensors' in models/controlnet.",
        remedy="Download it from https://models.example/c into models/controlnet/.",
    )
    assert "upscale" not in told


def test_a_missing_workflow_of_another_task_is_listed_too() -> None:
    write_workflow("mine", SAMPLED, MANIFEST | {"tasks": {"edit": "nowhere"}})
    with ComfyUI() as server, closing(open_workflow(server.url, "mine")) as backend:
        health = backend.check()
    assert health.ok
    told = {lack.what: lack.why for lack in health.lacking}
    assert told["edit"].startswith("Workflow 'nowhere' not found")


def test_a_missing_controlnet_loader_says_to_update_comfyui() -> None:
    patch = {"canny": {"file": "c.safetensors", "folder": "model_patches"}}
    write_workflow("mine", {"9": node("Sink", images=1)}, {"controls": patch})
    catalogue = {"Sink": {"input": {"required": {"images": ["INT"]}}, "output_node": True}}
    with (
        ComfyUI(node_catalog=catalogue) as server,
        closing(open_workflow(server.url, "mine")) as backend,
    ):
        health = backend.check()
    told = {lack.what: lack.why for lack in health.lacking}
    assert told["control canny"] == "the server has no node 'ModelPatchLoader'."

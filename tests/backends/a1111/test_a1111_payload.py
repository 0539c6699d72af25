"""What the server receives for each kind of request."""

from __future__ import annotations

from base64 import b64decode
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from simulators.a1111 import A1111Server, A1111Switches

from imagen.core.request import Control, Lora, Request, Restore, Upscale
from imagen.core.result import no_progress
from imagen.errors import RequestError

if TYPE_CHECKING:
    from pathlib import Path

    from support.a1111_backend import OpenA1111

    from imagen.backends import Backend
    from imagen.core.result import Result
    from imagen.core.ticket import Ticket


@pytest.fixture
def photo(tmp_path: Path) -> str:
    """An image of 96 × 64 pixels."""
    path = tmp_path / "photo.png"
    Image.new("RGB", (96, 64), "teal").save(path)
    return str(path)


@pytest.fixture
def mask(tmp_path: Path) -> str:
    """The left half of it is repainted."""
    path = tmp_path / "mask.png"
    image = Image.new("L", (96, 64), 0)
    image.paste(255, (0, 0, 48, 64))
    image.save(path)
    return str(path)


BASE = {"prompt": "a lighthouse", "seed": 7, "steps": 3, "width": 128, "height": 64}


def run(backend: Backend, **values: Any) -> tuple[Ticket, Result]:
    backend.check()  # so that it knows what the server has
    ticket = backend.prepare(Request().with_values(BASE | values))
    return ticket, backend.collect(ticket, no_progress)


def test_text_to_image_is_one_job_with_its_id_that_saves_nothing(open_a1111: OpenA1111) -> None:
    server = A1111Server("forge")
    ticket, result = run(
        open_a1111(server), negative="rain", cfg=4.5, guidance=3.0, sampler="euler_ancestral"
    )
    (body,) = server.bodies("/sdapi/v1/txt2img")
    assert body == {
        "prompt": "a lighthouse",
        "negative_prompt": "rain",
        "width": 128,
        "height": 64,
        "seed": 7,
        "steps": 3,
        "cfg_scale": 4.5,
        "distilled_cfg_scale": 3.0,
        "sampler_name": "Euler a",
        "batch_size": 1,
        "n_iter": 1,
        "send_images": True,
        "save_images": False,
        "override_settings": {},
        "override_settings_restore_afterwards": True,
        "force_task_id": ticket.id,
    }
    assert result.facts.model == "dreamshaper_8.safetensors"
    assert (result.facts.width, result.facts.height, result.facts.seed) == (128, 64, 7)


def test_model_and_settings_hold_for_the_job_only(open_a1111: OpenA1111) -> None:
    server = A1111Server()
    backend = open_a1111(server, settings={"sd_vae": "kl-f8.vae.pt"})
    ticket, result = run(backend, model="sd_xl", clip_skip=2)
    assert server.bodies("/sdapi/v1/txt2img")[0]["override_settings"] == {
        "sd_vae": "kl-f8.vae.pt",
        "sd_model_checkpoint": "sd_xl_base_1.0.safetensors",
        "CLIP_stop_at_last_layers": 2,
    }
    assert result.facts.model == "sd_xl_base_1.0.safetensors"
    outcome = ticket.receipt["model"]
    assert (outcome.outcome, outcome.used) == ("mapped", result.facts.model)
    assert server.bodies("/sdapi/v1/options") == []


def test_unknown_model_is_refused_before_anything_is_sent(open_a1111: OpenA1111) -> None:
    server = A1111Server()
    with pytest.raises(RequestError, match="Model 'juggernaut' not found"):
        run(open_a1111(server), model="juggernaut")
    assert server.submissions == 0


def test_size_follows_the_model_by_its_name(open_a1111: OpenA1111) -> None:
    backend = open_a1111(A1111Server())
    backend.check()
    sides = [
        backend.capabilities("text-to-image", model).parameters["width"].default
        for model in (None, "sd_xl_base_1.0")
    ]
    assert sides == [512, 1024]


@pytest.mark.parametrize(("task_values", "fill"), [({}, None), ({"mask": True}, 1)])
def test_initial_image_keeps_its_size_and_white_is_repainted(
    open_a1111: OpenA1111, photo: str, mask: str, task_values: dict[str, Any], fill: int | None
) -> None:
    server = A1111Server()
    masked = {"mask": mask} if task_values else {}
    values = {"width": None, "height": None, "image": photo, "strength": 0.4, **masked}
    _, result = run(open_a1111(server), **values)
    (body,) = server.bodies("/sdapi/v1/img2img")
    assert (body["width"], body["height"], body["denoising_strength"]) == (96, 64, 0.4)
    assert (body.get("inpainting_fill"), body.get("mask_blur")) == (fill, 0 if fill else None)
    (sent,) = body["init_images"]
    assert Image.open(BytesIO(b64decode(sent))).size == (96, 64)
    # What the mask protects is exactly as it was.
    pixel = Image.open(BytesIO(result.images[0].data)).convert("RGB").getpixel((90, 10))
    assert (pixel == (0, 128, 128)) is bool(masked)


def test_hires_is_a_second_pass_at_a_larger_size(open_a1111: OpenA1111) -> None:
    server = A1111Server()
    values = {"hires": 2, "hires_denoise": 0.3, "hires_steps": 9, "hires_upscaler": "realesrgan"}
    ticket, result = run(open_a1111(server), **values)
    (body,) = server.bodies("/sdapi/v1/txt2img")
    second = {"hr_scale": 2, "hr_upscaler": "R-ESRGAN 4x+", "hr_second_pass_steps": 9}
    assert body.items() >= {"enable_hr": True, "denoising_strength": 0.3, **second}.items()
    assert (result.facts.width, result.facts.height) == (256, 128)
    assert {ticket.receipt[name].outcome for name in values} == {"applied"}


def test_settings_of_a_second_pass_are_dropped_without_one(open_a1111: OpenA1111) -> None:
    server = A1111Server()
    ticket, _ = run(open_a1111(server), hires_denoise=0.3, strength=0.2)
    assert "without hires" in ticket.receipt["hires_denoise"].why
    assert ticket.receipt["strength"].outcome == "dropped"
    assert "denoising_strength" not in server.bodies("/sdapi/v1/txt2img")[0]


@pytest.mark.parametrize(
    ("method", "upscaler"),
    [
        (None, "R-ESRGAN 4x+"),
        ("esrgan", "R-ESRGAN 4x+"),
        ("r-esrgan 4x+ anime6b", "R-ESRGAN 4x+ Anime6B"),
        ("lanczos", "Lanczos"),
    ],
)
def test_upscale_uses_the_servers_upscaler(
    open_a1111: OpenA1111, photo: str, method: str | None, upscaler: str
) -> None:
    server = A1111Server()
    values = {"prompt": None, "image": photo, "upscale": Upscale(factor=1.5, method=method)}
    _, result = run(open_a1111(server), **values)
    (body,) = server.bodies("/sdapi/v1/extra-single-image")
    assert (body["upscaler_1"], body["upscaling_resize"]) == (upscaler, 1.5)
    assert (result.facts.width, result.facts.height) == (144, 96)


def test_unknown_upscaler_is_refused_with_the_known_ones(open_a1111: OpenA1111, photo: str) -> None:
    server = A1111Server()
    with pytest.raises(RequestError, match="Unknown upscaler 'swinir'") as caught:
        run(open_a1111(server), prompt=None, image=photo, upscale=Upscale(method="swinir"))
    assert "Lanczos" in caught.value.remedy
    assert server.submissions == 0


def test_faces_are_restored_as_faithfully_as_requested(open_a1111: OpenA1111, photo: str) -> None:
    server = A1111Server()
    run(open_a1111(server), prompt=None, image=photo, restore=Restore(fidelity=0.7))
    (body,) = server.bodies("/sdapi/v1/extra-single-image")
    assert (body["codeformer_visibility"], body["codeformer_weight"]) == (1, 0.7)


def test_control_images_are_units_with_a_net_for_the_model(
    open_a1111: OpenA1111, photo: str
) -> None:
    server = A1111Server()
    backend = open_a1111(server)
    controls = (
        Control(kind="canny", image=photo, strength=0.8, end=0.5, preprocess=True),
        Control(kind="pose", image=photo),
    )
    run(backend, controls=controls)
    run(backend, controls=controls[:1], model="sd_xl")
    small, large = (
        body["alwayson_scripts"]["controlnet"]["args"]
        for body in server.bodies("/sdapi/v1/txt2img")
    )
    assert [(unit["module"], unit["model"]) for unit in (*small, *large)] == [
        ("canny", "control_v11p_sd15_canny [d14c016b]"),
        ("None", "control_v11p_sd15_openpose [cab727d4]"),
        ("canny", "diffusers_xl_canny_full [2b69fca4]"),
    ]
    assert (small[0]["weight"], small[0]["guidance_end"]) == (0.8, 0.5)


def test_control_image_is_made_by_the_server(open_a1111: OpenA1111, photo: str) -> None:
    server = A1111Server()
    run(open_a1111(server), prompt=None, image=photo, preprocess="pose")
    (body,) = server.bodies("/controlnet/detect")
    assert (body["controlnet_module"], body["controlnet_processor_res"]) == ("openpose_full", 64)


def test_loras_are_tags_in_the_prompt(open_a1111: OpenA1111) -> None:
    server = A1111Server()
    ticket, _ = run(open_a1111(server), loras=(Lora(name="ink", strength=0.8),))
    assert server.bodies("/sdapi/v1/txt2img")[0]["prompt"] == "a lighthouse <lora:ink:0.8>"
    assert ticket.request.prompt == "a lighthouse"


def test_unknown_lora_is_refused(open_a1111: OpenA1111) -> None:
    server = A1111Server()
    with pytest.raises(RequestError, match=r"Unknown LoRA 'inkk'. Did you mean 'ink'\?"):
        run(open_a1111(server), loras=(Lora(name="inkk"),))
    assert server.submissions == 0


def test_variation_mixes_a_second_seed(open_a1111: OpenA1111) -> None:
    server = A1111Server()
    run(open_a1111(server), variation_seed=9, variation_strength=0.2)
    (body,) = server.bodies("/sdapi/v1/txt2img")
    assert (body["subseed"], body["subseed_strength"]) == (9, 0.2)


def test_stable_diffusion_cpp_gets_its_own_spelling(open_a1111: OpenA1111) -> None:
    """It ignores samplers that it does not know, and refuses LoRAs in the prompt and ""."""
    server = A1111Server("sd.cpp")
    backend = open_a1111(server)
    values = {
        "prompt": "",
        "loras": (Lora(name="ink", strength=0.5),),
        "sampler": "DPM++ 2M Karras",
    }
    ticket, _ = run(backend, **values)
    (body,) = server.bodies("/sdapi/v1/txt2img")
    assert body["lora"] == [{"path": "style/ink.safetensors", "multiplier": 0.5}]
    assert (body["prompt"], body["sampler_name"], body["scheduler"]) == (" ", "dpm++2m", "karras")
    assert not body.keys() & {"override_settings", "force_task_id"}
    assert ticket.request.prompt == ""
    assert backend.capabilities().prompt_syntax == ("weights",)


def test_images_of_a_batch_are_separated_from_grids_and_control_images(
    open_a1111: OpenA1111,
) -> None:
    server = A1111Server(switches=A1111Switches(extra_images=(1, 2)))
    _, result = run(open_a1111(server), count=2)
    assert server.bodies("/sdapi/v1/txt2img")[0]["batch_size"] == 2
    assert [image.seed for image in result.images] == [7, 8]
    assert result.warnings == ()


def test_names_are_checked_by_the_server_although_it_was_not_asked_before(
    open_a1111: OpenA1111,
) -> None:
    """A request may be prepared while the server is off: its lists are read before the job."""
    server = A1111Server("sd.cpp")
    backend = open_a1111(server)
    ticket = backend.prepare(Request.of(BASE | {"sampler": "Euler a"}))
    backend.collect(ticket, no_progress)
    assert server.bodies("/sdapi/v1/txt2img")[0]["sampler_name"] == "euler_a"

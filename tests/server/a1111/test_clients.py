"""The bodies of A1111's clients, as each of them sends them, and what each reads of the answer."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from PIL import Image

if TYPE_CHECKING:
    from support.live_server import LiveServer

Body = dict[str, Any]


def png(size: tuple[int, int] = (64, 64), colour: str = "red") -> str:
    data = BytesIO()
    Image.new("RGB", size, colour).save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()


def decode(text: str) -> Image.Image:
    image = Image.open(BytesIO(base64.b64decode(text, validate=True)))
    image.load()
    return image


URL = "data:image/png;base64," + png()
_HIRES = {"enable_hr": False, "hr_upscaler": "Latent", "hr_scale": 2, "hr_second_pass_steps": 0}


class Client(NamedTuple):
    """A call of a client: its body, its content type, and how many images of which size come."""

    path: str
    body: Body
    images: int = 1
    size: tuple[int, int] = (64, 64)
    content_type: str | None = "application/json"


CLIENTS = {
    "open-webui": Client(
        "txt2img",
        {"prompt": "a fox", "batch_size": 1, "width": 64, "height": 64, "steps": 3},
    ),
    "open-webui, several": Client(
        "txt2img",
        {"prompt": "a fox", "batch_size": 3, "width": 64, "height": 64, "negative_prompt": "fog"},
        images=3,
    ),
    "sillytavern": Client(
        "txt2img",
        {
            **{"url": "http://127.0.0.1:7860", "auth": "user:SECRET", "prompt": "a fox"},
            **{"negative_prompt": "fog", "sampler_name": "Euler a", "scheduler": "Automatic"},
            **{"steps": 3, "cfg_scale": 7, "width": 64, "height": 64, "restore_faces": False},
            **{**_HIRES, "denoising_strength": 0.7, "clip_skip": 1, "save_images": True},
            "override_settings": {"CLIP_stop_at_last_layers": 1},
            "override_settings_restore_afterwards": True,
            **{"send_images": True, "do_not_save_grid": False, "do_not_save_samples": False},
        },
    ),
    "sillytavern, hires": Client(
        "txt2img",
        {
            **{"prompt": "a fox", "width": 64, "height": 64, "steps": 3, **_HIRES},
            **{"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.4},
        },
        size=(96, 96),
    ),
    "librechat": Client(
        "txt2img",
        {
            **{"prompt": "a fox", "negative_prompt": "fog", "cfg_scale": 4.5, "steps": 3},
            **{"width": 64, "height": 64, "sampler_index": "DPM++ 2M Karras"},
        },
    ),
    "dify": Client(
        "txt2img",
        {
            **{"prompt": "<lora:sepia:1>, a fox", "negative_prompt": "", "steps": 3, "seed": -1},
            **{"cfg_scale": 7.0, "width": 64, "height": 64, "sampler_name": "DPM++ 2M"},
            **{"styles": ["string"], "subseed": -1, "subseed_strength": 0, "model": "quick"},
            **{"seed_resize_from_h": -1, "seed_resize_from_w": -1, "batch_size": 1, "n_iter": 1},
            **{"do_not_save_samples": False, "do_not_save_grid": False, "eta": 0, **_HIRES},
            **{"s_churn": 0, "s_tmax": 0, "s_tmin": 0, "s_noise": 1, "script_name": None},
            **{"denoising_strength": 0.0, "firstphase_width": 0, "firstphase_height": 0},
            "override_settings": {"sd_model_checkpoint": "mock-dusk"},
            **{"hr_resize_x": 0, "hr_resize_y": 0, "hr_prompt": "", "hr_negative_prompt": ""},
            **{"script_args": [], "alwayson_scripts": {}, "lora": "sepia", "send_images": True},
        },
        content_type=None,
    ),
    "oobabooga": Client(
        "txt2img",
        {
            **{"prompt": "a fox", "seed": -1, "sampler_name": "DPM++ 2M", "steps": "3"},
            **{"enable_hr": False, "hr_scale": "1.0", "hr_upscaler": "ESRGAN_4x"},
            **{"denoising_strength": "0.7", "cfg_scale": "7", "width": "64", "height": "64"},
            **{"restore_faces": False, "negative_prompt": ""},
        },
    ),
    "ai-render": Client(
        "img2img",
        {
            **{"prompt": "a fox", "negative_prompt": "", "width": 64, "height": 64, "seed": 5},
            **{"init_images": [URL], "denoising_strength": 0.6, "cfg_scale": 7, "steps": 3},
            **{"sampler_index": "LMS", "image_similarity": 0.4, "preset_style": "none"},
        },
    ),
    "auto-photoshop": Client(
        "img2img",
        {
            **{"prompt": "a fox", "init_images": [png((80, 40))], "mask": png(colour="white")},
            **{"mask_blur": 4, "mask_expansion": 0, "inpaint_full_res": False, "steps": 3},
            **{"inpaint_full_res_padding": 32, "inpainting_fill": 1, "width": 64, "height": 64},
            **{"inpainting_mask_invert": 0, "script_name": None, "script_args": []},
            "alwayson_scripts": {
                "ADetailer": {"args": [{"ad_model": "face"}]},
                "controlnet": {
                    "args": [
                        {"enabled": True, "input_image": png(), "module": "none"}
                        | {"model": "control_v11p_sd15_canny [d14c016b]", "weight": 1.0}
                        | {"guidance_start": 0, "guidance_end": 1, "threshold_a": 0},
                        {"enabled": False, "model": "None"},
                    ]
                },
            },
        },
    ),
    "openoutpaint": Client(
        "img2img",
        {
            **{"prompt": "a fox", "init_images": [URL], "mask": "data:image/png;base64," + png()},
            **{"inpainting_fill": 2, "inpaint_full_res": False, "mask_blur": 0, "n_iter": 2},
            **{"batch_size": 1, "inpainting_mask_invert": 1, "steps": 3, "seed": -1},
            **{"width": 64, "height": 64, "styles": [], "refiner_checkpoint": None},
        },
        images=2,
        content_type="text/plain;charset=UTF-8",
    ),
    "sd.cpp's own fields": Client(
        "img2img",
        {"prompt": "a fox", "init_images": [png()], "extra_images": [URL], "width": 64, "steps": 2},
    ),
}


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS.keys())
@pytest.mark.parametrize("slash", ["", "/"])
def test_the_body_of_a_client_gives_its_images(
    server: LiveServer, client: Client, slash: str
) -> None:
    headers = {"Content-Type": client.content_type} if client.content_type else {}
    answer = server.client.post(
        f"/sdapi/v1/{client.path}{slash}", content=json.dumps(client.body), headers=headers
    )
    assert answer.status_code == 200, answer.text
    made = answer.json()
    info = json.loads(made["info"])
    assert [decode(text).size for text in made["images"]] == [client.size] * client.images
    assert len(info["infotexts"]) == len(info["all_seeds"]) == client.images
    assert info["infotexts"][0].startswith(info["prompt"])
    assert (info["seed"], info["width"], info["height"]) == (info["all_seeds"][0], *client.size)
    assert "SECRET" not in answer.text
    assert not {"url", "auth", "init_images", "lora", "model"} & made["parameters"].keys()


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("txt2img", {"steps": "many"}, 422, "steps: Input should be a valid integer"),
        ("txt2img", [], 422, "Input should be"),
        ("txt2img", {"width": 5}, 400, "width"),
        ("txt2img", {"n_iter": 2000}, 400, "count"),
        ("txt2img", {"cfg_scale": float("nan")}, 422, "cfg_scale: Input should be a finite"),
        ("txt2img", {"prompt": "<lora:/etc/passwd:1>"}, 400, "is a path or a URL"),
        (
            "txt2img",
            {"override_settings": {"sd_model_checkpoint": "mock-duks"}},
            404,
            "Did you mean 'mock-dusk'?",
        ),
        ("txt2img", {"override_settings": {"CLIP_stop_at_last_layers": "x"}}, 400, "whole number"),
        (
            "txt2img",
            {"override_settings": {"sd_model_checkpoint": "broken"}, "width": 64, "height": 64},
            502,
            "fails as configured",
        ),
        ("img2img", {}, 400, "init_images: expected an image"),
        ("img2img", {"init_images": ["no image"]}, 400, "init_images: not an image in base64"),
        ("img2img", {"init_images": ["http://127.0.0.1/x.png"]}, 400, "not an image in base64"),
        ("img2img", {"init_images": ["aGVsbG8="]}, 400, "init_images: the image is not an image"),
        ("img2img", {"init_images": [png()], "mask": png(colour="black")}, 400, "all black"),
        (
            "txt2img",
            {"alwayson_scripts": {"controlnet": {"args": [{"model": "canny"}]}}},
            400,
            "a unit has no image",
        ),
        (
            "txt2img",
            {"alwayson_scripts": {"controlnet": {"args": [{"weight": "x"}]}}},
            400,
            "weight",
        ),
        (
            "txt2img",
            {"alwayson_scripts": {"ControlNet": {"args": [{"image": png(), "model": "x"}]}}},
            400,
            "do not say which kind",
        ),
        ("extra-single-image", {}, 422, "image: Field required"),
        ("png-info", {"image": "x"}, 400, "not an image"),
    ],
)
def test_errors_have_the_shape_of_a1111(
    server: LiveServer, path: str, body: object, status: int, sentence: str
) -> None:
    answer = server.client.post(f"/sdapi/v1/{path}", content=json.dumps(body))
    assert answer.status_code == status, answer.text
    error = answer.json()
    assert sorted(error) == ["body", "detail", "error", "errors"]
    assert sentence in error["detail"]


def _info(server: LiveServer, **body: Any) -> dict[str, Any]:
    body = {"prompt": "a fox", "width": 64, "height": 64, "steps": 2} | body
    answer = server.client.post("/sdapi/v1/txt2img", json=body)
    info: dict[str, Any] = json.loads(answer.raise_for_status().json()["info"])
    return info


def test_seeds_are_drawn_given_and_counted(server: LiveServer) -> None:
    assert _info(server, seed=7, n_iter=2, batch_size=2)["all_seeds"] == [7, 8, 9, 10]
    assert _info(server)["seed"] != _info(server, seed=-1)["seed"] >= 0


def test_styles_are_around_the_prompt_and_unknown_ones_a_note(server: LiveServer) -> None:
    info = _info(server, styles=["ink", "oil"])
    assert info["prompt"] == "ink drawing of a fox"
    assert info["negative_prompt"] == "colour"
    assert any("no style 'oil'" in note for note in info["warnings"])


def test_what_is_not_supported_is_said_in_info(server: LiveServer) -> None:
    info = _info(server, script_name="X/Y/Z plot", alwayson_scripts={"ADetailer": {"args": [True]}})
    notes = " ".join(info["warnings"])
    assert "'X/Y/Z plot' is not supported" in notes
    assert "'ADetailer' is not supported" in notes


def test_an_infotext_supplies_what_the_body_leaves_out(server: LiveServer) -> None:
    text = "a hill\nNegative prompt: fog\nSteps: 3, Sampler: Euler a, Seed: 11, Size: 64x64"
    answer = server.client.post("/sdapi/v1/txt2img", json={"infotext": text, "seed": 12})
    info = json.loads(answer.json()["info"])
    assert (info["prompt"], info["negative_prompt"], info["seed"]) == ("a hill", "fog", 12)
    assert (info["steps"], info["width"]) == (3, 64)

"""The Python client of A1111, `webuiapi`, with a token as its password."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image
from support.a1111_server import serve_a1111

from imagen.config import ServerSettings
from imagen.library.tokens import add_token

webuiapi = pytest.importorskip("webuiapi")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Login = Callable[[str], Any]

_SIZE = {"width": 64, "height": 64, "steps": 2}


@pytest.fixture(scope="module")
def login(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Login]:
    """Log in with a token of this name."""
    settings = ServerSettings(require_token=True)
    with serve_a1111(tmp_path_factory.mktemp("a1111"), server=settings) as live:

        def log_in(name: str) -> Any:
            secret = add_token(live.runtime.library, name, ("read", "generate"))
            address = urlsplit(live.url)
            api = webuiapi.WebUIApi(host=address.hostname, port=address.port)
            for _ in range(1000):  # a new token is noticed within two seconds
                api.set_auth("anybody", secret)
                if api.session.get(f"{api.baseurl}/options").status_code == 200:
                    return api
            raise AssertionError("the token is not accepted")

        yield log_in


@pytest.fixture(scope="module")
def api(login: Login) -> Any:
    return login("ann")


def test_images_are_generated_redrawn_and_upscaled(api: Any) -> None:
    first = api.txt2img(prompt="a fox", seed=3, batch_size=2, **_SIZE)
    assert [image.size for image in first.images] == [(64, 64)] * 2
    assert first.info["all_seeds"] == [3, 4]
    again = api.img2img(images=[first.image], prompt="a wolf", width=96, height=48, steps=2)
    assert again.image.size == (96, 48)
    larger = api.extra_single_image(first.image, upscaler_1="mock-x4", upscaling_resize=2)
    assert larger.image.size == (128, 128)
    fitted = api.extra_single_image(
        first.image, resize_mode=1, upscaling_resize_w=90, upscaling_resize_h=60, upscaler_1="Area"
    )
    assert fitted.image.size == (90, 60)
    same = api.extra_single_image(first.image)
    assert same.image.tobytes() == first.image.tobytes()
    batch = api.extra_batch_images(first.images, upscaler_1="Lanczos", upscaling_resize=1.5)
    assert [image.size for image in batch.images] == [(96, 96)] * 2
    restored = api.extra_single_image(first.image, gfpgan_visibility=1, upscaler_1="Nearest")
    assert restored.image.size == (128, 128)
    text = api.png_info(first.image).info
    assert text.startswith("a fox\n")
    assert "Seed: 3" in text


def test_only_the_masked_part_is_redrawn(api: Any) -> None:
    image = Image.effect_noise((128, 96), 64).convert("RGB")
    mask = Image.new("L", image.size)
    mask.paste(255, (32, 32, 64, 64))
    drawn = api.img2img(
        images=[image], mask_image=mask, prompt="a fox", mask_blur=0, denoising_strength=1, **_SIZE
    )
    assert drawn.image.size == image.size
    changed = [
        (x, y)
        for x in range(image.width)
        for y in range(image.height)
        if drawn.image.getpixel((x, y)) != image.getpixel((x, y))
    ]
    assert changed
    assert all(32 <= x < 64 and 32 <= y < 64 for x, y in changed)
    assert api.png_info(drawn.image).info.startswith("a fox")


def test_control_images_are_used_and_made(api: Any) -> None:
    image = Image.new("RGB", (64, 64), "white")
    assert api.controlnet_version() == 3
    assert "depth" in api.controlnet_model_list()
    assert api.controlnet_module_list()[0] == "none"
    unit = webuiapi.ControlNetUnit(image=image, module="canny", model="control_sd15_canny [d14c]")
    drawn = api.txt2img(prompt="a fox", controlnet_units=[unit], **_SIZE)
    assert drawn.image.size == (64, 64)
    raw = webuiapi.raw_b64_img(image)
    body = {"controlnet_module": "depth_midas", "controlnet_input_images": [raw]}
    found = api.custom_post("controlnet/detect", payload=body)
    assert found.image.size == (64, 64)


_LISTS = {
    "samplers": ["Automatic"],
    "schedulers": ["automatic"],
    "upscalers": [
        "None",
        "Lanczos",
        "Bicubic",
        "Bilinear",
        "Nearest",
        "Area",
        "mock-x2",
        "mock-x4",
    ],
    "latent_upscale_modes": [],
    "loras": ["moonlight", "sepia"],
    "sd_vae": [],
    "prompt_styles": ["ink"],
    "hypernetworks": [],
    "face_restorers": [],
    "realesrgan_models": [],
}


@pytest.mark.parametrize(("name", "entries"), _LISTS.items(), ids=_LISTS.keys())
def test_lists_have_what_the_backend_has(api: Any, name: str, entries: list[str]) -> None:
    assert [one["name"] for one in getattr(api, f"get_{name}")()] == entries


def test_what_else_clients_ask_for_is_answered(api: Any) -> None:
    titles = [model["title"] for model in api.get_sd_models()]
    assert titles == ["mock", "mock-dusk", "quick", "slow", "broken"]
    assert api.get_scripts()["txt2img"] == ["controlnet"]
    assert api.get_embeddings() == {"loaded": {}, "skipped": {}}
    assert api.get_cmd_flags() == {}
    assert api.get_memory()["cuda"] == {"error": "unknown"}
    assert api.refresh_checkpoints() is None
    for path in ("unload-checkpoint", "reload-checkpoint"):
        answer = api.session.post(f"{api.baseurl}/{path}", json="")
        assert (answer.status_code, answer.json()) == (200, None)


def test_each_token_has_its_own_model_and_calls(api: Any, login: Login) -> None:
    other = login("bob")
    api.set_options({"sd_model_checkpoint": "mock-dusk"})
    assert api.get_options()["sd_model_checkpoint"] == "mock-dusk"
    assert other.get_options()["sd_model_checkpoint"] == "mock"
    assert other.get_progress()["state"]["job_count"] == 0


def test_without_a_token_everything_is_refused_in_a1111s_shape(api: Any) -> None:
    answer = httpx.get(f"{api.baseurl}/options")
    assert answer.status_code == 401
    assert "token" in answer.json()["detail"]

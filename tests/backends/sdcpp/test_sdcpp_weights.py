"""The weight files of a block are checked before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from support.sdcpp_setup import CONTROL, ESRGAN, LORA, SdCppSetup

from imagen.backends import validate_block
from imagen.backends.sdcpp import SdCppConfig
from imagen.core.request import Request
from imagen.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

_VAE = {"decoder.conv_in.weight": (512, 4, 3, 3)}
_TEXT = {"encoder.block.0.layer.0.SelfAttention.k.weight": (4096, 4096)}
_FLUX = {
    "vector_in.in_layer.weight": (3072, 768),
    "img_in.weight": (3072, 64),
    "guidance_in.in_layer.weight": (3072, 256),
}


@pytest.fixture
def setup(tmp_path: Path) -> SdCppSetup:
    return SdCppSetup(tmp_path)


def _config_error(setup: SdCppSetup, **block: Any) -> str:
    engine = setup.open(**block)
    with pytest.raises(ConfigError) as caught:
        engine.prepare(Request(prompt="x"))
    assert not engine.check().ok
    return str(caught.value)


@pytest.mark.parametrize("key", ["vae", "taesd", "clip_l", "t5xxl", "llm", "model"])
def test_a_missing_weight_file_is_an_error(setup: SdCppSetup, key: str) -> None:
    said = _config_error(setup, **{key: str(setup.folder / "nope.safetensors")})
    assert said.startswith(f"backends.rigged.{key}: ")


@pytest.mark.parametrize("key", ["loras_dir", "embeddings_dir"])
def test_a_missing_folder_is_an_error(setup: SdCppSetup, key: str) -> None:
    assert "not found" in _config_error(setup, **{key: str(setup.folder / "nope")})


def test_a_missing_controlnet_is_an_error(setup: SdCppSetup, tmp_path: Path) -> None:
    health = setup.open(controlnets={"canny": str(tmp_path / "no.safetensors")}).check()
    assert (health.ok, "backends.rigged.controlnets.canny" in health.summary) == (False, True)


def test_a_lora_named_as_model_is_an_error_with_a_remedy(setup: SdCppSetup) -> None:
    said = _config_error(setup, model=setup.write_weights("ink.safetensors", LORA))
    assert said == (
        "backends.rigged.model: ink.safetensors is a LoRA, not a complete model.\n"
        "Put it into `loras_dir`, and use it with --lora."
    )


def test_a_vae_named_as_taesd_is_an_error(setup: SdCppSetup) -> None:
    said = _config_error(setup, taesd=setup.write_weights("vae.safetensors", _VAE))
    assert said == (
        "backends.rigged.taesd: vae.safetensors is a VAE, not a tiny VAE.\nName it in `vae`."
    )


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<!DOCTYPE html><html>not found</html>", id="html"),
        pytest.param(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", id="pointer"),
        pytest.param((99).to_bytes(8, "little") + b'{"a":', id="truncated"),
    ],
)
def test_a_file_that_is_not_a_model_is_an_error(setup: SdCppSetup, content: bytes) -> None:
    path = setup.folder / "bad.safetensors"
    path.write_bytes(content)
    assert _config_error(setup, model=str(path)).startswith("backends.rigged.model: ")


def test_a_diffusion_model_alone_names_the_missing_files(setup: SdCppSetup) -> None:
    flux = setup.write_weights("flux.safetensors", _FLUX)
    said = _config_error(setup, model=None, diffusion_model=flux)
    assert said == "backends.rigged: a flux1 diffusion model also needs vae and clip_l and t5xxl."


def test_sizes_and_parameters_follow_from_the_family(setup: SdCppSetup) -> None:
    flux = setup.write_weights("flux.safetensors", _FLUX)
    engine = setup.open(model=None, diffusion_model=flux)
    known = engine.capabilities("edit")
    assert "edit" in known.tasks
    assert known.parameters["width"].multiple_of == 8
    assert "guidance" in known.parameters
    assert "clip_skip" not in known.parameters


def test_an_edit_has_the_shape_of_its_reference(setup: SdCppSetup, tmp_path: Path) -> None:
    Image.new("RGB", (3000, 2000)).save(tmp_path / "photo.png")
    flux: dict[str, Any] = {
        "model": None,
        "diffusion_model": setup.write_weights("flux.safetensors", _FLUX),
    }
    parts = {key: setup.write_weights(f"{key}.safetensors", _TEXT) for key in ("clip_l", "t5xxl")}
    engine = setup.open(**flux, **parts, vae=setup.write_weights("vae.safetensors", _VAE))
    request = engine.prepare(Request(references=(str(tmp_path / "photo.png"),))).request
    assert (request.width, request.height) == (1256, 840)


def test_all_that_is_on_offer_is_listed(setup: SdCppSetup, tmp_path: Path) -> None:
    setup.write_weights("loras/ink.safetensors", LORA)
    engine = setup.open(
        loras_dir=str(tmp_path / "loras"),
        controlnets={"canny": setup.write_weights("net.safetensors", CONTROL)},
        upscale_models=[setup.write_weights("up.safetensors", ESRGAN)],
    )
    found = [(m.kind, m.name, m.family) for m in engine.models()]
    assert found[:4] == [
        ("checkpoint", "sd15.safetensors", "sd1"),
        ("controlnet", "canny", ""),
        ("upscaler", "up.safetensors", ""),
        ("lora", "ink.safetensors", "sd1"),
    ]
    assert ("sampler", "dpm++2m", "") in found
    assert ("scheduler", "karras", "") in found


@pytest.mark.parametrize(
    ("block", "message"),
    [
        pytest.param({}, "needs model, diffusion_model or upscale_models", id="nothing"),
        pytest.param({"model": "a", "diffusion_model": "b"}, "exclude each other", id="both"),
        pytest.param({"url": "http://h:1", "model": "a"}, "url excludes model", id="server"),
        pytest.param({"url": "ftp://h"}, "url must look like", id="ftp"),
        pytest.param({"url": "http://u:p@h"}, "must not hold a user or password", id="secret"),
        pytest.param({"url": "http://h", "bearer_env": "abc"}, "takes the name of", id="token"),
        pytest.param({"model": "a", "thread": 2}, r"thread: unknown key", id="typo"),
    ],
)
def test_a_block_that_makes_no_sense_is_an_error(block: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate_block("rigged", block, SdCppConfig)

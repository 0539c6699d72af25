"""The files of a block are looked into before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from support.sdcpp_rig import CONTROL, ESRGAN, LORA, Bench

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
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def _refused(bench: Bench, **block: Any) -> str:
    engine = bench.open(**block)
    with pytest.raises(ConfigError) as caught:
        engine.prepare(Request(prompt="x"))
    assert not engine.check().ok
    return str(caught.value)


@pytest.mark.parametrize("key", ["vae", "taesd", "clip_l", "t5xxl", "llm", "model"])
def test_a_file_that_is_not_there_is_an_error(bench: Bench, key: str) -> None:
    said = _refused(bench, **{key: str(bench.folder / "nope.safetensors")})
    assert said.startswith(f"backends.rigged.{key}: ")


@pytest.mark.parametrize("key", ["loras_dir", "embeddings_dir"])
def test_a_folder_that_is_not_there_is_an_error(bench: Bench, key: str) -> None:
    assert "not found" in _refused(bench, **{key: str(bench.folder / "nope")})


def test_a_control_net_that_is_not_there_is_an_error(bench: Bench, tmp_path: Path) -> None:
    health = bench.open(controlnets={"canny": str(tmp_path / "no.safetensors")}).check()
    assert (health.ok, "backends.rigged.controlnets.canny" in health.summary) == (False, True)


def test_a_lora_in_the_place_of_a_model_gets_a_sentence(bench: Bench) -> None:
    said = _refused(bench, model=bench.file("ink.safetensors", LORA))
    assert said == (
        "backends.rigged.model: ink.safetensors is a LoRA, not a complete model.\n"
        "Put it into `loras_dir`, and use it with --lora."
    )


def test_a_vae_in_the_place_of_a_tiny_one_gets_a_sentence(bench: Bench) -> None:
    said = _refused(bench, taesd=bench.file("vae.safetensors", _VAE))
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
def test_a_file_that_is_no_model_gets_a_sentence(bench: Bench, content: bytes) -> None:
    path = bench.folder / "bad.safetensors"
    path.write_bytes(content)
    assert _refused(bench, model=str(path)).startswith("backends.rigged.model: ")


def test_a_diffusion_model_alone_names_what_it_also_needs(bench: Bench) -> None:
    flux = bench.file("flux.safetensors", _FLUX)
    said = _refused(bench, model=None, diffusion_model=flux)
    assert said == "backends.rigged: a flux1 diffusion model also needs vae and clip_l and t5xxl."


def test_a_model_of_another_kind_has_other_sizes_and_parameters(bench: Bench) -> None:
    flux = bench.file("flux.safetensors", _FLUX)
    engine = bench.open(model=None, diffusion_model=flux)
    known = engine.capabilities("edit")
    assert "edit" in known.tasks
    assert known.parameters["width"].multiple_of == 8
    assert "guidance" in known.parameters
    assert "clip_skip" not in known.parameters


def test_what_is_made_after_a_reference_has_its_shape(bench: Bench, tmp_path: Path) -> None:
    Image.new("RGB", (3000, 2000)).save(tmp_path / "photo.png")
    flux: dict[str, Any] = {"model": None, "diffusion_model": bench.file("flux.safetensors", _FLUX)}
    parts = {key: bench.file(f"{key}.safetensors", _TEXT) for key in ("clip_l", "t5xxl")}
    engine = bench.open(**flux, **parts, vae=bench.file("vae.safetensors", _VAE))
    request = engine.prepare(Request(references=(str(tmp_path / "photo.png"),))).request
    assert (request.width, request.height) == (1256, 840)


def test_all_that_is_on_offer_is_listed(bench: Bench, tmp_path: Path) -> None:
    bench.file("loras/ink.safetensors", LORA)
    engine = bench.open(
        loras_dir=str(tmp_path / "loras"),
        controlnets={"canny": bench.file("net.safetensors", CONTROL)},
        upscale_models=[bench.file("up.safetensors", ESRGAN)],
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
        pytest.param({"model": "a", "thread": 2}, r"thread: unknown key", id="slip"),
    ],
)
def test_a_block_that_makes_no_sense_is_an_error(block: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate_block("rigged", block, SdCppConfig)

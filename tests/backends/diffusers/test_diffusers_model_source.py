"""The configured model is found and identified without torch and without the Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.diffusers_model_files import (
    open_diffusers,
    write_flux_file,
    write_pipeline_folder,
    write_sd1_file,
)
from support.model_file_samples import VAE, gguf, safetensors, write_file

from imagen.backends.diffusers.model_source import find_cached_folder
from imagen.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def _refusal(model: Path | str, **block: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        _ = open_diffusers(model, **block).source
    return caught.value


def test_single_file_is_identified_by_its_header(tmp_path: Path) -> None:
    source = open_diffusers(write_sd1_file(tmp_path)).source
    assert (source.kind, source.family.name, source.is_part) == ("file", "sd1", False)
    assert source.size_bytes == (tmp_path / "dream.safetensors").stat().st_size


def test_diffusion_model_file_is_a_part(tmp_path: Path) -> None:
    source = open_diffusers(write_flux_file(tmp_path)).source
    assert (source.family.name, source.variant, source.is_part) == ("flux1", "schnell", True)


@pytest.mark.parametrize(
    ("pipeline", "parts", "family", "variant"),
    [
        pytest.param("StableDiffusionPipeline", {}, "sd1", "", id="SD 1"),
        pytest.param(
            "StableDiffusionPipeline",
            {"unet": {"cross_attention_dim": 1024}},
            "sd2",
            "",
            id="SD 2",
        ),
        pytest.param(
            "StableDiffusionInpaintPipeline",
            {"unet": {"cross_attention_dim": 768, "in_channels": 9}},
            "sd1",
            "inpaint",
            id="SD 1 for inpainting",
        ),
        pytest.param("StableDiffusionXLPipeline", {}, "sdxl", "", id="SDXL"),
        pytest.param("StableDiffusion3Pipeline", {}, "sd3", "", id="SD 3"),
        pytest.param(
            "FluxPipeline", {"transformer": {"guidance_embeds": True}}, "flux1", "dev", id="dev"
        ),
        pytest.param(
            "FluxPipeline",
            {"transformer": {"guidance_embeds": False}},
            "flux1",
            "schnell",
            id="schnell",
        ),
        pytest.param(
            "FluxFillPipeline",
            {"transformer": {"guidance_embeds": True, "in_channels": 384}},
            "flux1",
            "fill",
            id="Fill",
        ),
        pytest.param("Flux2KleinPipeline", {"transformer": {}}, "flux2", "klein-base", id="base"),
    ],
)
def test_folder_is_identified_by_its_configs(
    pipeline: str, parts: dict[str, Any], family: str, variant: str, tmp_path: Path
) -> None:
    source = open_diffusers(write_pipeline_folder(tmp_path / "model", pipeline, **parts)).source
    assert (source.kind, source.family.name, source.variant) == (
        "folder",
        family,
        variant,
    )


def test_folder_size_is_the_size_of_its_weights(tmp_path: Path) -> None:
    place = write_pipeline_folder(tmp_path / "m", "StableDiffusionPipeline", unet={}, vae={})
    one = (place / "unet" / "diffusion_pytorch_model.safetensors").stat().st_size
    assert open_diffusers(place).source.size_bytes == 2 * one


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("stable-diffusion-v1-5/stable-diffusion-v1-5", "sd1"),
        ("stabilityai/stable-diffusion-2-1", "sd2"),
        ("stabilityai/stable-diffusion-xl-base-1.0", "sdxl"),
        ("stabilityai/stable-diffusion-3.5-medium", "sd3"),
        ("black-forest-labs/FLUX.1-dev", "flux1"),
        ("black-forest-labs/FLUX.2-klein-4B", "flux2"),
    ],
)
def test_hub_model_before_download_is_identified_by_name(model: str, family: str) -> None:
    source = open_diffusers(model).source
    assert (source.kind, source.family.name, source.folder) == ("hub", family, None)


def test_larger_flux2_is_refused_before_download() -> None:
    message = _refusal("black-forest-labs/FLUX.2-dev").message
    assert message.endswith("is of family flux2, which diffusers backends do not support.")


def test_distilled_klein_is_identified_by_its_index(tmp_path: Path) -> None:
    place = write_pipeline_folder(tmp_path / "klein", "Flux2KleinPipeline")
    index = '{"_class_name": "Flux2KleinPipeline", "is_distilled": true}'
    (place / "model_index.json").write_text(index)
    assert open_diffusers(place).source.variant == "klein"


def test_hub_model_before_download_takes_family_from_the_block() -> None:
    assert open_diffusers("someone/dreamy", family="sdxl").source.family.name == "sdxl"


def test_hub_model_after_download_is_identified_by_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    cache = tmp_path / "hub" / "models--someone--dreamy"
    place = write_pipeline_folder(cache / "snapshots" / "abc123", "StableDiffusionXLPipeline")
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("abc123\n")
    source = open_diffusers("someone/dreamy").source
    assert (source.kind, source.where, source.folder) == ("hub", "someone/dreamy", place)
    assert source.family.name == "sdxl"


@pytest.mark.parametrize(
    "variable", ["HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"], ids=lambda name: name
)
def test_hub_cache_follows_its_environment_variables(variable: str, tmp_path: Path) -> None:
    below = {"HF_HUB_CACHE": "", "HF_HOME": "hub", "XDG_CACHE_HOME": "huggingface/hub"}[variable]
    cache = tmp_path / below / "models--a--b"
    place = write_pipeline_folder(cache / "snapshots" / "1", "FluxPipeline")
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("1")
    assert find_cached_folder("a/b", {variable: str(tmp_path)}) == place
    assert find_cached_folder("a/c", {variable: str(tmp_path)}) is None


def test_hub_cache_commit_cannot_point_elsewhere(tmp_path: Path) -> None:
    cache = tmp_path / "models--a--b"
    write_pipeline_folder(tmp_path / "elsewhere", "FluxPipeline")
    (cache / "refs").mkdir(parents=True)
    (cache / "snapshots").mkdir()
    (cache / "refs" / "main").write_text("../../elsewhere")
    assert find_cached_folder("a/b", {"HF_HUB_CACHE": str(tmp_path)}) is None


def test_missing_file_gets_a_suggestion(tmp_path: Path) -> None:
    write_sd1_file(tmp_path)
    refusal = _refusal(tmp_path / "drem.safetensors")
    assert refusal.message.endswith("Did you mean 'dream.safetensors'?")


def test_truncated_file_is_refused(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.safetensors", write_sd1_file(tmp_path).read_bytes()[:-1])
    assert "is incomplete" in _refusal(path).message


def test_vae_file_as_model_is_refused(tmp_path: Path) -> None:
    path = write_file(tmp_path / "vae.safetensors", safetensors(VAE))
    assert _refusal(path).message == f"{path}: expected a model, got a vae."


def test_gguf_file_is_refused_with_sdcpp_as_remedy(tmp_path: Path) -> None:
    path = write_file(tmp_path / "flux.gguf", gguf({"img_in.weight": (1, 64)}))
    refusal = _refusal(path)
    assert refusal.message == f"{path} is a GGUF file; diffusers backends cannot load GGUF files."
    assert "type sdcpp" in refusal.remedy


def test_unsupported_family_is_named(tmp_path: Path) -> None:
    path = write_file(tmp_path / "z.safetensors", safetensors({"cap_embedder.1.weight": (3840, 1)}))
    refusal = _refusal(path)
    assert refusal.message == (
        f"backends.here.model: {path} is of family z-image, which diffusers backends do not"
        " support."
    )
    assert refusal.remedy == "Supported: sd1, sd2, sdxl, sd3, flux1, flux2."


def test_unsupported_variant_is_named(tmp_path: Path) -> None:
    place = write_pipeline_folder(
        tmp_path / "m", "StableDiffusionPipeline", unet={"in_channels": 8}
    )
    assert "of family sd1 edit, which" in _refusal(place).message


def test_unknown_pipeline_is_named_without_control_characters(tmp_path: Path) -> None:
    place = write_pipeline_folder(tmp_path / "m", "Wan\x1b[31m\nPipeline")
    assert "a Wan[31m Pipeline is of unknown family, which" in _refusal(place).message


def test_folder_without_index_is_refused(tmp_path: Path) -> None:
    refusal = _refusal(tmp_path)
    assert refusal.message == f"{tmp_path} is not a diffusers folder: it has no model_index.json."


@pytest.mark.parametrize("index", ["", "[1]", "{"])
def test_folder_with_damaged_index_is_refused(index: str, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(index)
    assert "is not a diffusers folder" in _refusal(tmp_path).message


def test_model_too_long_for_a_path_is_refused() -> None:
    assert "is not a file, a folder" in _refusal("dreamy " * 50).message


def test_model_that_is_neither_path_nor_hub_id_is_refused() -> None:
    assert _refusal("dreamy").message == (
        "backends.here.model: 'dreamy' is not a file, a folder or an owner/name on the Hub."
    )


def test_hub_model_of_unknown_family_asks_for_family() -> None:
    refusal = _refusal("someone/dreamy")
    assert "the family of someone/dreamy is unknown" in refusal.message
    assert refusal.remedy == "Set `family` to one of: sd1, sd2, sdxl, sd3, flux1, flux2."

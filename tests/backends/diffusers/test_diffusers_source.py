"""What `model` names is found, and its family read, without torch and without the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.diffusers_model_files import flux_file, folder, opened, sd1_file
from support.weight_files import VAE, gguf, safetensors, written

from imagen.backends.diffusers.model_source import cached_folder
from imagen.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def _refusal(model: Path | str, **block: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        _ = opened(model, **block).source
    return caught.value


def test_one_file_is_known_by_its_header(tmp_path: Path) -> None:
    source = opened(sd1_file(tmp_path)).source
    assert (source.kind, source.family.name, source.is_part) == ("file", "sd1", False)
    assert source.size_bytes == (tmp_path / "dream.safetensors").stat().st_size


def test_a_diffusion_model_alone_is_a_part(tmp_path: Path) -> None:
    source = opened(flux_file(tmp_path)).source
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
def test_a_folder_is_known_by_its_configs(
    pipeline: str, parts: dict[str, Any], family: str, variant: str, tmp_path: Path
) -> None:
    source = opened(folder(tmp_path / "model", pipeline, **parts)).source
    assert (source.kind, source.family.name, source.variant) == ("folder", family, variant)


def test_the_size_of_a_folder_is_that_of_its_weights(tmp_path: Path) -> None:
    place = folder(tmp_path / "m", "StableDiffusionPipeline", unet={}, vae={})
    one = (place / "unet" / "diffusion_pytorch_model.safetensors").stat().st_size
    assert opened(place).source.size_bytes == 2 * one


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
def test_a_model_never_fetched_is_known_by_its_name(model: str, family: str) -> None:
    source = opened(model).source
    assert (source.kind, source.family.name, source.folder) == ("hub", family, None)


def test_the_larger_flux2_is_refused_before_it_is_fetched() -> None:
    message = _refusal("black-forest-labs/FLUX.2-dev").message
    assert message.endswith("is of the family flux2, which this adapter doesn't run.")


def test_a_distilled_klein_is_known_by_its_index(tmp_path: Path) -> None:
    place = folder(tmp_path / "klein", "Flux2KleinPipeline")
    index = '{"_class_name": "Flux2KleinPipeline", "is_distilled": true}'
    (place / "model_index.json").write_text(index)
    assert opened(place).source.variant == "klein"


def test_a_model_never_fetched_is_what_the_configuration_says() -> None:
    assert opened("someone/dreamy", family="sdxl").source.family.name == "sdxl"


def test_a_model_of_the_hub_is_known_by_its_files_once_they_are_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    cache = tmp_path / "hub" / "models--someone--dreamy"
    place = folder(cache / "snapshots" / "abc123", "StableDiffusionXLPipeline")
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("abc123\n")
    source = opened("someone/dreamy").source
    assert (source.kind, source.where, source.folder) == ("hub", "someone/dreamy", place)
    assert source.family.name == "sdxl"


@pytest.mark.parametrize(
    "variable", ["HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"], ids=lambda name: name
)
def test_the_hubs_cache_is_where_its_variables_say(variable: str, tmp_path: Path) -> None:
    below = {"HF_HUB_CACHE": "", "HF_HOME": "hub", "XDG_CACHE_HOME": "huggingface/hub"}[variable]
    cache = tmp_path / below / "models--a--b"
    place = folder(cache / "snapshots" / "1", "FluxPipeline")
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("1")
    assert cached_folder("a/b", {variable: str(tmp_path)}) == place
    assert cached_folder("a/c", {variable: str(tmp_path)}) is None


def test_a_commit_of_the_cache_names_no_folder_elsewhere(tmp_path: Path) -> None:
    cache = tmp_path / "models--a--b"
    folder(tmp_path / "elsewhere", "FluxPipeline")
    (cache / "refs").mkdir(parents=True)
    (cache / "snapshots").mkdir()
    (cache / "refs" / "main").write_text("../../elsewhere")
    assert cached_folder("a/b", {"HF_HUB_CACHE": str(tmp_path)}) is None


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    sd1_file(tmp_path)
    refusal = _refusal(tmp_path / "drem.safetensors")
    assert refusal.message.endswith("Did you mean 'dream.safetensors'?")


def test_a_cut_off_file_is_said_to_be_cut_off(tmp_path: Path) -> None:
    path = written(tmp_path / "a.safetensors", sd1_file(tmp_path).read_bytes()[:-1])
    assert "was cut off" in _refusal(path).message


def test_a_file_of_another_role_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "vae.safetensors", safetensors(VAE))
    assert _refusal(path).message == f"{path} is a vae, where a model was expected."


def test_a_gguf_file_is_sent_to_another_backend(tmp_path: Path) -> None:
    path = written(tmp_path / "flux.gguf", gguf({"img_in.weight": (1, 64)}))
    refusal = _refusal(path)
    assert refusal.message == f"{path} is a GGUF file, which this adapter doesn't load."
    assert "type sdcpp" in refusal.remedy


def test_a_family_that_is_not_run_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "z.safetensors", safetensors({"cap_embedder.1.weight": (3840, 1)}))
    refusal = _refusal(path)
    assert refusal.message == (
        f"backends.here.model: {path} is of the family z-image, which this adapter doesn't run."
    )
    assert refusal.remedy == "It runs: sd1, sd2, sdxl, sd3, flux1, flux2."


def test_a_variant_that_is_not_run_is_named(tmp_path: Path) -> None:
    place = folder(tmp_path / "m", "StableDiffusionPipeline", unet={"in_channels": 8})
    assert "of the family sd1 edit, which" in _refusal(place).message


def test_a_pipeline_nobody_knows_is_named_in_one_safe_line(tmp_path: Path) -> None:
    place = folder(tmp_path / "m", "Wan\x1b[31m\nPipeline")
    assert "a Wan[31m Pipeline is of a family that this adapter" in _refusal(place).message


def test_a_folder_without_an_index_is_no_model(tmp_path: Path) -> None:
    refusal = _refusal(tmp_path)
    assert refusal.message == f"{tmp_path} is no diffusers folder: it has no model_index.json."


@pytest.mark.parametrize("index", ["", "[1]", "{"])
def test_a_folder_with_a_damaged_index_is_no_model(index: str, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(index)
    assert "is no diffusers folder" in _refusal(tmp_path).message


def test_what_is_too_long_for_a_path_is_refused() -> None:
    assert "is no file, no folder" in _refusal("dreamy " * 50).message


def test_what_is_neither_path_nor_name_is_refused() -> None:
    assert _refusal("dreamy").message == (
        "backends.here.model: 'dreamy' is no file, no folder and no owner/name of the hub."
    )


def test_a_name_that_tells_no_family_asks_for_it() -> None:
    refusal = _refusal("someone/dreamy")
    assert "of which family someone/dreamy is can't be told" in refusal.message
    assert refusal.remedy == "Set `family` to one of: sd1, sd2, sdxl, sd3, flux1, flux2."

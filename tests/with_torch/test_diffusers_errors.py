"""Errors of torch, diffusers and the Hub become imagen errors with a remedy."""

from __future__ import annotations

import pickle
import shutil
from typing import TYPE_CHECKING

import huggingface_hub.errors
import pytest
import safetensors
import torch
from safetensors.torch import load_file, save_file
from support.fake_hub import REQUESTED_PATHS
from support.original_tensor_names import save_as_one_file
from support.tiny_models import first_pixels, generate, open_tiny, tiny_lora, tiny_model

from imagen.backends import validate_block
from imagen.backends.diffusers import DiffusersConfig
from imagen.backends.diffusers.errors import translate_errors
from imagen.errors import (
    BackendError,
    ConfigError,
    Failed,
    ImagenError,
    MissingDependency,
    RateLimited,
    Rejected,
    Unauthorized,
    Unavailable,
)

if TYPE_CHECKING:
    from pathlib import Path

_CONFIG = validate_block("tiny", {"model": "a/b"}, DiffusersConfig)


def _translate(error: BaseException, config: DiffusersConfig = _CONFIG) -> ImagenError:
    with pytest.raises(ImagenError) as caught, translate_errors(config):
        raise error
    return caught.value


def _hub_error(name: str, status: int) -> BaseException:
    """As the hub's client raises it."""
    kind = getattr(huggingface_hub.errors, name)
    error: BaseException = kind.__new__(kind)
    error.args = ("said so",)
    response = type("Response", (), {"status_code": status})
    error.response = response  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("name", "status", "kind"),
    [
        ("GatedRepoError", 403, Unauthorized),
        ("RepositoryNotFoundError", 401, Unauthorized),
        ("RevisionNotFoundError", 404, Rejected),
        ("RemoteEntryNotFoundError", 404, Rejected),
        ("LocalEntryNotFoundError", 0, Unavailable),
        ("OfflineModeIsEnabled", 0, Unavailable),
        ("HfHubHTTPError", 401, Unauthorized),
        ("HfHubHTTPError", 403, Unauthorized),
        ("HfHubHTTPError", 429, RateLimited),
        ("HfHubHTTPError", 400, Rejected),
        ("HfHubHTTPError", 502, Unavailable),
    ],
)
def test_hub_error_becomes_the_matching_error(
    name: str, status: int, kind: type[BackendError]
) -> None:
    error = _translate(_hub_error(name, status))
    assert type(error) is kind
    assert isinstance(error, BackendError)
    assert error.backend == "tiny"


def test_hub_error_is_found_in_the_chain_of_causes() -> None:
    wrapped = OSError("a/b is not a local folder and is not a valid model identifier")
    wrapped.__cause__ = _hub_error("GatedRepoError", 403)
    assert type(_translate(wrapped)) is Unauthorized


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(torch.OutOfMemoryError("CUDA out of memory. Tried …"), id="of a card"),
        pytest.param(RuntimeError("MPS backend out of memory (MPS …)"), id="of a Mac"),
        pytest.param(
            RuntimeError("[enforce] DefaultCPUAllocator: can't allocate memory"), id="RAM"
        ),
        pytest.param(MemoryError(), id="of Python"),
    ],
)
def test_out_of_memory_names_what_to_reduce(error: BaseException) -> None:
    said = _translate(error)
    assert (type(said), said.message) == (Failed, "Out of memory.")
    assert "`offload: model`" in said.remedy


def test_missing_package_is_named() -> None:
    said = _translate(ModuleNotFoundError("No module named 'peft'", name="peft"))
    assert isinstance(said, MissingDependency)
    assert (said.package, said.extra) == ("peft", "diffusers")


def test_imagen_error_keeps_its_class_and_gets_the_backend() -> None:
    said = _translate(Failed("so it is"))
    assert isinstance(said, BackendError)
    assert (said.message, said.backend) == ("so it is", "tiny")


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(safetensors.SafetensorError("header too large"), id="of safetensors"),
        pytest.param(pickle.UnpicklingError("invalid load key"), id="of pickle"),
    ],
)
def test_errors_of_safetensors_and_pickle_become_failed(error: Exception) -> None:
    assert type(_translate(error)) is Failed


def test_other_error_becomes_failed_with_its_message() -> None:
    said = _translate(ValueError("shapes \x1b[31mdiffer\nby far"))
    assert (type(said), said.message) == (Failed, "ValueError: shapes [31mdiffer by far")


def test_gated_model_names_the_token_variable() -> None:
    with pytest.raises(Unauthorized) as caught:
        generate(open_tiny(model="gated/sdxl-gated", offline=False, token_env="MY_TOKEN"))
    assert "environment variable MY_TOKEN" in caught.value.remedy


def test_private_model_names_the_token_variable() -> None:
    with pytest.raises(Unauthorized) as caught:
        generate(open_tiny(model="secret/sdxl-hidden", offline=False))
    assert caught.value.message == "secret/sdxl-hidden was not found on the Hub, or it is private."
    assert "environment variable HF_TOKEN" in caught.value.remedy


def test_failing_hub_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        generate(open_tiny(model="broken/sdxl-broken", offline=False))


def test_offline_backend_never_contacts_the_hub(tmp_path: Path) -> None:
    before = len(REQUESTED_PATHS)
    with pytest.raises(Unavailable) as caught:
        generate(open_tiny(model="gated/sdxl-gated", offline=True))
    assert "without `offline`" in caught.value.remedy
    backend = open_tiny("sd1", controlnets={"canny": "gated/canny"})
    with pytest.raises(Unavailable):
        generate(backend, controls=[{"kind": "canny", "image": str(_black(tmp_path))}])
    first_pixels(
        open_tiny("flux1", loras_dir=str(tiny_lora("flux1").parent)), loras=[{"name": "lora-flux1"}]
    )
    assert len(REQUESTED_PATHS) == before


def _black(folder: Path) -> Path:
    from PIL import Image

    Image.new("RGB", (64, 48)).save(folder / "black.png")
    return folder / "black.png"


def test_missing_device_is_unavailable() -> None:
    backend = open_tiny("sd1", device="cuda:9")
    with pytest.raises(Unavailable, match="Device cuda:9 not found"):
        first_pixels(backend)
    assert not backend.check().ok


def test_folder_without_a_part_fails_with_a_sentence(tmp_path: Path) -> None:
    shutil.copytree(tiny_model("sd1"), tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "vae")
    with pytest.raises(ImagenError) as caught:
        first_pixels(open_tiny(model=str(tmp_path / "cut")))
    assert isinstance(caught.value, Failed | Unavailable)


def test_failed_load_does_not_block_the_next_model() -> None:
    with pytest.raises(Failed):
        first_pixels(open_tiny("broken"))
    assert len(first_pixels(open_tiny("sd1"))) == 64 * 48 * 3


@pytest.mark.parametrize("family", ["sd3", "flux1"])
def test_diffusion_model_takes_other_parts_from_config_dir(family: str, tmp_path: Path) -> None:
    file = tmp_path / "network.safetensors"
    network = load_file(tiny_model(family) / "transformer" / "diffusion_pytorch_model.safetensors")
    save_file(network, file)
    alone = open_tiny(model=str(file), config_dir=str(tiny_model(family)))
    assert first_pixels(alone) == first_pixels(open_tiny(family))


def test_diffusion_model_without_config_dir_fails_before_loading(tmp_path: Path) -> None:
    file = tmp_path / "network.safetensors"
    save_file(
        load_file(tiny_model("flux1") / "transformer" / "diffusion_pytorch_model.safetensors"), file
    )
    with pytest.raises(ConfigError) as caught:
        first_pixels(open_tiny(model=str(file)))
    assert "holds only the diffusion model" in caught.value.message
    assert "Set `config_dir` to a complete diffusers folder" in caught.value.remedy


def test_single_file_gives_the_same_image_as_its_folder_offline(tmp_path: Path) -> None:
    before = len(REQUESTED_PATHS)
    file = save_as_one_file(tiny_model("sd1"), tmp_path / "dream.safetensors")
    bare = tmp_path / "configs"
    shutil.copytree(tiny_model("sd1"), bare, ignore=shutil.ignore_patterns("*.safetensors"))
    alone = open_tiny(model=str(file), config_dir=str(bare), family="sd1")
    assert first_pixels(alone) == first_pixels(open_tiny("sd1"))
    assert len(REQUESTED_PATHS) == before


def test_single_file_offline_without_config_dir_is_unavailable(tmp_path: Path) -> None:
    file = save_as_one_file(tiny_model("sd1"), tmp_path / "dream.safetensors")
    with pytest.raises(Unavailable) as caught:
        first_pixels(open_tiny(model=str(file), family="sd1"))
    assert "The configs for the parts of" in caught.value.message
    assert caught.value.remedy == "Set `config_dir` to a diffusers folder of the same family."


def test_single_file_without_a_part_is_refused(tmp_path: Path) -> None:
    file = save_as_one_file(tiny_model("sd1"), tmp_path / "dream.safetensors")
    whole = load_file(file)
    save_file({n: v for n, v in whole.items() if not n.startswith("cond_stage")}, file)
    with pytest.raises(ConfigError) as caught:
        first_pixels(open_tiny(model=str(file), config_dir=str(tiny_model("sd1")), family="sd1"))
    assert "lacks a part that its family needs" in caught.value.message

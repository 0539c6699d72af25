"""What goes wrong below is said in a sentence, in the class that says what to do."""

from __future__ import annotations

import pickle
import shutil
from typing import TYPE_CHECKING

import huggingface_hub.errors
import pytest
import safetensors
import torch
from safetensors.torch import load_file, save_file
from support.fake_hub import ASKED
from support.original_tensor_names import saved_as_one_file
from support.tiny_models import drawn, first, lora, model, opened

from imagen.backends import validate_block
from imagen.backends.diffusers import DiffusersConfig
from imagen.backends.diffusers.errors import translated
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


def _said_of(error: BaseException, config: DiffusersConfig = _CONFIG) -> ImagenError:
    with pytest.raises(ImagenError) as caught, translated(config):
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
def test_an_error_of_the_hub_has_its_class(
    name: str, status: int, kind: type[BackendError]
) -> None:
    error = _said_of(_hub_error(name, status))
    assert type(error) is kind
    assert isinstance(error, BackendError)
    assert error.backend == "tiny"


def test_an_error_of_the_hub_is_seen_through_what_wraps_it() -> None:
    wrapped = OSError("a/b is not a local folder and is not a valid model identifier")
    wrapped.__cause__ = _hub_error("GatedRepoError", 403)
    assert type(_said_of(wrapped)) is Unauthorized


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
def test_too_little_memory_has_its_remedy(error: BaseException) -> None:
    said = _said_of(error)
    assert (type(said), said.message) == (Failed, "There was not enough memory for this.")
    assert "`offload: model`" in said.remedy


def test_a_package_that_is_missing_is_named() -> None:
    said = _said_of(ModuleNotFoundError("No module named 'peft'", name="peft"))
    assert isinstance(said, MissingDependency)
    assert (said.package, said.extra) == ("peft", "diffusers")


def test_an_error_of_ours_passes_with_the_backends_name() -> None:
    said = _said_of(Failed("so it is"))
    assert isinstance(said, BackendError)
    assert (said.message, said.backend) == ("so it is", "tiny")


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(safetensors.SafetensorError("header too large"), id="of safetensors"),
        pytest.param(pickle.UnpicklingError("invalid load key"), id="of pickle"),
    ],
)
def test_an_error_without_a_common_base_is_caught_too(error: Exception) -> None:
    assert type(_said_of(error)) is Failed


def test_any_other_error_is_a_failure_in_its_own_words() -> None:
    said = _said_of(ValueError("shapes \x1b[31mdiffer\nby far"))
    assert (type(said), said.message) == (Failed, "ValueError: shapes [31mdiffer by far")


def test_a_gated_model_names_the_variable() -> None:
    with pytest.raises(Unauthorized) as caught:
        drawn(opened(model="gated/sdxl-gated", offline=False, token_env="MY_TOKEN"))
    assert "environment variable MY_TOKEN" in caught.value.remedy


def test_a_hidden_model_names_the_variable() -> None:
    with pytest.raises(Unauthorized) as caught:
        drawn(opened(model="secret/sdxl-hidden", offline=False))
    assert caught.value.message == "The hub has no secret/sdxl-hidden, or doesn't show it to you."
    assert "environment variable HF_TOKEN" in caught.value.remedy


def test_a_hub_that_fails_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        drawn(opened(model="broken/sdxl-broken", offline=False))


def test_offline_asks_nobody(tmp_path: Path) -> None:
    before = len(ASKED)
    with pytest.raises(Unavailable) as caught:
        drawn(opened(model="gated/sdxl-gated", offline=True))
    assert "without `offline`" in caught.value.remedy
    backend = opened("sd1", controlnets={"canny": "gated/canny"})
    with pytest.raises(Unavailable):
        drawn(backend, controls=[{"kind": "canny", "image": str(_black(tmp_path))}])
    first(opened("flux1", loras_dir=str(lora("flux1").parent)), loras=[{"name": "lora-flux1"}])
    assert len(ASKED) == before


def _black(folder: Path) -> Path:
    from PIL import Image

    Image.new("RGB", (64, 48)).save(folder / "black.png")
    return folder / "black.png"


def test_a_device_that_is_not_there_is_unavailable() -> None:
    backend = opened("sd1", device="cuda:9")
    with pytest.raises(Unavailable, match="There is no device cuda:9 here"):
        first(backend)
    assert not backend.check().ok


def test_a_folder_that_lacks_a_part_fails_in_a_sentence(tmp_path: Path) -> None:
    shutil.copytree(model("sd1"), tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "vae")
    with pytest.raises(ImagenError) as caught:
        first(opened(model=str(tmp_path / "cut")))
    assert isinstance(caught.value, Failed | Unavailable)


def test_a_model_that_could_not_be_loaded_leaves_room_for_the_next() -> None:
    with pytest.raises(Failed):
        first(opened("broken"))
    assert len(first(opened("sd1"))) == 64 * 48 * 3


@pytest.mark.parametrize("family", ["sd3", "flux1"])
def test_a_diffusion_model_alone_takes_its_other_parts_from_a_folder(
    family: str, tmp_path: Path
) -> None:
    file = tmp_path / "network.safetensors"
    network = load_file(model(family) / "transformer" / "diffusion_pytorch_model.safetensors")
    save_file(network, file)
    alone = opened(model=str(file), config_dir=str(model(family)))
    assert first(alone) == first(opened(family))


def test_a_diffusion_model_alone_asks_for_its_other_parts(tmp_path: Path) -> None:
    file = tmp_path / "network.safetensors"
    save_file(
        load_file(model("flux1") / "transformer" / "diffusion_pytorch_model.safetensors"), file
    )
    with pytest.raises(ConfigError) as caught:
        first(opened(model=str(file)))
    assert "holds the diffusion model alone" in caught.value.message
    assert "Set `config_dir` to a whole diffusers folder" in caught.value.remedy


def test_one_file_draws_as_its_folder_does_and_asks_nobody(tmp_path: Path) -> None:
    before = len(ASKED)
    file = saved_as_one_file(model("sd1"), tmp_path / "dream.safetensors")
    bare = tmp_path / "configs"
    shutil.copytree(model("sd1"), bare, ignore=shutil.ignore_patterns("*.safetensors"))
    alone = opened(model=str(file), config_dir=str(bare), family="sd1")
    assert first(alone) == first(opened("sd1"))
    assert len(ASKED) == before


def test_one_file_offline_asks_for_its_configs(tmp_path: Path) -> None:
    file = saved_as_one_file(model("sd1"), tmp_path / "dream.safetensors")
    with pytest.raises(Unavailable) as caught:
        first(opened(model=str(file), family="sd1"))
    assert "The configs of the parts of" in caught.value.message
    assert caught.value.remedy == "Set `config_dir` to a diffusers folder of the same family."


def test_one_file_without_a_part_says_so(tmp_path: Path) -> None:
    file = saved_as_one_file(model("sd1"), tmp_path / "dream.safetensors")
    whole = load_file(file)
    save_file({n: v for n, v in whole.items() if not n.startswith("cond_stage")}, file)
    with pytest.raises(ConfigError) as caught:
        first(opened(model=str(file), config_dir=str(model("sd1")), family="sd1"))
    assert "lacks a part that its family needs" in caught.value.message

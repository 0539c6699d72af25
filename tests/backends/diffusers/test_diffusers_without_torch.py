"""Everything but generation works without torch, and errors name the extra to install."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.diffusers_model_files import (
    LORA_SD1,
    open_diffusers,
    write_flux_file,
    write_pipeline_folder,
    write_sd1_file,
)
from support.model_file_samples import safetensors, write_file

from imagen.backends import validate_block
from imagen.backends.diffusers import adapter
from imagen.core.request import Request
from imagen.core.result import no_progress
from imagen.errors import ConfigError, MissingDependency, install_command

_PROGRAM = """
import sys
from imagen.cli import run
try:
    run(sys.argv[1:])
except SystemExit:
    pass
print(*{name.split(".")[0] for name in sys.modules})
"""
_HEAVY = {"torch", "diffusers", "transformers", "numpy", "safetensors", "huggingface_hub"}


@pytest.fixture
def _without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if torch were not installed."""
    monkeypatch.setitem(sys.modules, "torch", None)


def test_diffusers_extra_includes_scipy() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    extra = project["project"]["optional-dependencies"]["diffusers"]
    assert "scipy" in {requirement.partition(">")[0] for requirement in extra}


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["generate", "a fox", "-b", "here", "--dry-run"], id="a dry run"),
        pytest.param(["models", "--backend", "here"], id="models"),
        pytest.param(["backends", "show", "here"], id="what it can do"),
        pytest.param(["backends"], id="the list"),
    ],
)
def test_torch_is_not_imported_for(command: list[str], tmp_path: Path) -> None:
    block = (
        f"backends: {{here: {{type: diffusers, model: {write_sd1_file(tmp_path).as_posix()!r}}}}}\n"
    )
    (tmp_path / "imagen.yaml").write_text(block)
    ran = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "here" in ran.stdout
    assert set(ran.stdout.splitlines()[-1].split()) & _HEAVY == set()


@pytest.mark.usefixtures("_without_torch")
def test_collect_without_torch_names_the_extra(tmp_path: Path) -> None:
    backend = open_diffusers(write_sd1_file(tmp_path))
    ticket = backend.prepare(Request(prompt="a fox"))
    with pytest.raises(MissingDependency) as caught:
        backend.collect(ticket, no_progress)
    assert (caught.value.package, caught.value.extra) == ("torch", "diffusers")


def test_check_reports_a_torch_that_cannot_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise OSError('libcudart.so.12: no such file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    health = open_diffusers(write_sd1_file(tmp_path)).check()
    assert health.summary == (
        "torch is installed but cannot be loaded: libcudart.so.12: no such file"
    )
    assert "pytorch.org" in health.remedies[0]


@pytest.mark.usefixtures("_without_torch")
def test_check_without_torch_names_the_extra(tmp_path: Path) -> None:
    health = open_diffusers(write_sd1_file(tmp_path)).check()
    assert not health.ok
    assert health.remedies == (f"Install it with: {install_command('diffusers')}",)


@pytest.mark.usefixtures("_without_torch")
def test_check_reports_truncated_weights_before_missing_packages(tmp_path: Path) -> None:
    place = write_pipeline_folder(tmp_path / "m", "StableDiffusionPipeline", unet={}, vae={})
    weights = place / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    health = open_diffusers(place).check()
    assert f"{weights} is incomplete" in health.summary
    assert health.remedies == ("Download the model again.",)


def test_check_reports_an_offline_model_that_is_not_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    health = open_diffusers("someone/sdxl", offline=True).check()
    assert health.summary == ("someone/sdxl is not on this machine, and `offline` is set.")
    assert len(health.remedies) == 1


def test_check_reports_a_diffusion_model_without_config_dir(tmp_path: Path) -> None:
    health = open_diffusers(write_flux_file(tmp_path)).check()
    assert health.summary.endswith("flux.safetensors holds only the diffusion model.")
    assert "`config_dir`" in health.remedies[0]


def test_check_reports_an_invalid_model_without_raising() -> None:
    health = open_diffusers("dreamy").check()
    assert "is not a file, a folder or an owner/name" in health.summary
    assert health.remedies


def test_free_and_close_do_not_raise_without_torch(tmp_path: Path) -> None:
    backend = open_diffusers(write_sd1_file(tmp_path))
    backend.free()
    backend.close()
    backend.close()


def test_backends_on_one_device_share_one_engine(tmp_path: Path) -> None:
    path = write_sd1_file(tmp_path)
    assert open_diffusers(path, device="cuda:1").engine == "diffusers cuda:1"
    assert (
        open_diffusers(path).engine
        == open_diffusers(write_flux_file(tmp_path)).engine
        == "diffusers auto"
    )


def test_models_lists_checkpoints_loras_controlnets_samplers_and_schedulers(tmp_path: Path) -> None:
    loras_dir = tmp_path / "loras"
    loras_dir.mkdir()
    write_file(loras_dir / "ink.safetensors", safetensors(dict([LORA_SD1])))
    write_file(loras_dir / "cut.safetensors", b"<html>")
    backend = open_diffusers(
        write_sd1_file(tmp_path), loras_dir=loras_dir, controlnets={"canny": "a/b"}
    )
    models = {(model.kind, model.name): model for model in backend.models()}
    whole = models["checkpoint", "dream.safetensors"]
    assert (whole.family, whole.vram_bytes, whole.is_default) == ("sd1", None, True)
    assert [key for key in models if key[0] in ("lora", "controlnet")] == [
        ("lora", "ink"),
        ("controlnet", "canny"),
    ]
    assert models["lora", "ink"].family == "sd1"
    assert ("sampler", "dpmpp_2m") in models
    assert ("scheduler", "exponential") in models


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("device", "gpu", "must be auto, cuda, cuda:1, rocm, mps or cpu"),
        ("token_env", "hf_abcdefgh", "takes the name of an environment variable"),
        ("dtype", "fp16", "backends.here.dtype"),
        ("offload", "yes", "backends.here.offload"),
        ("modell", "x", "backends.here.modell: unknown key"),
    ],
)
def test_invalid_block_key_is_named(key: str, value: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate_block("here", {"model": "a/b", key: value}, adapter.config)
    assert sentence in caught.value.message
    assert f"backends.here.{key}" in caught.value.message

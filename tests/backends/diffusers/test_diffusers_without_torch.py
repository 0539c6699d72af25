"""All but drawing works where torch isn't installed, and says which extra brings it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.diffusers_model_files import LORA_SD1, flux_file, folder, opened, sd1_file
from support.weight_files import safetensors, written

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
def _no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where nobody installed it."""
    monkeypatch.setitem(sys.modules, "torch", None)


def test_the_extra_brings_what_the_samplers_need() -> None:
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
def test_nothing_of_torch_is_imported_for(command: list[str], tmp_path: Path) -> None:
    block = f"backends: {{here: {{type: diffusers, model: {sd1_file(tmp_path).as_posix()!r}}}}}\n"
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


@pytest.mark.usefixtures("_no_torch")
def test_drawing_names_the_extra(tmp_path: Path) -> None:
    backend = opened(sd1_file(tmp_path))
    ticket = backend.prepare(Request(prompt="a fox"))
    with pytest.raises(MissingDependency) as caught:
        backend.collect(ticket, no_progress)
    assert (caught.value.package, caught.value.extra) == ("torch", "diffusers")


def test_a_torch_that_cant_be_loaded_is_no_missing_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise OSError('libcudart.so.12: no such file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    health = opened(sd1_file(tmp_path)).check()
    assert health.summary == (
        "torch is installed, but can't be loaded: libcudart.so.12: no such file"
    )
    assert "pytorch.org" in health.remedies[0]


@pytest.mark.usefixtures("_no_torch")
def test_health_names_the_extra(tmp_path: Path) -> None:
    health = opened(sd1_file(tmp_path)).check()
    assert not health.ok
    assert health.remedies == (f"Install it with: {install_command('diffusers')}",)


@pytest.mark.usefixtures("_no_torch")
def test_health_first_looks_at_the_files(tmp_path: Path) -> None:
    place = folder(tmp_path / "m", "StableDiffusionPipeline", unet={}, vae={})
    weights = place / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    health = opened(place).check()
    assert f"{weights} was cut off" in health.summary
    assert health.remedies == ("Download the model again.",)


def test_health_knows_what_is_not_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    health = opened("someone/sdxl", offline=True).check()
    assert health.summary == (
        "someone/sdxl is not on the disk, and the hub is not asked (offline)."
    )
    assert len(health.remedies) == 1


def test_health_knows_what_a_part_lacks(tmp_path: Path) -> None:
    health = opened(flux_file(tmp_path)).check()
    assert health.summary.endswith("flux.safetensors holds the diffusion model alone.")
    assert "`config_dir`" in health.remedies[0]


def test_health_of_a_slip_never_raises() -> None:
    health = opened("dreamy").check()
    assert "is no file, no folder and no owner/name" in health.summary
    assert health.remedies


def test_freeing_and_closing_need_nothing(tmp_path: Path) -> None:
    backend = opened(sd1_file(tmp_path))
    backend.free()
    backend.close()
    backend.close()


def test_backends_of_one_device_are_one_engine(tmp_path: Path) -> None:
    path = sd1_file(tmp_path)
    assert opened(path, device="cuda:1").engine == "diffusers cuda:1"
    assert opened(path).engine == opened(flux_file(tmp_path)).engine == "diffusers auto"


def test_it_lists_what_a_request_may_name(tmp_path: Path) -> None:
    shelf = tmp_path / "loras"
    shelf.mkdir()
    written(shelf / "ink.safetensors", safetensors(dict([LORA_SD1])))
    written(shelf / "cut.safetensors", b"<html>")
    backend = opened(sd1_file(tmp_path), loras_dir=shelf, controlnets={"canny": "a/b"})
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
def test_a_key_that_is_off_is_named(key: str, value: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate_block("here", {"model": "a/b", key: value}, adapter.config)
    assert sentence in caught.value.message
    assert f"backends.here.{key}" in caught.value.message

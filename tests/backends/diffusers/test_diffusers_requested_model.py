"""A request may name another model than the block: found by name, path or Hub id."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.diffusers_model_files import (
    LORA_SD1,
    open_diffusers,
    write_flux_file,
    write_pipeline_folder,
    write_sd1_file,
)
from support.model_file_samples import SD1, VAE, safetensors, write_file

from imagen.core.request import Request
from imagen.errors import RequestError

if TYPE_CHECKING:
    from imagen.backends.diffusers import Diffusers
    from imagen.core.ticket import Ticket

SDXL = {
    name: (*shape[:-1], 2048) if "attn2" in name else shape for name, shape in (SD1 | VAE).items()
}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with a whole SDXL, another SD 1, a diffusers folder and a LoRA."""
    place = tmp_path / "models"
    (place / "xl").mkdir(parents=True)
    write_file(place / "xl" / "juggernaut.safetensors", safetensors(SDXL))
    write_file(place / "photon.safetensors", safetensors(SD1 | VAE))
    write_pipeline_folder(place / "sd3", "StableDiffusion3Pipeline")
    (place / "loras").mkdir()
    write_file(place / "loras" / "ink.safetensors", safetensors(dict([LORA_SD1])))
    return place


@pytest.fixture
def backend(models: Path, tmp_path: Path) -> Diffusers:
    return open_diffusers(write_sd1_file(tmp_path), models_dir=models)


def _ticket(backend: Diffusers, **asked: Any) -> Ticket:
    return backend.prepare(Request.of({"prompt": "a fox", **asked}))


def _refusal(backend: Diffusers, model: str) -> RequestError:
    with pytest.raises(RequestError) as caught:
        _ticket(backend, model=model)
    return caught.value


def test_model_in_models_dir_is_found_by_part_of_its_name(backend: Diffusers) -> None:
    ticket = _ticket(backend, model="jugger")
    fate = ticket.receipt["model"]
    assert (fate.outcome, fate.used) == ("mapped", "xl/juggernaut.safetensors")
    assert ticket.request.model == "xl/juggernaut.safetensors"
    assert ticket.payload["model"] == "juggernaut.safetensors"


def test_model_of_another_family_uses_its_pipeline_and_defaults(backend: Diffusers) -> None:
    ticket = _ticket(backend, model="juggernaut")
    assert ticket.payload["pipeline"] == "StableDiffusionXLPipeline"
    assert (ticket.request.width, ticket.request.steps) == (1024, 30)
    assert backend.capabilities("text-to-image", "juggernaut").parameters["width"].default == 1024


def test_part_of_a_name_keeps_its_meaning_while_the_backend_is_open(
    backend: Diffusers, models: Path
) -> None:
    backend.capabilities("text-to-image", "jugg")
    write_file(models / "juggling.safetensors", safetensors(SD1 | VAE))
    assert _ticket(backend, model="jugg").request.model == "xl/juggernaut.safetensors"


@pytest.mark.parametrize("model", ["sd3", "stabilityai/stable-diffusion-3-medium"])
def test_folder_and_hub_model_can_be_requested(backend: Diffusers, model: str) -> None:
    ticket = _ticket(backend, model=model)
    assert (ticket.payload["family"], ticket.receipt["model"].outcome) == ("sd3", "applied")


def test_folder_and_file_name_is_not_taken_for_a_hub_id(
    backend: Diffusers,
) -> None:
    assert _ticket(backend, model="xl/juggernaut").request.model == "xl/juggernaut.safetensors"


def test_model_can_be_requested_by_path(backend: Diffusers, tmp_path: Path) -> None:
    path = str(write_file(tmp_path / "mine.safetensors", safetensors(SDXL)))
    ticket = _ticket(backend, model=path)
    assert (ticket.request.model, ticket.receipt["model"].outcome) == (path, "applied")


def test_model_can_be_requested_by_home_path(backend: Diffusers) -> None:
    write_file(Path(os.environ["HOME"]) / "mine.safetensors", safetensors(SDXL))
    assert _ticket(backend, model="~/mine.safetensors").payload["family"] == "sdxl"


def test_own_model_can_be_requested_by_file_name(backend: Diffusers) -> None:
    ticket = _ticket(backend, model="dream.safetensors")
    assert (ticket.payload["model"], ticket.warnings) == ("dream.safetensors", ())


def test_model_name_in_the_ticket_resolves_again(backend: Diffusers) -> None:
    used = _ticket(backend, model="jugger").request.model
    assert _ticket(backend, model=used).receipt["model"].outcome == "applied"


def test_missing_model_is_refused_with_a_suggestion(backend: Diffusers) -> None:
    refusal = _refusal(backend, "photom.safetensors")
    assert "Model 'photom.safetensors' not found in " in refusal.message
    assert " (4 models). Did you mean 'photon" in refusal.message
    assert "imagen models --backend here" in refusal.remedy


def test_lora_requested_as_model_is_refused(backend: Diffusers) -> None:
    assert "ink.safetensors: expected a model, got a lora." in (_refusal(backend, "ink").message)


def test_model_name_cannot_leave_models_dir(backend: Diffusers, tmp_path: Path) -> None:
    write_file(tmp_path / "secret.safetensors", safetensors(SDXL))
    refusal = _refusal(backend, "xl/../../secret.safetensors")
    assert "not found" in refusal.message


def test_diffusion_model_without_config_dir_is_refused(backend: Diffusers, models: Path) -> None:
    write_flux_file(models)
    refusal = _refusal(backend, "flux")
    assert refusal.message == (
        "model: flux.safetensors holds only the diffusion model, without text encoders and VAE."
    )


def test_block_parameters_are_ignored_for_another_family(models: Path, tmp_path: Path) -> None:
    backend = open_diffusers(write_sd1_file(tmp_path), models_dir=models, parameters={"steps": 9})
    ticket = _ticket(backend, model="juggernaut")
    assert ticket.request.steps == 30
    assert ticket.warnings == (
        "Ignored for this model: parameters in backends.here, set for its own model.",
    )


def test_block_parameters_apply_to_another_model_of_the_family(
    models: Path, tmp_path: Path
) -> None:
    backend = open_diffusers(write_sd1_file(tmp_path), models_dir=models, parameters={"steps": 9})
    ticket = _ticket(backend, model="photon")
    assert (ticket.request.steps, ticket.warnings) == (9, ())


def test_models_lists_models_dir_and_marks_the_default(
    backend: Diffusers,
) -> None:
    found = [(m.name, m.family, m.is_default) for m in backend.models() if m.kind == "checkpoint"]
    assert found == [
        ("dream.safetensors", "sd1", True),
        ("photon.safetensors", "sd1", False),
        ("sd3", "sd3", False),
        ("xl/juggernaut.safetensors", "sdxl", False),
    ]


def test_loras_dir_defaults_to_loras_in_models_dir(backend: Diffusers) -> None:
    ticket = _ticket(backend, loras=[{"name": "ink"}])
    assert ticket.payload["loras"] == ["ink.safetensors"]
    assert ("lora", "ink") in [(model.kind, model.name) for model in backend.models()]

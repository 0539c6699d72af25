"""The model that a request names, on a diffusers backend; nothing of torch is there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.diffusers_model_files import LORA_SD1, flux_file, folder, opened, sd1_file
from support.weight_files import SD1, VAE, safetensors, written

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
    written(place / "xl" / "juggernaut.safetensors", safetensors(SDXL))
    written(place / "photon.safetensors", safetensors(SD1 | VAE))
    folder(place / "sd3", "StableDiffusion3Pipeline")
    (place / "loras").mkdir()
    written(place / "loras" / "ink.safetensors", safetensors(dict([LORA_SD1])))
    return place


@pytest.fixture
def backend(models: Path, tmp_path: Path) -> Diffusers:
    return opened(sd1_file(tmp_path), models_dir=models)


def _ticket(backend: Diffusers, **asked: Any) -> Ticket:
    return backend.prepare(Request.of({"prompt": "a fox", **asked}))


def _refusal(backend: Diffusers, model: str) -> RequestError:
    with pytest.raises(RequestError) as caught:
        _ticket(backend, model=model)
    return caught.value


def test_a_model_of_the_folder_is_found_by_a_part_of_its_name(backend: Diffusers) -> None:
    ticket = _ticket(backend, model="jugger")
    fate = ticket.receipt["model"]
    assert (fate.outcome, fate.used) == ("mapped", "xl/juggernaut.safetensors")
    assert ticket.request.model == "xl/juggernaut.safetensors"
    assert ticket.payload["model"] == "juggernaut.safetensors"


def test_another_family_brings_its_own_pipeline_and_defaults(backend: Diffusers) -> None:
    ticket = _ticket(backend, model="juggernaut")
    assert ticket.payload["pipeline"] == "StableDiffusionXLPipeline"
    assert (ticket.request.width, ticket.request.steps) == (1024, 30)
    assert backend.capabilities("text-to-image", "juggernaut").parameters["width"].default == 1024


def test_a_part_of_a_name_means_one_model_as_long_as_the_backend_is_open(
    backend: Diffusers, models: Path
) -> None:
    backend.capabilities("text-to-image", "jugg")
    written(models / "juggling.safetensors", safetensors(SD1 | VAE))
    assert _ticket(backend, model="jugg").request.model == "xl/juggernaut.safetensors"


@pytest.mark.parametrize("model", ["sd3", "stabilityai/stable-diffusion-3-medium"])
def test_a_folder_and_a_model_of_the_hub_may_be_named(backend: Diffusers, model: str) -> None:
    ticket = _ticket(backend, model=model)
    assert (ticket.payload["family"], ticket.receipt["model"].outcome) == ("sd3", "applied")


def test_a_folder_and_a_file_in_it_are_not_taken_for_a_model_of_the_hub(
    backend: Diffusers,
) -> None:
    assert _ticket(backend, model="xl/juggernaut").request.model == "xl/juggernaut.safetensors"


def test_a_path_may_be_named(backend: Diffusers, tmp_path: Path) -> None:
    path = str(written(tmp_path / "mine.safetensors", safetensors(SDXL)))
    ticket = _ticket(backend, model=path)
    assert (ticket.request.model, ticket.receipt["model"].outcome) == (path, "applied")


def test_a_path_from_home_may_be_named(backend: Diffusers) -> None:
    written(Path(os.environ["HOME"]) / "mine.safetensors", safetensors(SDXL))
    assert _ticket(backend, model="~/mine.safetensors").payload["family"] == "sdxl"


def test_the_blocks_own_model_may_be_named(backend: Diffusers) -> None:
    ticket = _ticket(backend, model="dream.safetensors")
    assert (ticket.payload["model"], ticket.warnings) == ("dream.safetensors", ())


def test_the_name_in_the_ticket_finds_the_model_again(backend: Diffusers) -> None:
    used = _ticket(backend, model="jugger").request.model
    assert _ticket(backend, model=used).receipt["model"].outcome == "applied"


def test_a_model_that_is_not_there_is_refused_with_the_nearest(backend: Diffusers) -> None:
    refusal = _refusal(backend, "photom.safetensors")
    assert "There is no model 'photom.safetensors' in " in refusal.message
    assert "which lists 4 models. Did you mean 'photon" in refusal.message
    assert "imagen models --backend here" in refusal.remedy


def test_a_file_that_is_not_a_model_is_refused(backend: Diffusers) -> None:
    assert "ink.safetensors is a lora, where a model was expected" in (
        _refusal(backend, "ink").message
    )


def test_a_name_does_not_leave_the_folder(backend: Diffusers, tmp_path: Path) -> None:
    written(tmp_path / "secret.safetensors", safetensors(SDXL))
    refusal = _refusal(backend, "xl/../../secret.safetensors")
    assert "There is no model" in refusal.message


def test_a_diffusion_model_alone_needs_the_parts_of_its_family(
    backend: Diffusers, models: Path
) -> None:
    flux_file(models)
    refusal = _refusal(backend, "flux")
    assert refusal.message == (
        "model: flux.safetensors holds the diffusion model alone, without its text encoders and "
        "VAE."
    )


def test_what_belongs_to_the_blocks_own_family_is_left_out_for_another(
    models: Path, tmp_path: Path
) -> None:
    backend = opened(sd1_file(tmp_path), models_dir=models, parameters={"steps": 9})
    ticket = _ticket(backend, model="juggernaut")
    assert ticket.request.steps == 30
    assert ticket.warnings == (
        "Ignored for this model: parameters in backends.here, set for its own model.",
    )


def test_what_belongs_to_the_blocks_own_family_holds_for_a_model_of_the_same(
    models: Path, tmp_path: Path
) -> None:
    backend = opened(sd1_file(tmp_path), models_dir=models, parameters={"steps": 9})
    ticket = _ticket(backend, model="photon")
    assert (ticket.request.steps, ticket.warnings) == (9, ())


def test_the_models_of_the_folder_are_listed_and_the_default_is_marked(
    backend: Diffusers,
) -> None:
    found = [(m.name, m.family, m.is_default) for m in backend.models() if m.kind == "checkpoint"]
    assert found == [
        ("dream.safetensors", "sd1", True),
        ("photon.safetensors", "sd1", False),
        ("sd3", "sd3", False),
        ("xl/juggernaut.safetensors", "sdxl", False),
    ]


def test_loras_are_looked_for_in_the_folder_of_models_by_default(backend: Diffusers) -> None:
    ticket = _ticket(backend, loras=[{"name": "ink"}])
    assert ticket.payload["loras"] == ["ink.safetensors"]
    assert ("lora", "ink") in [(model.kind, model.name) for model in backend.models()]

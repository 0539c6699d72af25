"""A request may name another model on a stable-diffusion.cpp backend."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from support.model_file_samples import SD1, VAE, safetensors, write_file
from support.sdcpp_setup import LORA, SMALL_IMAGE, SdCppSetup

from imagen.core.request import Request
from imagen.errors import RequestError

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.core.ticket import Ticket

SDXL = {
    name: (*shape[:-1], 2048) if "attn2" in name else shape for name, shape in (SD1 | VAE).items()
}
FLUX = {"vector_in.in_layer.weight": (1, 768), "img_in.weight": (1, 64)}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with an SDXL, an SD 1 and the diffusion model of a FLUX.1 alone."""
    place = tmp_path / "models"
    (place / "xl").mkdir(parents=True)
    write_file(place / "xl" / "juggernaut.safetensors", safetensors(SDXL))
    write_file(place / "photon.safetensors", safetensors(SD1 | VAE))
    write_file(place / "flux.safetensors", safetensors(FLUX))
    return place


@pytest.fixture
def setup(tmp_path: Path) -> SdCppSetup:
    return SdCppSetup(tmp_path)


def _prepare(setup: SdCppSetup, models: Path, model: str, **block: Any) -> Ticket:
    request = Request(prompt="a fox").with_values(SMALL_IMAGE | {"model": model})
    with closing(setup.open(models_dir=str(models), **block)) as engine:
        return engine.prepare(request)


def test_sd_cli_gets_the_requested_model(setup: SdCppSetup, models: Path) -> None:
    made = setup.generate(asked={"model": "juggernaut"}, models_dir=str(models))
    arguments = setup.last_arguments()
    path = models / "xl" / "juggernaut.safetensors"
    assert arguments[arguments.index("--model") + 1] == str(path)
    assert made.result.facts.model == "juggernaut.safetensors"
    fate = made.ticket.receipt["model"]
    assert (fate.outcome, fate.used) == ("mapped", "xl/juggernaut.safetensors")


def test_a_model_of_another_family_has_its_own_defaults(setup: SdCppSetup, models: Path) -> None:
    with closing(setup.open(models_dir=str(models))) as engine:
        known = engine.capabilities("text-to-image", "juggernaut").parameters
        assert (engine.capabilities().parameters["width"].default, known["width"].default) == (
            512,
            1024,
        )


def test_a_partial_name_means_the_same_model_while_the_backend_is_open(
    setup: SdCppSetup, models: Path
) -> None:
    request = Request(prompt="a fox").with_values(SMALL_IMAGE | {"model": "jugg"})
    with closing(setup.open(models_dir=str(models))) as engine:
        engine.capabilities("text-to-image", "jugg")
        write_file(models / "juggling.safetensors", safetensors(SD1 | VAE))
        assert engine.prepare(request).request.model == "xl/juggernaut.safetensors"


def test_a_request_may_name_a_path(setup: SdCppSetup, models: Path, tmp_path: Path) -> None:
    path = str(write_file(tmp_path / "mine.safetensors", safetensors(SDXL)))
    ticket = _prepare(setup, models, path)
    assert (ticket.request.model, ticket.receipt["model"].outcome) == (path, "applied")


def test_a_request_may_name_the_blocks_own_model(setup: SdCppSetup, models: Path) -> None:
    ticket = _prepare(setup, models, "sd15.safetensors", parameters={"steps": 9})
    assert (ticket.receipt["model"].outcome, ticket.warnings) == ("applied", ())


def test_text_encoders_and_vae_are_left_out_for_another_family(
    setup: SdCppSetup, models: Path
) -> None:
    block = {"taesd": setup.write_taesd()}
    ticket = _prepare(setup, models, "juggernaut", **block)
    assert ticket.warnings == (
        "Ignored for this model: taesd in backends.rigged, set for its own model.",
    )
    setup.generate(asked={"model": "juggernaut"}, models_dir=str(models), **block)
    assert "--taesd" not in setup.last_arguments()


def test_text_encoders_and_vae_stay_for_the_same_family(setup: SdCppSetup, models: Path) -> None:
    setup.generate(asked={"model": "photon"}, models_dir=str(models), taesd=setup.write_taesd())
    assert "--taesd" in setup.last_arguments()


def test_a_diffusion_model_without_the_files_it_needs_is_refused(
    setup: SdCppSetup, models: Path
) -> None:
    with pytest.raises(RequestError) as caught:
        _prepare(setup, models, "flux")
    assert caught.value.message == (
        "model: flux.safetensors is a flux1 diffusion model, which also needs vae and clip_l and "
        "t5xxl."
    )


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("photom", "Model 'photom' not found in "),
        ("ink", "model: ink.safetensors is a LoRA, not a model."),
        ("cut", "cut.safetensors is incomplete"),
    ],
)
def test_a_file_that_cannot_be_the_model_is_refused(
    setup: SdCppSetup, models: Path, model: str, sentence: str
) -> None:
    write_file(models / "ink.safetensors", safetensors(dict(LORA)))
    write_file(models / "cut.safetensors", safetensors(SDXL)[:-1])
    with pytest.raises(RequestError) as caught:
        _prepare(setup, models, model)
    assert sentence in caught.value.message


def test_models_lists_the_folder_and_marks_the_default(setup: SdCppSetup, models: Path) -> None:
    with closing(setup.open(models_dir=str(models))) as engine:
        found = [(m.kind, m.name, m.is_default) for m in engine.models() if "model" in m.kind]
        whole = [(m.name, m.is_default) for m in engine.models() if m.kind == "checkpoint"]
    assert found == [("diffusion_model", "flux.safetensors", False)]
    assert whole == [
        ("sd15.safetensors", True),
        ("photon.safetensors", False),
        ("xl/juggernaut.safetensors", False),
    ]


def test_loras_are_searched_in_models_dir_by_default(setup: SdCppSetup, models: Path) -> None:
    (models / "loras").mkdir()
    write_file(models / "loras" / "ink.safetensors", safetensors(dict(LORA)))
    setup.generate(asked={"loras": [{"name": "ink"}]}, models_dir=str(models))
    arguments = setup.last_arguments()
    assert arguments[arguments.index("--lora-model-dir") + 1] == str(models / "loras")


def test_a_server_drops_a_requested_model_with_the_reason(setup: SdCppSetup) -> None:
    block: dict[str, Any] = {"model": None, "binary": None, "url": "http://127.0.0.1:9"}
    with closing(setup.open(**block)) as engine:
        ticket = engine.prepare(Request(prompt="a fox", model="photon"))
    assert ticket.receipt["model"].why == "sd-server keeps the model that it was started with"


def test_an_upscale_drops_the_model(setup: SdCppSetup, models: Path) -> None:
    with closing(setup.open(models_dir=str(models), upscale_models=[str(models)])) as engine:
        reason = engine.capabilities("upscale").without["model"]
    assert reason == "upscaling does not use it"

"""The model that a request names, on a stable-diffusion.cpp backend."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from support.sdcpp_rig import LORA, PICTURE, Bench
from support.weight_files import SD1, VAE, safetensors, write_file

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
    """A folder with a whole SDXL, another SD 1 and the diffusion model of a FLUX.1 alone."""
    place = tmp_path / "models"
    (place / "xl").mkdir(parents=True)
    write_file(place / "xl" / "juggernaut.safetensors", safetensors(SDXL))
    write_file(place / "photon.safetensors", safetensors(SD1 | VAE))
    write_file(place / "flux.safetensors", safetensors(FLUX))
    return place


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def _prepared(bench: Bench, models: Path, model: str, **block: Any) -> Ticket:
    request = Request(prompt="a fox").with_values(PICTURE | {"model": model})
    with closing(bench.open(models_dir=str(models), **block)) as engine:
        return engine.prepare(request)


def test_the_program_is_given_the_model_that_was_asked_for(bench: Bench, models: Path) -> None:
    made = bench.made(asked={"model": "juggernaut"}, models_dir=str(models))
    arguments = bench.arguments()
    path = models / "xl" / "juggernaut.safetensors"
    assert arguments[arguments.index("--model") + 1] == str(path)
    assert made.result.facts.model == "juggernaut.safetensors"
    fate = made.ticket.receipt["model"]
    assert (fate.outcome, fate.used) == ("mapped", "xl/juggernaut.safetensors")


def test_another_family_brings_its_own_defaults(bench: Bench, models: Path) -> None:
    with closing(bench.open(models_dir=str(models))) as engine:
        known = engine.capabilities("text-to-image", "juggernaut").parameters
        assert (engine.capabilities().parameters["width"].default, known["width"].default) == (
            512,
            1024,
        )


def test_a_part_of_a_name_means_one_model_as_long_as_the_backend_is_open(
    bench: Bench, models: Path
) -> None:
    request = Request(prompt="a fox").with_values(PICTURE | {"model": "jugg"})
    with closing(bench.open(models_dir=str(models))) as engine:
        engine.capabilities("text-to-image", "jugg")
        write_file(models / "juggling.safetensors", safetensors(SD1 | VAE))
        assert engine.prepare(request).request.model == "xl/juggernaut.safetensors"


def test_a_path_may_be_named(bench: Bench, models: Path, tmp_path: Path) -> None:
    path = str(write_file(tmp_path / "mine.safetensors", safetensors(SDXL)))
    ticket = _prepared(bench, models, path)
    assert (ticket.request.model, ticket.receipt["model"].outcome) == (path, "applied")


def test_the_blocks_own_model_may_be_named(bench: Bench, models: Path) -> None:
    ticket = _prepared(bench, models, "sd15.safetensors", parameters={"steps": 9})
    assert (ticket.receipt["model"].outcome, ticket.warnings) == ("applied", ())


def test_companions_are_left_out_for_another_family(bench: Bench, models: Path) -> None:
    block = {"taesd": bench.taesd()}
    ticket = _prepared(bench, models, "juggernaut", **block)
    assert ticket.warnings == (
        "Ignored for this model: taesd in backends.rigged, set for its own model.",
    )
    bench.made(asked={"model": "juggernaut"}, models_dir=str(models), **block)
    assert "--taesd" not in bench.arguments()


def test_companions_stay_for_a_model_of_the_same_family(bench: Bench, models: Path) -> None:
    bench.made(asked={"model": "photon"}, models_dir=str(models), taesd=bench.taesd())
    assert "--taesd" in bench.arguments()


def test_a_diffusion_model_without_its_companions_is_refused(bench: Bench, models: Path) -> None:
    with pytest.raises(RequestError) as caught:
        _prepared(bench, models, "flux")
    assert caught.value.message == (
        "model: flux.safetensors is a flux1 diffusion model, which also needs vae and clip_l and "
        "t5xxl."
    )


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("photom", "There is no model 'photom' in "),
        ("ink", "model: ink.safetensors is a LoRA, not a model."),
        ("cut", "cut.safetensors is incomplete"),
    ],
)
def test_what_cannot_be_the_model_is_refused(
    bench: Bench, models: Path, model: str, sentence: str
) -> None:
    write_file(models / "ink.safetensors", safetensors(dict(LORA)))
    write_file(models / "cut.safetensors", safetensors(SDXL)[:-1])
    with pytest.raises(RequestError) as caught:
        _prepared(bench, models, model)
    assert sentence in caught.value.message


def test_models_of_the_folder_are_listed_and_the_default_is_marked(
    bench: Bench, models: Path
) -> None:
    with closing(bench.open(models_dir=str(models))) as engine:
        found = [(m.kind, m.name, m.is_default) for m in engine.models() if "model" in m.kind]
        whole = [(m.name, m.is_default) for m in engine.models() if m.kind == "checkpoint"]
    assert found == [("diffusion_model", "flux.safetensors", False)]
    assert whole == [
        ("sd15.safetensors", True),
        ("photon.safetensors", False),
        ("xl/juggernaut.safetensors", False),
    ]


def test_loras_are_looked_for_in_the_folder_of_models_by_default(
    bench: Bench, models: Path
) -> None:
    (models / "loras").mkdir()
    write_file(models / "loras" / "ink.safetensors", safetensors(dict(LORA)))
    bench.made(asked={"loras": [{"name": "ink"}]}, models_dir=str(models))
    arguments = bench.arguments()
    assert arguments[arguments.index("--lora-model-dir") + 1] == str(models / "loras")


def test_a_server_drops_the_model_with_the_reason(bench: Bench) -> None:
    block: dict[str, Any] = {"model": None, "binary": None, "url": "http://127.0.0.1:9"}
    with closing(bench.open(**block)) as engine:
        ticket = engine.prepare(Request(prompt="a fox", model="photon"))
    assert ticket.receipt["model"].why == "sd-server keeps the model that it was started with"


def test_enlarging_drops_the_model(bench: Bench, models: Path) -> None:
    with closing(bench.open(models_dir=str(models), upscale_models=[str(models)])) as engine:
        reason = engine.capabilities("upscale").without["model"]
    assert reason == "upscaling does not use it"

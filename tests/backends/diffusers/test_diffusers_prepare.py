"""Requests are resolved and checked before torch is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.diffusers_model_files import (
    LORA_SD1,
    LORA_SDXL,
    open_diffusers,
    write_flux_file,
    write_pipeline_folder,
    write_sd1_file,
)
from support.model_file_samples import VAE, safetensors, write_file

from imagen.core.request import Request
from imagen.errors import ConfigError, RequestError

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.backends.diffusers import Diffusers
    from imagen.core.ticket import Ticket


@pytest.fixture
def sd1(tmp_path: Path) -> Diffusers:
    return open_diffusers(write_sd1_file(tmp_path))


@pytest.fixture
def flux(tmp_path: Path) -> Diffusers:
    return open_diffusers(write_flux_file(tmp_path))


def _ticket(backend: Diffusers, **asked: Any) -> Ticket:
    return backend.prepare(Request.of({"prompt": "a fox", **asked}))


def _refusal(backend: Diffusers, **asked: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        _ticket(backend, **asked)
    return caught.value


def _outcome(backend: Diffusers, name: str, **asked: Any) -> tuple[str, Any, str]:
    fate = _ticket(backend, **asked).receipt[name]
    return fate.outcome, fate.used, fate.why


def test_unset_parameters_take_the_defaults_of_the_family(sd1: Diffusers) -> None:
    used = _ticket(sd1).request
    assert (used.width, used.height, used.steps, used.cfg) == (512, 512, 25, 7.5)
    assert (used.sampler, used.scheduler, used.count) == ("default", "normal", 1)


def test_ticket_payload_names_pipeline_and_scheduler_without_paths(sd1: Diffusers) -> None:
    ticket = _ticket(sd1, sampler="dpmpp_2m", scheduler="karras", image="a.png")
    assert ticket.payload == {
        "model": "dream.safetensors",
        "family": "sd1",
        "variant": "",
        "pipeline": "StableDiffusionImg2ImgPipeline",
        "scheduler": "DPMSolverMultistepScheduler",
        "scheduler_options": {
            "algorithm_type": "dpmsolver++",
            "solver_order": 2,
            "use_karras_sigmas": True,
            "use_exponential_sigmas": False,
            "use_beta_sigmas": False,
        },
        "loras": [],
    }


def test_preparing_a_prepared_request_changes_nothing(sd1: Diffusers) -> None:
    ticket = _ticket(sd1, sampler="euler_ancestral", width=510, cfg=1.0, negative="rain")
    assert sd1.prepare(ticket.request).request == ticket.request


def test_block_parameters_replace_the_family_defaults(tmp_path: Path) -> None:
    mine = {"steps": 9, "sampler": "euler_ancestral", "strength": 0.3}
    used = _ticket(open_diffusers(write_sd1_file(tmp_path), parameters=mine)).request
    assert (used.steps, used.sampler, used.strength) == (9, "euler_a", None)


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"stepps": 9}, "backends.here.parameters.stepps: unknown parameter. Did you"),
        ({"steps": "many"}, "backends.here.parameters.steps: steps must be a whole number"),
        ({"sampler": "eular"}, "backends.here.parameters.sampler: sampler cannot be 'eular'. Did"),
    ],
)
def test_invalid_block_parameters_are_refused(
    parameters: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        open_diffusers(write_sd1_file(tmp_path), parameters=parameters).capabilities()
    assert caught.value.message.startswith(sentence)


def test_sizes_are_rounded_to_a_multiple_of_the_family(sd1: Diffusers, flux: Diffusers) -> None:
    assert _outcome(sd1, "width", width=510) == (
        "clamped",
        512,
        "at least 16, at most 4096, a multiple of 8",
    )
    assert _outcome(flux, "height", height=1000)[:2] == ("clamped", 1008)


def test_sampler_names_of_other_tools_are_mapped(sd1: Diffusers) -> None:
    here, near = "its name here", "the nearest that this backend has"
    assert _outcome(sd1, "sampler", sampler="euler_ancestral") == ("mapped", "euler_a", here)
    assert _outcome(sd1, "sampler", sampler="Euler a") == ("mapped", "euler_a", here)
    assert _outcome(sd1, "sampler", sampler="PNDMScheduler") == ("mapped", "pndm", here)
    assert _outcome(sd1, "scheduler", scheduler="simple") == ("mapped", "normal", near)
    assert _outcome(sd1, "sampler", sampler="euler")[0] == "applied"


def test_flow_matching_models_refuse_other_samplers(flux: Diffusers) -> None:
    assert (
        "does not work with this flow-matching model"
        in _refusal(flux, sampler="dpmpp_2m_karras").message
    )
    assert _refusal(flux, sampler="heun").message == (
        "sampler 'heun' does not work with this flow-matching model."
    )
    assert _refusal(flux, scheduler="karras").message == "scheduler cannot be 'karras'."
    assert _ticket(flux, sampler="euler").payload["scheduler"] == "FlowMatchEulerDiscreteScheduler"


def test_misspelled_sampler_gets_a_suggestion(sd1: Diffusers) -> None:
    assert _refusal(sd1, sampler="dpmp_2m").message.endswith("Did you mean 'dpmpp_2m'?")


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (
            {"sampler": "euler_a", "scheduler": "karras"},
            "scheduler 'karras' cannot be combined with sampler 'euler_a'.",
        ),
        (
            {"scheduler": "karras"},
            "scheduler 'karras' cannot be combined with the model's own sampler.",
        ),
    ],
)
def test_sampler_and_schedule_that_cannot_be_combined_are_refused(
    asked: dict[str, str], sentence: str, sd1: Diffusers
) -> None:
    assert _refusal(sd1, **asked).message == sentence


def test_sampler_name_may_include_the_schedule(sd1: Diffusers) -> None:
    apart = _ticket(sd1, sampler="dpmpp_2m", scheduler="karras")
    together = _ticket(sd1, sampler="DPM++ 2M Karras")
    assert together.payload == apart.payload
    assert (together.request.sampler, together.request.scheduler) == ("dpmpp_2m", "karras")


def test_explicit_schedule_wins_over_the_one_in_the_sampler_name(
    sd1: Diffusers,
) -> None:
    asked = {"sampler": "euler_karras", "scheduler": "exponential"}
    assert _ticket(sd1, **asked).request.scheduler == "exponential"
    why = "the request also has scheduler 'exponential'"
    assert _outcome(sd1, "sampler", **asked) == ("clamped", "euler", why)


@pytest.mark.parametrize(
    ("asked", "sentence", "remedy"),
    [
        (
            {"sampler": "lms"},
            "sampler 'lms' needs the Python package 'scipy', which is not installed.",
            "Install it with: pip install scipy",
        ),
        (
            {"sampler": "dpmpp_sde_gpu"},
            "sampler 'dpmpp_sde' needs the Python package 'torchsde', which is not installed.",
            "Install it with: pip install torchsde",
        ),
        (
            {"sampler": "euler", "scheduler": "beta"},
            "scheduler 'beta' needs the Python package 'scipy', which is not installed.",
            "Install it with: pip install scipy",
        ),
    ],
)
def test_sampler_that_needs_a_missing_package_names_it(
    asked: dict[str, str],
    sentence: str,
    remedy: str,
    sd1: Diffusers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.path", [])
    refusal = _refusal(sd1, **asked)
    assert (refusal.message, refusal.remedy) == (sentence, remedy)


def test_negative_prompt_is_dropped_without_cfg(flux: Diffusers) -> None:
    idle = ("dropped", None, "it needs a cfg above 1")
    assert _outcome(flux, "negative", negative="rain") == idle
    assert _outcome(flux, "negative", negative="rain", cfg=3.0)[0] == "applied"
    assert _ticket(flux, negative="rain").request.negative is None


def test_guidance_is_dropped_for_schnell_and_applied_for_dev(
    flux: Diffusers, tmp_path: Path
) -> None:
    why = "this model has no distilled guidance"
    assert _outcome(flux, "guidance", guidance=3.5) == ("dropped", None, why)
    dev = write_pipeline_folder(
        tmp_path / "dev", "FluxPipeline", transformer={"guidance_embeds": True}
    )
    assert _outcome(open_diffusers(dev), "guidance", guidance=5)[0] == "applied"
    assert _ticket(open_diffusers(dev)).request.guidance == 3.5


def test_second_prompt_is_dropped_for_a_model_with_one_text_encoder(sd1: Diffusers) -> None:
    why = "this model has one text encoder"
    assert _outcome(sd1, "prompt_2", prompt_2="an owl") == ("dropped", None, why)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"steps": 4, "strength": 0.1}, "strength 0.1 of 4 steps is less than one step."),
        (
            {"strength": 0},
            "strength 0 leaves nothing to do for image-to-image: use more than 0.",
        ),
    ],
)
def test_strength_below_one_step_is_refused(
    asked: dict[str, Any], sentence: str, sd1: Diffusers
) -> None:
    assert _refusal(sd1, image="a.png", **asked).message == sentence


def test_strength_below_one_step_names_the_least_steps(sd1: Diffusers) -> None:
    refusal = _refusal(sd1, image="a.png", steps=4, strength=0.1)
    assert refusal.remedy == "Use at least 10 steps, or more strength."
    assert _ticket(sd1, image="a.png", steps=10, strength=0.1).request.steps == 10


def test_inpainting_model_supports_only_inpaint_tasks(tmp_path: Path) -> None:
    place = write_pipeline_folder(
        tmp_path / "m", "StableDiffusionInpaintPipeline", unet={"in_channels": 9}
    )
    backend = open_diffusers(place)
    assert backend.capabilities().tasks == ("inpaint", "outpaint")
    assert _refusal(backend).message == "This backend cannot do text-to-image."
    ticket = _ticket(backend, image="a.png", mask="b.png")
    assert ticket.payload["pipeline"] == "StableDiffusionInpaintPipeline"


def test_flux_fill_uses_its_own_pipeline_without_cfg(tmp_path: Path) -> None:
    parts = {"transformer": {"guidance_embeds": True, "in_channels": 384}}
    backend = open_diffusers(write_pipeline_folder(tmp_path / "fill", "FluxFillPipeline", **parts))
    ticket = _ticket(backend, image="a.png", mask="b.png", cfg=4.0, negative="rain")
    assert ticket.payload["pipeline"] == "FluxFillPipeline"
    assert (ticket.receipt["cfg"].outcome, ticket.receipt["negative"].outcome) == ("dropped",) * 2
    assert ticket.request.guidance == 30.0


def test_klein_edits_and_refuses_variations(tmp_path: Path) -> None:
    backend = open_diffusers(write_pipeline_folder(tmp_path / "klein", "Flux2KleinPipeline"))
    assert backend.capabilities().tasks == ("text-to-image", "inpaint", "outpaint", "edit")
    edited = _ticket(backend, references=["a.png"], cfg=5.0, negative="rain")
    assert edited.request.references == ("a.png",)
    assert (edited.receipt["cfg"].outcome, edited.receipt["negative"].outcome) == (
        "applied",
        "dropped",
    )
    refusal = _refusal(backend, variation_seed=1, variation_strength=0.5)
    assert refusal.message == "This backend cannot do variation."
    assert _refusal(backend, image="a.png").message == "This backend cannot do image-to-image."


def test_control_task_needs_configured_controlnets(sd1: Diffusers, tmp_path: Path) -> None:
    canny = {"kind": "canny", "image": "lines.png"}
    assert "control" not in sd1.capabilities().tasks
    assert _refusal(sd1, controls=[canny]).message == "This backend cannot do control."
    backend = open_diffusers(write_sd1_file(tmp_path), controlnets={"canny": "a/b", "pose": "c/d"})
    assert backend.capabilities("control").controls == ("canny", "pose")
    assert _ticket(backend, controls=[canny]).payload["pipeline"].endswith("ControlNetPipeline")
    steered = _ticket(backend, controls=[canny], image="a.png", mask="b.png")
    assert steered.payload["pipeline"] == "StableDiffusionControlNetInpaintPipeline"


def test_controls_with_an_image_are_dropped_without_controlnets(sd1: Diffusers) -> None:
    canny = {"kind": "canny", "image": "lines.png"}
    why = "no `controlnets` are configured"
    assert _outcome(sd1, "controls", image="a.png", controls=[canny]) == ("dropped", None, why)


@pytest.mark.parametrize(
    ("control", "sentence"),
    [
        ({"kind": "cany"}, "Unknown control 'cany'. Did you mean 'canny'?"),
        (
            {"kind": "canny", "preprocess": True},
            "This backend cannot make a canny control image.",
        ),
    ],
)
def test_unsupported_control_is_refused(
    control: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    backend = open_diffusers(write_sd1_file(tmp_path), controlnets={"canny": "a/b"})
    assert _refusal(backend, controls=[{"image": "l.png", **control}]).message == sentence


def test_flux_with_control_and_image_drops_cfg(tmp_path: Path) -> None:
    backend = open_diffusers(write_flux_file(tmp_path), controlnets={"canny": "a/b"})
    canny = {"kind": "canny", "image": "lines.png"}
    why = "diffusers does not support it for this model with an initial image"
    fate = _outcome(backend, "negative", image="a.png", controls=[canny], cfg=3.0, negative="rain")
    assert fate == ("dropped", None, why)
    assert _outcome(backend, "cfg", controls=[canny], cfg=3.0)[0] == "applied"


def test_loras_are_found_by_name_and_by_path(tmp_path: Path) -> None:
    loras_dir = tmp_path / "loras"
    (loras_dir / "old").mkdir(parents=True)
    ink = write_file(loras_dir / "ink.safetensors", safetensors(dict([LORA_SD1])))
    wax = write_file(loras_dir / "old" / "wax.safetensors", safetensors(dict([LORA_SD1])))
    backend = open_diffusers(write_sd1_file(tmp_path), loras_dir=loras_dir)
    asked = [{"name": name} for name in ("ink", "ink.safetensors", "old/wax", str(wax))]
    names = _ticket(backend, loras=asked).payload["loras"]
    assert names == [ink.name, ink.name, wax.name, wax.name]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("inc", "LoRA 'inc' not found in "),
        ("big", "loras: big.safetensors is for sdxl models, and this model is sd1."),
        ("vae", "vae.safetensors: expected a LoRA, got a vae."),
        ("cut", "is incomplete"),
    ],
)
def test_unusable_lora_is_refused_before_loading(name: str, sentence: str, tmp_path: Path) -> None:
    loras_dir = tmp_path / "loras"
    loras_dir.mkdir()
    write_file(loras_dir / "ink.safetensors", safetensors(dict([LORA_SD1])))
    write_file(loras_dir / "big.safetensors", safetensors(dict([LORA_SDXL])))
    write_file(loras_dir / "vae.safetensors", safetensors(VAE))
    write_file(loras_dir / "cut.safetensors", safetensors(dict([LORA_SD1]))[:-1])
    backend = open_diffusers(write_sd1_file(tmp_path), loras_dir=loras_dir)
    assert sentence in _refusal(backend, loras=[{"name": name}]).message


def test_missing_lora_without_a_folder_asks_for_its_path(sd1: Diffusers) -> None:
    refusal = _refusal(sd1, loras=[{"name": "ink"}])
    assert refusal.message == "LoRA file 'ink' not found."
    too_long = _refusal(sd1, loras=[{"name": "ink" * 100}])
    assert too_long.message.startswith("LoRA file 'ink")
    assert "set `loras_dir`" in refusal.remedy

"""What is asked of diffusers is settled and checked before anything of torch is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.diffusers_model_files import LORA_SD1, LORA_SDXL, flux_file, folder, opened, sd1_file
from support.weight_files import VAE, safetensors, written

from imagen.core.request import Request
from imagen.errors import ConfigError, RequestError

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.backends.diffusers import Diffusers
    from imagen.core.ticket import Ticket


@pytest.fixture
def sd1(tmp_path: Path) -> Diffusers:
    return opened(sd1_file(tmp_path))


@pytest.fixture
def flux(tmp_path: Path) -> Diffusers:
    return opened(flux_file(tmp_path))


def _ticket(backend: Diffusers, **asked: Any) -> Ticket:
    return backend.prepare(Request.of({"prompt": "a fox", **asked}))


def _refusal(backend: Diffusers, **asked: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        _ticket(backend, **asked)
    return caught.value


def _fate(backend: Diffusers, name: str, **asked: Any) -> tuple[str, Any, str]:
    fate = _ticket(backend, **asked).receipt[name]
    return fate.outcome, fate.used, fate.why


def test_what_is_not_asked_is_the_familys_usual(sd1: Diffusers) -> None:
    used = _ticket(sd1).request
    assert (used.width, used.height, used.steps, used.cfg) == (512, 512, 25, 7.5)
    assert (used.sampler, used.scheduler, used.count) == ("default", "normal", 1)


def test_the_ticket_shows_what_will_run_and_not_where_it_lies(sd1: Diffusers) -> None:
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


def test_planning_what_was_planned_changes_nothing(sd1: Diffusers) -> None:
    ticket = _ticket(sd1, sampler="euler_ancestral", width=510, cfg=1.0, negative="rain")
    assert sd1.prepare(ticket.request).request == ticket.request


def test_the_configuration_has_defaults_of_its_own(tmp_path: Path) -> None:
    mine = {"steps": 9, "sampler": "euler_ancestral", "strength": 0.3}
    used = _ticket(opened(sd1_file(tmp_path), parameters=mine)).request
    assert (used.steps, used.sampler, used.strength) == (9, "euler_a", None)


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"stepps": 9}, "backends.here.parameters.stepps: there is no such parameter. Did you"),
        ({"steps": "many"}, "backends.here.parameters.steps: steps must be a whole number"),
        ({"sampler": "eular"}, "backends.here.parameters.sampler: sampler can't be 'eular'. Did"),
    ],
)
def test_a_default_that_does_not_fit_is_refused(
    parameters: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        opened(sd1_file(tmp_path), parameters=parameters).capabilities()
    assert caught.value.message.startswith(sentence)


def test_sizes_are_rounded_to_what_the_family_takes(sd1: Diffusers, flux: Diffusers) -> None:
    assert _fate(sd1, "width", width=510) == (
        "clamped",
        512,
        "at least 16, at most 4096, a multiple of 8",
    )
    assert _fate(flux, "height", height=1000)[:2] == ("clamped", 1008)


def test_the_names_of_other_tools_are_understood(sd1: Diffusers) -> None:
    here, near = "its name here", "the nearest that it has"
    assert _fate(sd1, "sampler", sampler="euler_ancestral") == ("mapped", "euler_a", here)
    assert _fate(sd1, "sampler", sampler="Euler a") == ("mapped", "euler_a", here)
    assert _fate(sd1, "sampler", sampler="PNDMScheduler") == ("mapped", "pndm", here)
    assert _fate(sd1, "scheduler", scheduler="simple") == ("mapped", "normal", near)
    assert _fate(sd1, "sampler", sampler="euler")[0] == "applied"


def test_a_flow_model_refuses_what_would_give_garbage(flux: Diffusers) -> None:
    assert "gives garbage with this model" in _refusal(flux, sampler="dpmpp_2m_karras").message
    assert _refusal(flux, sampler="heun").message == (
        "sampler 'heun' gives garbage with this model, which is trained to match flows."
    )
    assert _refusal(flux, scheduler="karras").message == "scheduler can't be 'karras'."
    assert _ticket(flux, sampler="euler").payload["scheduler"] == "FlowMatchEulerDiscreteScheduler"


def test_a_slip_in_a_samplers_name_is_named(sd1: Diffusers) -> None:
    assert _refusal(sd1, sampler="dpmp_2m").message.endswith("Did you mean 'dpmpp_2m'?")


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (
            {"sampler": "euler_a", "scheduler": "karras"},
            "scheduler 'karras' can't be had with sampler 'euler_a'.",
        ),
        ({"scheduler": "karras"}, "scheduler 'karras' can't be had with the model's own sampler."),
    ],
)
def test_a_sampler_and_a_schedule_must_go_together(
    asked: dict[str, str], sentence: str, sd1: Diffusers
) -> None:
    assert _refusal(sd1, **asked).message == sentence


def test_a_samplers_name_may_carry_the_schedule(sd1: Diffusers) -> None:
    apart = _ticket(sd1, sampler="dpmpp_2m", scheduler="karras")
    together = _ticket(sd1, sampler="DPM++ 2M Karras")
    assert together.payload == apart.payload
    assert (together.request.sampler, together.request.scheduler) == ("dpmpp_2m", "karras")


def test_a_schedule_that_is_asked_for_goes_before_that_of_the_samplers_name(
    sd1: Diffusers,
) -> None:
    asked = {"sampler": "euler_karras", "scheduler": "exponential"}
    assert _ticket(sd1, **asked).request.scheduler == "exponential"
    why = "scheduler 'exponential' was asked for too"
    assert _fate(sd1, "sampler", **asked) == ("clamped", "euler", why)


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
def test_what_needs_another_package_says_which(
    asked: dict[str, str],
    sentence: str,
    remedy: str,
    sd1: Diffusers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.path", [])
    refusal = _refusal(sd1, **asked)
    assert (refusal.message, refusal.remedy) == (sentence, remedy)


def test_a_negative_counts_only_with_guidance(flux: Diffusers) -> None:
    idle = ("dropped", None, "it counts only with a cfg above 1")
    assert _fate(flux, "negative", negative="rain") == idle
    assert _fate(flux, "negative", negative="rain", cfg=3.0)[0] == "applied"
    assert _ticket(flux, negative="rain").request.negative is None


def test_schnell_has_no_guidance(flux: Diffusers, tmp_path: Path) -> None:
    why = "no guidance is distilled into this model"
    assert _fate(flux, "guidance", guidance=3.5) == ("dropped", None, why)
    dev = folder(tmp_path / "dev", "FluxPipeline", transformer={"guidance_embeds": True})
    assert _fate(opened(dev), "guidance", guidance=5)[0] == "applied"
    assert _ticket(opened(dev)).request.guidance == 3.5


def test_one_text_encoder_takes_one_prompt(sd1: Diffusers) -> None:
    why = "this model has one text encoder"
    assert _fate(sd1, "prompt_2", prompt_2="an owl") == ("dropped", None, why)


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
def test_too_little_strength_is_refused(
    asked: dict[str, Any], sentence: str, sd1: Diffusers
) -> None:
    assert _refusal(sd1, image="a.png", **asked).message == sentence


def test_too_little_strength_says_how_many_steps_it_takes(sd1: Diffusers) -> None:
    refusal = _refusal(sd1, image="a.png", steps=4, strength=0.1)
    assert refusal.remedy == "Ask for 10 steps, or for more strength."
    assert _ticket(sd1, image="a.png", steps=10, strength=0.1).request.steps == 10


def test_an_inpainting_model_only_inpaints(tmp_path: Path) -> None:
    place = folder(tmp_path / "m", "StableDiffusionInpaintPipeline", unet={"in_channels": 9})
    backend = opened(place)
    assert backend.capabilities().tasks == ("inpaint", "outpaint")
    assert _refusal(backend).message == "This backend can't do text-to-image."
    ticket = _ticket(backend, image="a.png", mask="b.png")
    assert ticket.payload["pipeline"] == "StableDiffusionInpaintPipeline"


def test_fill_has_its_own_pipeline_without_a_negative(tmp_path: Path) -> None:
    parts = {"transformer": {"guidance_embeds": True, "in_channels": 384}}
    backend = opened(folder(tmp_path / "fill", "FluxFillPipeline", **parts))
    ticket = _ticket(backend, image="a.png", mask="b.png", cfg=4.0, negative="rain")
    assert ticket.payload["pipeline"] == "FluxFillPipeline"
    assert (ticket.receipt["cfg"].outcome, ticket.receipt["negative"].outcome) == ("dropped",) * 2
    assert ticket.request.guidance == 30.0


def test_klein_edits_and_varies_nothing(tmp_path: Path) -> None:
    backend = opened(folder(tmp_path / "klein", "Flux2KleinPipeline"))
    assert backend.capabilities().tasks == ("text-to-image", "inpaint", "outpaint", "edit")
    edited = _ticket(backend, references=["a.png"], cfg=5.0, negative="rain")
    assert edited.request.references == ("a.png",)
    assert (edited.receipt["cfg"].outcome, edited.receipt["negative"].outcome) == (
        "applied",
        "dropped",
    )
    refusal = _refusal(backend, variation_seed=1, variation_strength=0.5)
    assert refusal.message == "This backend can't do variation."
    assert _refusal(backend, image="a.png").message == "This backend can't do image-to-image."


def test_control_is_done_where_nets_are_configured(sd1: Diffusers, tmp_path: Path) -> None:
    canny = {"kind": "canny", "image": "lines.png"}
    assert "control" not in sd1.capabilities().tasks
    assert _refusal(sd1, controls=[canny]).message == "This backend can't do control."
    backend = opened(sd1_file(tmp_path), controlnets={"canny": "a/b", "pose": "c/d"})
    assert backend.capabilities("control").controls == ("canny", "pose")
    assert _ticket(backend, controls=[canny]).payload["pipeline"].endswith("ControlNetPipeline")
    steered = _ticket(backend, controls=[canny], image="a.png", mask="b.png")
    assert steered.payload["pipeline"] == "StableDiffusionControlNetInpaintPipeline"


def test_controls_beside_an_image_are_dropped_where_no_net_is(sd1: Diffusers) -> None:
    canny = {"kind": "canny", "image": "lines.png"}
    why = "no `controlnets` are configured"
    assert _fate(sd1, "controls", image="a.png", controls=[canny]) == ("dropped", None, why)


@pytest.mark.parametrize(
    ("control", "sentence"),
    [
        ({"kind": "cany"}, "This backend has no control of kind 'cany'. Did you mean 'canny'?"),
        (
            {"kind": "canny", "preprocess": True},
            "This backend can't make a canny picture of a file.",
        ),
    ],
)
def test_a_control_it_cannot_do_is_refused(
    control: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    backend = opened(sd1_file(tmp_path), controlnets={"canny": "a/b"})
    assert _refusal(backend, controls=[{"image": "l.png", **control}]).message == sentence


def test_flux_steers_an_image_without_a_cfg(tmp_path: Path) -> None:
    backend = opened(flux_file(tmp_path), controlnets={"canny": "a/b"})
    canny = {"kind": "canny", "image": "lines.png"}
    why = "diffusers steers this model without it where there is an initial image"
    fate = _fate(backend, "negative", image="a.png", controls=[canny], cfg=3.0, negative="rain")
    assert fate == ("dropped", None, why)
    assert _fate(backend, "cfg", controls=[canny], cfg=3.0)[0] == "applied"


def test_loras_are_found_by_name_and_by_path(tmp_path: Path) -> None:
    shelf = tmp_path / "loras"
    (shelf / "old").mkdir(parents=True)
    ink = written(shelf / "ink.safetensors", safetensors(dict([LORA_SD1])))
    wax = written(shelf / "old" / "wax.safetensors", safetensors(dict([LORA_SD1])))
    backend = opened(sd1_file(tmp_path), loras_dir=shelf)
    asked = [{"name": name} for name in ("ink", "ink.safetensors", "old/wax", str(wax))]
    names = _ticket(backend, loras=asked).payload["loras"]
    assert names == [ink.name, ink.name, wax.name, wax.name]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("inc", "There is no LoRA 'inc' in "),
        ("big", "loras: big.safetensors is for sdxl, and this model is sd1."),
        ("vae", "vae.safetensors is a vae, not a LoRA."),
        ("cut", "was cut off"),
    ],
)
def test_a_lora_that_cannot_be_put_on_is_refused_before_loading(
    name: str, sentence: str, tmp_path: Path
) -> None:
    shelf = tmp_path / "loras"
    shelf.mkdir()
    written(shelf / "ink.safetensors", safetensors(dict([LORA_SD1])))
    written(shelf / "big.safetensors", safetensors(dict([LORA_SDXL])))
    written(shelf / "vae.safetensors", safetensors(VAE))
    written(shelf / "cut.safetensors", safetensors(dict([LORA_SD1]))[:-1])
    backend = opened(sd1_file(tmp_path), loras_dir=shelf)
    assert sentence in _refusal(backend, loras=[{"name": name}]).message


def test_a_lora_without_a_folder_asks_for_its_path(sd1: Diffusers) -> None:
    refusal = _refusal(sd1, loras=[{"name": "ink"}])
    assert refusal.message == "There is no LoRA file 'ink'."
    too_long = _refusal(sd1, loras=[{"name": "ink" * 100}])
    assert too_long.message.startswith("There is no LoRA file 'ink")
    assert "set `loras_dir`" in refusal.remedy

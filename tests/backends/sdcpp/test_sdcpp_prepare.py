"""A request becomes a ticket: names, seeds, sizes and files, before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from support.sdcpp_setup import CONTROL, ESRGAN, LORA, SMALL_IMAGE, SdCppSetup

from imagen.config import Settings
from imagen.core.request import Control, Lora, Request, Upscale
from imagen.errors import ConfigError, RequestError
from imagen.pipeline.prepare import prepare

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.core.request import Task
    from imagen.core.ticket import Ticket


@pytest.fixture
def setup(tmp_path: Path) -> SdCppSetup:
    return SdCppSetup(tmp_path)


@pytest.fixture
def image(tmp_path: Path) -> str:
    Image.new("RGB", (200, 120), "teal").save(tmp_path / "image.png")
    return str(tmp_path / "image.png")


def _prepare(setup: SdCppSetup, block: dict[str, Any] | None = None, **asked: Any) -> Ticket:
    request = Request(prompt="a fox").with_values(SMALL_IMAGE | asked)
    return setup.open(**(block or {})).prepare(request)


def _argument(ticket: Ticket, flag: str) -> str:
    line = ticket.payload["arguments"]
    return str(line[line.index(flag) + 1])


def _outcome(ticket: Ticket, name: str) -> tuple[str, Any]:
    return ticket.receipt[name].outcome, ticket.receipt[name].used


@pytest.mark.parametrize(
    ("kind", "asked", "own"),
    [
        pytest.param("sampler", "dpmpp_2m", "dpm++2m", id="dpmpp_2m"),
        pytest.param("sampler", "euler_ancestral", "euler_a", id="ancestral"),
        pytest.param("sampler", "ddim", "ddim_trailing", id="ddim"),
        pytest.param("scheduler", "normal", "discrete", id="normal"),
    ],
)
def test_sampler_names_of_other_engines_are_mapped(
    setup: SdCppSetup, kind: str, asked: str, own: str
) -> None:
    named: dict[str, Any] = {kind: asked}
    ticket = _prepare(setup, **named)
    flag = {"sampler": "--sampling-method", "scheduler": "--scheduler"}[kind]
    assert _argument(ticket, flag) == own
    assert _outcome(ticket, kind) == ("mapped", own)


def test_sampler_names_of_sd_cli_are_applied(setup: SdCppSetup) -> None:
    assert _outcome(_prepare(setup, sampler="dpm++2m"), "sampler") == ("applied", None)


def test_a_sampler_missing_in_this_version_is_refused(setup: SdCppSetup) -> None:
    with pytest.raises(RequestError, match=r"sampler cannot be 'dpmpp_2m_sd.*Did you mean"):
        _prepare(setup, sampler="dpmpp_2m_sde")


@pytest.mark.parametrize(
    ("seed", "count", "used"),
    [
        pytest.param(2**63 - 1, 1, 2**63 - 1, id="greatest"),
        pytest.param(2**63, 1, 0, id="one more"),
        pytest.param(2**64 - 1, 1, 2**63 - 1, id="last"),
        pytest.param(2**63 - 1, 2, 0, id="no room for the next"),
    ],
)
def test_a_seed_beyond_63_bits_wraps_around(
    setup: SdCppSetup, seed: int, count: int, used: int
) -> None:
    ticket = _prepare(setup, seed=seed, count=count)
    assert (ticket.request.seed, _argument(ticket, "--seed")) == (used, str(used))
    assert ticket.receipt["seed"].outcome == ("applied" if used == seed else "mapped")


def test_the_ticket_has_the_rounded_size(setup: SdCppSetup) -> None:
    ticket = _prepare(setup, width=500, height=70)
    assert (ticket.request.width, ticket.request.height) == (512, 64)
    assert _outcome(ticket, "width") == ("clamped", 512)


def test_an_initial_image_keeps_its_size_as_far_as_possible(setup: SdCppSetup, image: str) -> None:
    ticket = _prepare(setup, image=image, width=None, height=None, strength=0.5)
    assert (ticket.request.width, ticket.request.height) == (192, 128)


def test_a_prompt_may_begin_with_a_dash(setup: SdCppSetup) -> None:
    assert _argument(_prepare(setup, prompt="--help me"), "--prompt") == "--help me"


def test_a_nul_character_in_a_prompt_is_refused(setup: SdCppSetup) -> None:
    with pytest.raises(RequestError, match="negative holds a NUL character"):
        _prepare(setup, negative="a\0b")


def test_a_parameter_the_model_lacks_is_dropped_with_the_reason(setup: SdCppSetup) -> None:
    ticket = _prepare(setup, guidance=3.5, flow_shift=3.0, prompt_2="x")
    assert ticket.receipt["guidance"].why == ("this model has no distilled guidance; use cfg")
    assert ticket.receipt["flow_shift"].outcome == "dropped"
    assert "--guidance" not in ticket.payload["arguments"]


def test_a_parameter_this_version_lacks_is_dropped_with_the_reason(setup: SdCppSetup) -> None:
    ticket = setup.open("bare").prepare(Request(prompt="x", extra={"clip_skip": 2}))
    assert ticket.receipt["clip_skip"].why == (
        "this version of stable-diffusion.cpp has no --clip-skip"
    )


def test_a_key_without_a_flag_in_this_version_is_an_error(setup: SdCppSetup) -> None:
    with pytest.raises(ConfigError, match=r"backends\.rigged: .* has no --vae-tiling"):
        setup.open("bare", vae_tiling=True).prepare(Request(prompt="x"))


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        pytest.param("--bogus", "has no --bogus", id="unknown"),
        pytest.param("-o", "-o is set by imagen", id="the same prediction"),
        pytest.param("--seed", "--seed is set by imagen", id="a parameter's"),
        pytest.param("--seed=5", "--seed=5 is set by imagen", id="with its value"),
    ],
)
def test_extra_arguments_are_checked(setup: SdCppSetup, argument: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _prepare(setup, {"args": [argument, "1"]})


def test_a_lora_becomes_a_tag_after_the_prompt(setup: SdCppSetup, tmp_path: Path) -> None:
    setup.write_weights("loras/style/ink.safetensors", LORA)
    block = {"loras_dir": str(tmp_path / "loras")}
    ticket = _prepare(setup, block, loras=(Lora(name="ink", strength=0.8),))
    assert _argument(ticket, "--prompt") == "a fox <lora:style/ink.safetensors:0.8>"
    assert (ticket.request.prompt, _outcome(ticket, "loras")[0]) == ("a fox", "applied")


def test_a_lora_tag_in_the_prompt_is_passed_on(setup: SdCppSetup) -> None:
    ticket = _prepare(setup, prompt="a (fox:1.2) {a|b} <lora:ink:0.8>")
    assert _argument(ticket, "--prompt") == "a (fox:1.2) {a|b} <lora:ink:0.8>"
    assert ticket.receipt["prompt"].why == "syntax not read by this engine: {a|b}"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("inkk", "Unknown LoRA 'inkk'. Did you mean 'ink'", id="typo"),
        pytest.param("../sd15", "Unknown LoRA", id="outside"),
        pytest.param("twin", "several files: a/twin.safetensors, b/twin.safetensors", id="two"),
        pytest.param("model", "model.safetensors is not a LoRA", id="not a LoRA"),
        pytest.param("a:b", "its name holds one of", id="mark"),
    ],
)
def test_an_unknown_or_unusable_lora_is_refused(
    setup: SdCppSetup, name: str, message: str, tmp_path: Path
) -> None:
    for file in ("ink", "a/twin", "b/twin", "a:b"):
        setup.write_weights(f"loras/{file}.safetensors", LORA)
    setup.write_weights("loras/model.safetensors", {"decoder.conv_in.weight": (512, 4, 3, 3)})
    with pytest.raises(RequestError, match=message):
        _prepare(setup, {"loras_dir": str(tmp_path / "loras")}, loras=(Lora(name=name),))


def test_loras_without_a_folder_are_dropped_with_the_reason(setup: SdCppSetup) -> None:
    ticket = _prepare(setup, loras=(Lora(name="ink"),))
    assert ticket.receipt["loras"].why == "backends.rigged.loras_dir names no folder of LoRAs"


def test_the_receipt_says_that_only_one_control_image_is_used(
    setup: SdCppSetup, image: str
) -> None:
    nets = {
        kind: setup.write_weights(f"{kind}.safetensors", CONTROL) for kind in ("canny", "depth")
    }
    two = (
        Control(kind="canny", image=image, strength=0.5, end=0.5, preprocess=True),
        Control(kind="depth", image=image),
    )
    ticket = _prepare(setup, {"controlnets": nets}, controls=two)
    assert [(c.kind, c.end) for c in ticket.request.controls] == [("canny", 1.0)]
    assert ticket.receipt["controls"].outcome == "clamped"
    assert ticket.receipt["controls"].why == (
        "this engine takes one control image and it applies from the first step to the last"
    )
    assert ticket.payload["arguments"][-3:] == ["--control-strength", "0.5", "--canny"]


@pytest.mark.parametrize(
    ("control", "message"),
    [
        pytest.param({"kind": "dept"}, "no ControlNet for 'dept'. Did you mean 'depth'", id="typo"),
        pytest.param({"kind": "depth", "preprocess": True}, "cannot make the depth", id="made"),
    ],
)
def test_an_impossible_control_is_refused(
    setup: SdCppSetup, image: str, control: dict[str, Any], message: str
) -> None:
    nets = {"depth": setup.write_weights("depth.safetensors", CONTROL)}
    with pytest.raises(RequestError, match=message):
        _prepare(setup, {"controlnets": nets}, controls=(Control(image=image, **control),))


@pytest.mark.parametrize(
    ("factor", "arguments", "outcome"),
    [
        pytest.param(4, ["--mode", "upscale"], "applied", id="of the model"),
        pytest.param(2, ["--mode", "upscale"], "mapped", id="less"),
        pytest.param(8, ["--mode", "upscale", "--upscale-repeats", "2"], "mapped", id="more"),
        pytest.param(16, ["--mode", "upscale", "--upscale-repeats", "2"], "applied", id="twice"),
    ],
)
def test_the_receipt_explains_the_factor_of_an_upscale_model(
    setup: SdCppSetup, image: str, factor: float, arguments: list[str], outcome: str
) -> None:
    up: dict[str, Any] = {"upscale_models": [setup.write_weights("up.safetensors", ESRGAN)]}
    request = Request(image=image, upscale=Upscale(factor=factor))
    ticket = setup.open(**up).prepare(request)
    assert (ticket.payload["arguments"], ticket.receipt["upscale"].outcome) == (arguments, outcome)


def test_an_upscale_model_is_chosen_by_name(setup: SdCppSetup, image: str) -> None:
    up: dict[str, Any] = {"upscale_models": [setup.write_weights("ultra.safetensors", ESRGAN)]}
    request = Request(image=image, upscale=Upscale(factor=4, method="ulra"))
    with pytest.raises(RequestError, match=r"Unknown upscale model 'ulra'.*Did you mean 'ultra"):
        setup.open(**up).prepare(request)


def test_a_family_of_upscalers_chooses_an_installed_one(setup: SdCppSetup, image: str) -> None:
    names = ("4x-UltraSharp.safetensors", "RealESRGAN_x4plus.safetensors")
    up: dict[str, Any] = {"upscale_models": [setup.write_weights(name, ESRGAN) for name in names]}
    request = Request(image=image, upscale=Upscale(factor=4, method="realesrgan"))
    fate = setup.open(**up).prepare(request).receipt["upscale"]
    assert (fate.outcome, fate.used) == ("mapped", "RealESRGAN_x4plus.safetensors")
    assert fate.why == "the installed upscaler of the family realesrgan"


@pytest.mark.parametrize(
    ("block", "task", "able"),
    [
        pytest.param({}, "control", False, id="without ControlNet"),
        pytest.param({}, "upscale", False, id="no upscaler"),
        pytest.param({}, "edit", False, id="SD 1 takes no references"),
        pytest.param({}, "inpaint", True, id="inpaint"),
    ],
)
def test_the_tasks_follow_from_the_block(
    setup: SdCppSetup, block: dict[str, Any], task: Task, able: bool
) -> None:
    assert (task in setup.open(**block).capabilities(task).tasks) is able


def test_a_block_sets_defaults(setup: SdCppSetup) -> None:
    block: dict[str, Any] = {"parameters": {"steps": 6, "sampler": "lcm", "cfg": 1.5}}
    assert setup.open(**block).capabilities().parameters["sampler"].default == "lcm"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        pytest.param({"stepz": 6}, r"stepz: unknown parameter.*Did you mean 'steps'", id="name"),
        pytest.param(
            {"steps": "six"}, "parameters.steps: steps must be a whole number", id="value"
        ),
    ],
)
def test_an_invalid_default_of_a_block_is_an_error(
    setup: SdCppSetup, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        setup.open(parameters=parameters).capabilities()


def _images_per_run(setup: SdCppSetup, tmp_path: Path, asked: Request) -> list[int]:
    """The number of images of each run."""
    settings = Settings(backends={"sd": setup.block()}, state_dir=tmp_path / "state")
    return [ticket.images for ticket in prepare(setup.open(), asked, settings)]


def test_images_of_a_prompt_share_one_process(setup: SdCppSetup, tmp_path: Path) -> None:
    asked = Request(prompt="a fox").with_values(SMALL_IMAGE | {"count": 3})
    assert _images_per_run(setup, tmp_path, asked) == [3]


def test_images_from_an_initial_image_are_separate_runs(
    setup: SdCppSetup, image: str, tmp_path: Path
) -> None:
    asked = Request(prompt="a fox", image=image).with_values(SMALL_IMAGE | {"count": 3})
    assert _images_per_run(setup, tmp_path, asked) == [1, 1, 1]

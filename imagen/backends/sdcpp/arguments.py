"""A request as arguments of sd-cli; pure, and without any path of this machine."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from imagen.backends.sdcpp.config import FILES
from imagen.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.backends.sdcpp.config import SdCppConfig

_FLAGS: Mapping[str, str] = {
    "width": "--width",
    "height": "--height",
    "seed": "--seed",
    "steps": "--steps",
    "cfg": "--cfg-scale",
    "guidance": "--guidance",
    "sampler": "--sampling-method",
    "scheduler": "--scheduler",
    "count": "--batch-count",
    "strength": "--strength",
    "clip_skip": "--clip-skip",
    "flow_shift": "--flow-shift",
    "eta": "--eta",
}
EMPTY_PROMPT = " "
"""The program and its server refuse a prompt of no characters; a blank encodes to the same."""
_OURS = frozenset(
    {
        *("-o", "--output", "--output-begin-idx", "-M", "--mode", "-p", "--prompt", "-n"),
        *("--negative-prompt", "--prompt-file", "--negative-prompt-file", "-i", "--init-img"),
        *("--mask", "-r", "--ref-image", "--control-image", "--preview", "--preview-path"),
        *("--preview-interval", "-h", "--help", "--version", "--color", "-v", "--verbose"),
        *("-W", "-H", "-s", "-b", "--control-strength", "--canny", *_FLAGS.values()),
        *("-m", *(f"--{name.replace('_', '-')}" for name in FILES), "--clip_l", "--clip_g"),
        *("--lora-model-dir", "--embd-dir", "--control-net", "--upscale-model", "--tae"),
        *("--upscale-repeats", "--type", "-t", "--threads", "--offload-to-cpu", "--vae-tiling"),
        "--diffusion-fa",
    }
)
"""What imagen sets; to say it twice would take the later one without a word."""

_SPELT = {"clip_l": "--clip_l", "clip_g": "--clip_g", "diffusion_model": "--diffusion-model"}


def generation(values: Mapping[str, Any], tags: str) -> list[str]:
    """The arguments of one picture or more, without the pictures they begin with."""
    prompt = values.get("prompt", "") + tags or EMPTY_PROMPT
    arguments = ["--mode", "img_gen", "--prompt", prompt]
    if values.get("negative"):
        arguments += ["--negative-prompt", values["negative"]]
    for name, flag in _FLAGS.items():
        if values.get(name) is not None:
            arguments += [flag, _text(values[name])]
    for control in values.get("controls") or ():
        arguments += ["--control-strength", _text(control.strength)]
        arguments += ["--canny"] if control.preprocess else []
    return arguments


def enlarging(repeats: int) -> list[str]:
    """The arguments for enlarging a picture with a model, as often as that."""
    return ["--mode", "upscale", *(["--upscale-repeats", str(repeats)] if repeats > 1 else [])]


def _text(value: Any) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def weights(config: SdCppConfig) -> Iterator[str]:
    """The arguments that name the model and what goes with it."""
    for name in FILES:
        path = getattr(config, name)
        if path is not None:
            yield from (_SPELT.get(name, f"--{name}"), str(path.absolute()))
    for flag, folder in (
        ("--lora-model-dir", config.loras_folder),
        ("--embd-dir", config.embeddings_dir),
    ):
        if folder is not None:
            yield from (flag, str(folder.absolute()))
    if config.weight_type:
        yield from ("--type", config.weight_type)


def running(config: SdCppConfig) -> Iterator[str]:
    """The arguments that say how the machine is used."""
    if config.threads:
        yield from ("--threads", str(config.threads))
    if config.offload:
        yield "--offload-to-cpu"
    if config.vae_tiling:
        yield "--vae-tiling"
    if config.flash_attention:
        yield "--diffusion-fa"
    yield from config.args


def refuse_unknown(config: SdCppConfig, flags: frozenset[str] | None) -> None:
    """Raises ConfigError for what the block sets and this version of the program lacks."""
    for flag in config.args:
        if flag.partition("=")[0] in _OURS:
            raise ConfigError(
                f"backends.{config.name}.args: {flag} is set by imagen.",
                remedy="Use the key of the block, or the request's own parameter.",
            )
    if flags is None:
        return
    for flag in (*weights(config), *running(config)):
        if flag.startswith("-") and not _is_number(flag) and flag not in flags:
            raise ConfigError(
                f"backends.{config.name}: this version of stable-diffusion.cpp has no {flag}.",
                remedy="Leave out the key that asks for it, or install a newer version.",
            )


def _is_number(text: str) -> bool:
    return text[1:2].isdigit() or text[1:2] == "."


def most_bytes(system: str = sys.platform) -> int:
    """How long one argument may be: Linux takes 128 KiB, and Windows less than that for all."""
    return 12_000 if system == "win32" else 131_000

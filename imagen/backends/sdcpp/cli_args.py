"""Arguments of sd-cli: those of a request, without paths, and the whole command of a run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from imagen.backends.sdcpp.config import WEIGHT_KEYS
from imagen.backends.sdcpp.plan import choose_upscale_model
from imagen.core.image_file import read_image_file
from imagen.errors import ConfigError, Rejected, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from imagen.backends.sdcpp.binary import SdCli
    from imagen.backends.sdcpp.config import SdCppConfig
    from imagen.core.request import Request
    from imagen.core.ticket import Ticket

EMPTY_PROMPT = " "
"""sd-cli and sd-server reject an empty prompt; a blank is encoded the same."""

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
_WEIGHT_FLAGS = {
    "clip_l": "--clip_l",
    "clip_g": "--clip_g",
    "diffusion_model": "--diffusion-model",
}
"""Flags that are spelled differently from `--key`."""
_SET_BY_IMAGEN = frozenset(
    {
        *("-o", "--output", "--output-begin-idx", "-M", "--mode", "-p", "--prompt", "-n"),
        *("--negative-prompt", "--prompt-file", "--negative-prompt-file", "-i", "--init-img"),
        *("--mask", "-r", "--ref-image", "--control-image", "--preview", "--preview-path"),
        *("--preview-interval", "-h", "--help", "--version", "--color", "-v", "--verbose"),
        *("-W", "-H", "-s", "-b", "--control-strength", "--canny", *_FLAGS.values()),
        *("-m", *(f"--{key.replace('_', '-')}" for key in WEIGHT_KEYS), "--clip_l", "--clip_g"),
        *("--lora-model-dir", "--embd-dir", "--control-net", "--upscale-model", "--tae"),
        *("--upscale-repeats", "--type", "-t", "--threads", "--offload-to-cpu", "--vae-tiling"),
        "--diffusion-fa",
    }
)
"""Flags that `args` must not repeat: sd-cli would silently use the last one."""
_OUTPUT_NAME = "output.png"
_NO_METADATA = "--disable-image-metadata"
_TEXT_FILE_FLAGS = {"--prompt": "--prompt-file", "--negative-prompt": "--negative-prompt-file"}


def generation_args(values: Mapping[str, Any], lora_tags: str) -> list[str]:
    """The arguments of a generation, without its input images."""
    prompt = values.get("prompt", "") + lora_tags or EMPTY_PROMPT
    args = ["--mode", "img_gen", "--prompt", prompt]
    if values.get("negative"):
        args += ["--negative-prompt", values["negative"]]
    for name, flag in _FLAGS.items():
        if values.get(name) is not None:
            args += [flag, _format_value(values[name])]
    for control in values.get("controls") or ():
        args += ["--control-strength", _format_value(control.strength)]
        args += ["--canny"] if control.preprocess else []
    return args


def _format_value(value: object) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def upscale_args(repeats: int) -> list[str]:
    """The arguments of an upscale that applies its model this many times."""
    return ["--mode", "upscale", *(["--upscale-repeats", str(repeats)] if repeats > 1 else [])]


def _weight_args(config: SdCppConfig) -> Iterator[str]:
    """The arguments that name the model and its companions."""
    for key in WEIGHT_KEYS:
        path = getattr(config, key)
        if path is not None:
            yield from (_WEIGHT_FLAGS.get(key, f"--{key}"), str(path.absolute()))
    if config.loras_folder is not None:
        yield from ("--lora-model-dir", str(config.loras_folder.absolute()))
    if config.embeddings_dir is not None:
        yield from ("--embd-dir", str(config.embeddings_dir.absolute()))
    if config.weight_type:
        yield from ("--type", config.weight_type)


def _runtime_args(config: SdCppConfig) -> Iterator[str]:
    """The arguments that say how to use the machine."""
    if config.threads:
        yield from ("--threads", str(config.threads))
    if config.offload:
        yield "--offload-to-cpu"
    if config.vae_tiling:
        yield "--vae-tiling"
    if config.flash_attention:
        yield "--diffusion-fa"
    yield from config.args


def refuse_unknown_flags(config: SdCppConfig, flags: frozenset[str] | None) -> None:
    """Raises ConfigError for `args` that imagen sets, and for flags that this version lacks."""
    for flag in config.args:
        if flag.partition("=")[0] in _SET_BY_IMAGEN:
            raise ConfigError(
                f"backends.{config.name}.args: {flag} is set by imagen.",
                remedy="Use the key of the block, or the request's parameter.",
            )
    if flags is None:
        return
    for flag in (*_weight_args(config), *_runtime_args(config)):
        is_negative_number = flag[1:2].isdigit() or flag[1:2] == "."
        if flag.startswith("-") and not is_negative_number and flag not in flags:
            raise ConfigError(
                f"backends.{config.name}: this version of stable-diffusion.cpp has no {flag}.",
                remedy="Remove the key that needs it, or install a newer version.",
            )


def max_argument_bytes(system: str = sys.platform) -> int:
    """The longest argument: 128 KiB on Linux; on Windows, less than that for all of them."""
    return 12_000 if system == "win32" else 131_000


def build_command(ticket: Ticket, config: SdCppConfig, sd_cli: SdCli, folder: Path) -> list[str]:
    """The complete command; input images are converted into `folder`.

    Raises Rejected where this version of the program lacks what the ticket needs.
    """
    request = ticket.request
    ticket_args = [str(arg) for arg in ticket.payload["arguments"]]
    ticket_args = _move_long_texts(ticket_args, sd_cli, folder)
    args = [*ticket_args, *_image_args(request, folder)]
    if request.task == "upscale" and request.upscale:
        models = config.upscale_models_by_name
        path = models[choose_upscale_model(request.upscale, models)]
        args += ["--upscale-model", str(path.absolute())]
    else:
        args += _weight_args(config)
        for control in request.controls[:1]:
            args += ["--control-net", str(config.controlnets[control.kind].absolute())]
    args += _runtime_args(config)
    # A ticket may have been prepared for another version.
    texts = {ticket_args[i + 1] for i, flag in enumerate(ticket_args) if flag in _TEXT_FILE_FLAGS}
    for flag in args:
        if flag.startswith("--") and flag not in texts and flag not in sd_cli.flags:
            raise Rejected(
                f"This version of stable-diffusion.cpp has no {flag}, which this ticket needs.",
                remedy="Install a newer version.",
            )
    if _NO_METADATA in sd_cli.flags:
        args.append(_NO_METADATA)  # imagen decides what goes into a file when it saves it
    has_previews = config.preview != "none" and request.task != "upscale"
    if has_previews and sd_cli.flags.issuperset(("--preview", "--preview-path")):
        args += ["--preview", config.preview, "--preview-path", str(folder / "preview.png")]
    return [*sd_cli.command, *args, "--output", str(folder / _OUTPUT_NAME)]


def _image_args(request: Request, folder: Path) -> Iterator[str]:
    """Input images become plain PNG: not every build reads WebP, none reads two channels."""

    def convert(path: str, what: str, name: str, mode: str = "RGB") -> str:
        file = folder / name
        read_image_file(path, what).decode().convert(mode).save(file, "PNG", compress_level=1)
        return str(file)

    if request.image is not None:
        yield from ("--init-img", convert(request.image, "image", "image.png"))
    if request.mask is not None:
        yield from ("--mask", convert(request.mask, "mask", "mask.png", mode="L"))
    for index, path in enumerate(request.references):
        yield from ("--ref-image", convert(path, "references", f"reference{index}.png"))
    for control in request.controls[:1]:
        yield from ("--control-image", convert(control.image, "controls", "control.png"))


def _move_long_texts(args: list[str], sd_cli: SdCli, folder: Path) -> list[str]:
    """Put texts that are too long for a command line into files."""
    for flag, file_flag in _TEXT_FILE_FLAGS.items():
        if flag not in args:
            continue
        index = args.index(flag)
        text = args[index + 1].encode()
        if len(text) <= max_argument_bytes():
            continue
        if file_flag not in sd_cli.flags:
            raise RequestError(
                f"The {flag[2:]} of {len(text)} bytes is too long for this system's command line.",
                remedy=f"Shorten it, or install a stable-diffusion.cpp that has {file_flag}.",
            )
        path = folder / f"{flag[2:]}.txt"
        path.write_bytes(text)
        args = [*args[:index], file_flag, str(path), *args[index + 2 :]]
    return args

"""A request as arguments of sd-cli; pure, and without any path of this machine."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from imagen.backends.sdcpp.config import FILES
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


def generation_args(values: Mapping[str, Any], tags: str) -> list[str]:
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


def upscale_args(repeats: int) -> list[str]:
    """The arguments for enlarging a picture with a model, as often as that."""
    return ["--mode", "upscale", *(["--upscale-repeats", str(repeats)] if repeats > 1 else [])]


def _text(value: Any) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def weight_args(config: SdCppConfig) -> Iterator[str]:
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


def runtime_args(config: SdCppConfig) -> Iterator[str]:
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


def refuse_unknown_flags(config: SdCppConfig, flags: frozenset[str] | None) -> None:
    """Raises ConfigError for what the block sets and this version of the program lacks."""
    for flag in config.args:
        if flag.partition("=")[0] in _OURS:
            raise ConfigError(
                f"backends.{config.name}.args: {flag} is set by imagen.",
                remedy="Use the key of the block, or the request's own parameter.",
            )
    if flags is None:
        return
    for flag in (*weight_args(config), *runtime_args(config)):
        if flag.startswith("-") and not _is_number(flag) and flag not in flags:
            raise ConfigError(
                f"backends.{config.name}: this version of stable-diffusion.cpp has no {flag}.",
                remedy="Leave out the key that asks for it, or install a newer version.",
            )


def _is_number(text: str) -> bool:
    return text[1:2].isdigit() or text[1:2] == "."


def max_argument_bytes(system: str = sys.platform) -> int:
    """How long one argument may be: Linux takes 128 KiB, and Windows less than that for all."""
    return 12_000 if system == "win32" else 131_000


_OUTPUT = "picture.png"
_OPTIONAL = ("--disable-image-metadata", "--preview", "--preview-path")
"""Left out where a version lacks them: the picture is the same."""
_TEXT_FILES = {"--prompt": "--prompt-file", "--negative-prompt": "--negative-prompt-file"}


def build_command(ticket: Ticket, config: SdCppConfig, program: SdCli, folder: Path) -> list[str]:
    """The program with all its arguments; its pictures go into `folder`, in a form it reads.

    Raises Rejected where this version of the program lacks what the ticket needs.
    """
    asked = _texts_in_files([str(a) for a in ticket.payload["arguments"]], program, folder)
    pictures = list(_pictures(ticket.request, folder))
    whole = [*asked, *pictures, *_files(ticket.request, config), *runtime_args(config)]
    _refuse_lacking(whole, program, asked)
    extra = list(_extra(ticket.request, config, program, folder))
    return [*program.command, *whole, *extra, "--output", str(folder / _OUTPUT)]


def _files(request: Request, config: SdCppConfig) -> Iterator[str]:
    if request.task == "upscale" and request.upscale:
        known = {path.name: path for path in config.upscale_models}
        yield from (
            "--upscale-model",
            str(known[choose_upscale_model(request.upscale, known)].absolute()),
        )
        return
    yield from weight_args(config)
    for control in request.controls[:1]:
        yield from ("--control-net", str(config.controlnets[control.kind].absolute()))


def _pictures(request: Request, folder: Path) -> Iterator[str]:
    """Not every build reads WebP, none a picture with too few channels: all become plain PNG."""
    if request.image is not None:
        yield from ("--init-img", _as_png(request.image, "image", folder / "image.png"))
    if request.mask is not None:
        yield from ("--mask", _as_png(request.mask, "mask", folder / "mask.png", mode="L"))
    for index, path in enumerate(request.references):
        yield from ("--ref-image", _as_png(path, "references", folder / f"reference{index}.png"))
    for control in request.controls[:1]:
        made = _as_png(control.image, "controls", folder / "control.png")
        yield from ("--control-image", made)


def _as_png(path: str, what: str, to: Path, mode: str = "RGB") -> str:
    read_image_file(path, what).decode().convert(mode).save(to, "PNG", compress_level=1)
    return str(to)


def _texts_in_files(asked: list[str], program: SdCli, folder: Path) -> list[str]:
    """A system takes arguments of some length only; a longer text goes by file."""
    for flag, by_file in _TEXT_FILES.items():
        if flag not in asked:
            continue
        at = asked.index(flag)
        text = asked[at + 1].encode()
        if len(text) <= max_argument_bytes():
            continue
        if by_file not in program.flags:
            raise RequestError(
                f"The {flag[2:]} of {len(text)} bytes is too long for this system's command line.",
                remedy=f"Shorten it, or install a stable-diffusion.cpp that has {by_file}.",
            )
        path = folder / f"{flag[2:]}.txt"
        path.write_bytes(text)
        asked = [*asked[:at], by_file, str(path), *asked[at + 2 :]]
    return asked


def _refuse_lacking(whole: list[str], program: SdCli, asked: list[str]) -> None:
    """A ticket may have been prepared for another version."""
    texts = {asked[i + 1] for i, flag in enumerate(asked) if flag in _TEXT_FILES}
    for flag in whole:
        if flag.startswith("--") and flag not in texts and flag not in program.flags:
            raise Rejected(
                f"This version of stable-diffusion.cpp has no {flag}, which is needed for this.",
                remedy="Install a newer version.",
            )


def _extra(request: Request, config: SdCppConfig, program: SdCli, folder: Path) -> Iterator[str]:
    if _OPTIONAL[0] in program.flags:
        yield _OPTIONAL[0]  # what goes into a picture is decided where it is kept
    shows = config.preview != "none" and request.task != "upscale"
    if shows and program.flags.issuperset(_OPTIONAL[1:]):
        yield from ("--preview", config.preview, "--preview-path", str(folder / "preview.png"))

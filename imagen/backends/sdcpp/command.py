"""The whole command of one run: a ticket's arguments with the files of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen.backends.sdcpp import arguments
from imagen.backends.sdcpp.plan import upscaler
from imagen.core.image_file import read_image_file
from imagen.errors import Rejected, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagen.backends.sdcpp.binary import Program
    from imagen.backends.sdcpp.config import SdCppConfig
    from imagen.core.request import Request
    from imagen.core.ticket import Ticket

_OUTPUT = "picture.png"
_OPTIONAL = ("--disable-image-metadata", "--preview", "--preview-path")
"""Left out where a version lacks them: the picture is the same."""
_TEXT_FILES = {"--prompt": "--prompt-file", "--negative-prompt": "--negative-prompt-file"}


def command(ticket: Ticket, config: SdCppConfig, program: Program, folder: Path) -> list[str]:
    """The program with all its arguments; its pictures go into `folder`, in a form it reads.

    Raises Rejected where this version of the program lacks what the ticket needs.
    """
    asked = _texts_in_files([str(a) for a in ticket.payload["arguments"]], program, folder)
    pictures = list(_pictures(ticket.request, folder))
    whole = [*asked, *pictures, *_files(ticket.request, config), *arguments.running(config)]
    _refuse_lacking(whole, program, asked)
    extra = list(_extra(ticket.request, config, program, folder))
    return [*program.command, *whole, *extra, "--output", str(folder / _OUTPUT)]


def _files(request: Request, config: SdCppConfig) -> Iterator[str]:
    if request.task == "upscale" and request.upscale:
        known = {path.name: path for path in config.upscale_models}
        yield from ("--upscale-model", str(known[upscaler(request.upscale, known)].absolute()))
        return
    yield from arguments.weights(config)
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
    read_image_file(path, what).opened().convert(mode).save(to, "PNG", compress_level=1)
    return str(to)


def _texts_in_files(asked: list[str], program: Program, folder: Path) -> list[str]:
    """A system takes arguments of some length only; a longer text goes by file."""
    for flag, by_file in _TEXT_FILES.items():
        if flag not in asked:
            continue
        at = asked.index(flag)
        text = asked[at + 1].encode()
        if len(text) <= arguments.most_bytes():
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


def _refuse_lacking(whole: list[str], program: Program, asked: list[str]) -> None:
    """A ticket may have been prepared for another version."""
    texts = {asked[i + 1] for i, flag in enumerate(asked) if flag in _TEXT_FILES}
    for flag in whole:
        if flag.startswith("--") and flag not in texts and flag not in program.flags:
            raise Rejected(
                f"This version of stable-diffusion.cpp has no {flag}, which is needed for this.",
                remedy="Install a newer version.",
            )


def _extra(request: Request, config: SdCppConfig, program: Program, folder: Path) -> Iterator[str]:
    if _OPTIONAL[0] in program.flags:
        yield _OPTIONAL[0]  # what goes into a picture is decided where it is kept
    shows = config.preview != "none" and request.task != "upscale"
    if shows and program.flags.issuperset(_OPTIONAL[1:]):
        yield from ("--preview", config.preview, "--preview-path", str(folder / "preview.png"))

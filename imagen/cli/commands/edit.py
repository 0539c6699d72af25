"""imagen edit: change an image as an instruction says."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Command, quote_words, usage_error
from imagen.cli.folders import generate_for_images
from imagen.cli.generation import expand_prompts
from imagen.cli.options import (
    CONTROLS,
    SAMPLING,
    build_request,
    keep_going_option,
    literal_option,
    request_options,
    run_options,
)
from imagen.cli.parsing import FILE, read_prompt

if TYPE_CHECKING:
    from imagen.cli.options import RunOptions
    from imagen.core.request import Request


@click.command(cls=Command)
@click.argument("files", nargs=-1, type=FILE, metavar="FILE...")
@click.argument("instruction")
@click.option("--prompt", hidden=True)
@request_options("mask", "feather", "strength", *SAMPLING, *CONTROLS, "set")
@literal_option
@keep_going_option
@run_options
def edit(
    files: tuple[str, ...],
    instruction: str,
    prompt: str | None,
    values: dict[str, object],
    literal: bool,
    run: RunOptions,
) -> int:
    """Edit an image by instruction.

    FILE is the image to edit; further files are reference images for INSTRUCTION. With --mask, only
    the white areas of the mask are repainted. The first FILE may also be a folder, or a pattern in
    quotes: each of its images is edited.
    """
    if prompt is not None:  # then all positional words are files
        files, instruction = (*files, instruction), prompt
    edit_request(files, instruction, values)  # before any file is looked for
    return generate_for_images(
        files[0],
        lambda path: edit_request((path, *files[1:]), instruction, values),
        run,
        expand=partial(expand_prompts, settings=run.settings, literal=literal),
    )


def edit_request(files: tuple[str, ...], instruction: str, values: dict[str, object]) -> Request:
    """The request for an edit; with a mask, for inpainting the first file.

    Raises UsageError if the instruction is missing, empty or not quoted.
    """
    if not files or os.path.isfile(instruction):
        raise usage_error(
            f"The instruction is missing. Put it after {instruction}: "
            "imagen edit FILE... INSTRUCTION"
        )
    words = [*files[1:], instruction]
    if len(words) > 1 and not any({*"./\\: "} & {*word} or os.path.exists(word) for word in words):
        meant = quote_words([files[0], " ".join(words)])
        raise usage_error(
            f"Put quotes around an instruction of several words:\n  imagen edit {meant}"
        )
    if not instruction.strip():
        raise usage_error("The instruction is empty. Say what to change.")
    images: dict[str, object] = {"references": files}
    if "mask" in values:
        images = {"image": files[0], "references": files[1:]}
    elif "feather" in values or "strength" in values:
        raise usage_error("--feather and --strength need --mask.")
    return build_request({"prompt": read_prompt(instruction)} | images | values)

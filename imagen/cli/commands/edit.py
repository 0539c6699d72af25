"""imagen edit: change a picture by a sentence."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.command_table import Command, quote_words, usage_error
from imagen.cli.generation import make
from imagen.cli.options import (
    CONTROLS,
    SAMPLING,
    asking,
    keep_going_option,
    request,
    run_options,
)
from imagen.cli.parsing import FILE, prompt_text

if TYPE_CHECKING:
    from imagen.cli.options import Run
    from imagen.core.request import Request


@click.command(cls=Command)
@click.argument("files", nargs=-1, type=FILE, metavar="FILE...")
@click.argument("instruction")
@click.option("--prompt", hidden=True)
@asking("mask", "feather", "strength", *SAMPLING, *CONTROLS, "set")
@keep_going_option
@run_options
def edit(
    files: tuple[str, ...],
    instruction: str,
    prompt: str | None,
    asked: dict[str, Any],
    run: Run,
) -> None:
    """Change a picture by a sentence.

    FILE is the picture, and further ones that INSTRUCTION speaks of. With --mask only the white of
    it is redrawn.
    """
    if prompt is not None:  # it is the instruction, and all words are files
        files, instruction = (*files, instruction), prompt
    make(edited(files, instruction, asked), run)


def edited(files: tuple[str, ...], instruction: str, asked: dict[str, Any]) -> Request:
    """The request for an edit; with a mask, for repainting the first of the files.

    Raises click's UsageError where the instruction was forgotten.
    """
    # pathlib raises where a sentence is too long for a name
    if not files or os.path.isfile(instruction):
        raise usage_error(
            f"Say last what to do with {instruction}: imagen edit FILE... INSTRUCTION."
        )
    words = [*files[1:], instruction]
    if len(words) > 1 and not any(map(_is_file_like, words)):
        meant = quote_words([files[0], " ".join(words)])
        raise usage_error(f"An instruction of several words needs quotes:\n  imagen edit {meant}")
    if not instruction.strip():
        raise usage_error("The instruction is empty: say what to change.")
    pictures: dict[str, Any] = {"references": files}
    if "mask" in asked:
        pictures = {"image": files[0], "references": files[1:]}
    elif "feather" in asked or "strength" in asked:
        raise usage_error(
            "--feather and --strength need --mask: an edit by words alone has neither."
        )
    return request({"prompt": prompt_text(instruction)} | pictures | asked)


def _is_file_like(word: str) -> bool:
    """Whether a word may name a file, or is a whole sentence."""
    return any(character in word for character in "./\\: ") or os.path.exists(word)

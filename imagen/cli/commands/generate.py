"""imagen generate: make pictures of a prompt."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.command_table import Command
from imagen.cli.generation import make
from imagen.cli.options import EVERYTHING, asking, keep_going_option, prompt_argument, run_options
from imagen.cli.parsing import from_json_option, prompted
from imagen.errors import UnknownBackend

if TYPE_CHECKING:
    from imagen.cli.options import Run


@click.command(cls=Command)
@prompt_argument
@from_json_option
@asking(*EVERYTHING)
@keep_going_option
@run_options
def generate(prompt: str | None, document: str | None, asked: dict[str, Any], run: Run) -> None:
    """Make pictures of a prompt.

    PROMPT is the text itself, - for standard input, or @FILE for a file's text; it is optional if
    the backend has a prompt of its own. The path of each image is printed on its own line. --image,
    --mask, --reference and --control start from existing images.
    """
    given = prompted(prompt, document, asked, [run.backend] if run.backend else [])
    try:
        make(given.request, replace(run, backend=run.backend or given.backend))
    except UnknownBackend as error:
        if run.backend is not None or given.backend != error.name:
            raise
        remedy = f"{document} names it; name another with --backend. {error.remedy}"
        raise error.replace(remedy=remedy) from error

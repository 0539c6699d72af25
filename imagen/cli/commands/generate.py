"""imagen generate: generate images from a prompt."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Command
from imagen.cli.generation import expand_prompts, generate_and_report
from imagen.cli.options import (
    ALL_REQUEST_OPTIONS,
    combinatorial_option,
    from_json_option,
    keep_going_option,
    literal_option,
    prompt_argument,
    request_options,
    run_options,
)
from imagen.cli.parsing import request_from_args
from imagen.errors import UnknownBackend

if TYPE_CHECKING:
    from imagen.cli.options import RunOptions


@click.command(cls=Command)
@prompt_argument
@from_json_option
@request_options(*ALL_REQUEST_OPTIONS)
@literal_option
@combinatorial_option
@keep_going_option
@run_options
def generate(
    prompt: str | None,
    document: str | None,
    values: dict[str, object],
    literal: bool,
    combinatorial: bool,
    run: RunOptions,
) -> None:
    """Generate images from a prompt.

    PROMPT is the text itself, - for standard input, or @FILE for the text of a file; it is optional
    if the backend has a prompt of its own. The path of each image is printed on its own line. To
    start from existing images, use --image, --mask, --reference and --control.
    """
    file = request_from_args(prompt, document, values, [run.backend] if run.backend else [])
    requests = expand_prompts(
        file.request,
        run.settings,
        literal=literal,
        combinatorial=combinatorial,
        finished=file.finished,
    )
    try:
        generate_and_report(requests, replace(run, backend=run.backend or file.backend))
    except UnknownBackend as error:
        if run.backend is not None or file.backend != error.name:
            raise
        remedy = f"{document} names it. Choose another with --backend. {error.remedy}"
        raise error.replace(remedy=remedy) from error

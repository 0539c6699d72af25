"""imagen generate: generate images from a prompt."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Command
from imagen.cli.folders import generate_for_images
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
) -> int:
    """Generate images from a prompt.

    PROMPT is the text itself, - for standard input, or @FILE for the text of a file; it is optional
    if the backend has a prompt of its own. The path of each image is printed on its own line. To
    start from existing images, use --image, --mask, --reference and --control. --image may also
    name a folder, or a pattern in quotes: each of its images is one request.
    """
    file = request_from_args(prompt, document, values, [run.backend] if run.backend else [])
    expand = partial(
        expand_prompts,
        settings=run.settings,
        literal=literal,
        combinatorial=combinatorial,
        finished=file.finished,
    )
    is_named = run.backend is not None
    run = replace(run, backend=run.backend or file.backend)
    image = file.request.image
    try:
        if image is None:
            generate_and_report(expand(file.request), run)
            return 0
        return generate_for_images(
            image,
            lambda path: file.request.model_copy(update={"image": path}),
            run,
            expand=expand,
        )
    except UnknownBackend as error:
        if is_named or file.backend != error.name:
            raise
        remedy = f"{document} names it. Choose another with --backend. {error.remedy}"
        raise error.replace(remedy=remedy) from error

"""imagen batch: generate many images from a file of prompts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.batch_run import run_rows
from imagen.cli.command_table import Command, usage_error
from imagen.cli.library_common import count_noun
from imagen.cli.options import (
    ALL_REQUEST_OPTIONS,
    build_request,
    combinatorial_option,
    keep_going_option,
    literal_option,
    request_options,
    run_options,
)
from imagen.cli.parsing import FILE, read_stdin

if TYPE_CHECKING:
    from imagen.batch.prompt_files import PromptFormat
    from imagen.cli.options import RunOptions


@click.command(cls=Command)
@click.argument("file", type=FILE)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "csv", "jsonl"]),
    help="The format of FILE, if the ending of its name does not say it.",
)
@click.option(
    "--prompt-template",
    metavar="TEXT",
    help="The prompt of each row, with its columns in braces: 'a {animal} in {place}'.",
)
@request_options(*ALL_REQUEST_OPTIONS)
@literal_option
@combinatorial_option
@keep_going_option
@run_options
def batch(
    file: str,
    format_: PromptFormat | None,
    prompt_template: str | None,
    values: dict[str, Any],
    literal: bool,
    combinatorial: bool,
    run: RunOptions,
) -> int:
    """Generate many images from a file of prompts.

    FILE has a prompt on each line; or it is CSV or JSON lines, whose columns or keys are fields of
    a request, backend and output; - is standard input. The options are defaults for every row. All
    rows are checked before the first is submitted. Run the same command again to make only what is
    missing or failed.
    """
    from imagen.batch.batch_file import BatchOptions, read_batch
    from imagen.batch.prompt_files import PromptTemplate, find_format, read_prompt_file

    if combinatorial and literal:
        raise usage_error("--combinatorial and --literal exclude each other. Use one of them.")
    run = with_batch_folder(run, "stdin" if file == "-" else Path(file).stem)
    options = BatchOptions(
        settings=run.settings,
        backend=run.backend or run.settings.default_backend,
        defaults=build_request(values),
        template=None if prompt_template is None else PromptTemplate(prompt_template),
        is_literal=literal,
        is_combinatorial=combinatorial,
    )
    source, data = (
        ("standard input", read_stdin()) if file == "-" else (file, read_prompt_file(file))
    )
    found, faults = read_batch(data, source, format_ or find_format(file), options)
    return run_rows(
        [one.row for one in found],
        run,
        name=f"{Path(source).name}: {count_noun(len(found), 'request')}",
        places=[one.place for one in found],
        faults=faults,
    )


def with_batch_folder(run: RunOptions, name: str) -> RunOptions:
    """The options with a folder of their own for the images, if --output names none.

    The folder is always the same, so that the command can be continued. Raises UsageError for
    --output with the name of an image.
    """
    from imagen.outputs.naming import slugify

    if run.is_stdout or (run.output is not None and run.output.name is not None):
        raise usage_error("--output must name a folder: the batch names the images.")
    if run.output is not None:
        return run
    return replace(run, settings=run.settings.with_folder(f"batch-{slugify(name)}"))

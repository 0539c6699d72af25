"""imagen preprocess: turn an image into a control image."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Command, usage_error
from imagen.cli.generation import generate_and_report
from imagen.cli.options import SIZE, build_request, request_options, run_options
from imagen.cli.parsing import FILE

if TYPE_CHECKING:
    from imagen.cli.options import RunOptions


@click.command(cls=Command)
@click.argument("kind")
@click.argument("file", type=FILE)
@request_options(*SIZE, "set")
@run_options
def preprocess(kind: str, file: str, values: dict[str, object], run: RunOptions) -> None:
    """Turn an image into a control image.

    KIND is canny, depth, pose, scribble, …: `imagen backends show NAME` lists the kinds of a
    backend. Use the result with --control.
    """
    if os.path.isfile(kind) and not os.path.exists(file):
        raise usage_error(f"KIND comes first: imagen preprocess {file} {kind}")
    generate_and_report(build_request({"image": file, "preprocess": kind} | values), run)

"""imagen preprocess: turn an image into a control image."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Command, usage_error
from imagen.cli.folders import generate_for_images
from imagen.cli.options import (
    SIZE,
    build_request,
    keep_going_option,
    request_options,
    run_options,
)
from imagen.cli.parsing import FILE

if TYPE_CHECKING:
    from imagen.cli.options import RunOptions


@click.command(cls=Command)
@click.argument("kind")
@click.argument("file", type=FILE)
@request_options(*SIZE, "set")
@keep_going_option
@run_options
def preprocess(kind: str, file: str, values: dict[str, object], run: RunOptions) -> int:
    """Turn an image into a control image.

    KIND is canny, depth, pose, scribble, …: `imagen backends show NAME` lists the kinds of a
    backend. Use the result with --control. FILE may also be a folder, or a pattern in quotes.
    """
    if os.path.isfile(kind) and not os.path.exists(file):
        raise usage_error(f"KIND comes first: imagen preprocess {file} {kind}")
    return generate_for_images(
        file, lambda path: build_request({"image": path, "preprocess": kind} | values), run
    )

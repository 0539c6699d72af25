"""imagen preprocess: make a control picture out of a picture."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.command_table import Command, usage_error
from imagen.cli.generation import make
from imagen.cli.options import SIZE, asking, request, run_options
from imagen.cli.parsing import FILE

if TYPE_CHECKING:
    from imagen.cli.options import Run


@click.command(cls=Command)
@click.argument("kind")
@click.argument("file", type=FILE)
@asking(*SIZE, "set")
@run_options
def preprocess(kind: str, file: str, asked: dict[str, Any], run: Run) -> None:
    """Make a control picture out of a picture.

    KIND is canny, depth, pose, scribble, …: `imagen backends show NAME` lists those of a backend.
    What is made can be given to --control.
    """
    if os.path.isfile(kind) and not os.path.exists(file):
        raise usage_error(f"Write the kind first: imagen preprocess {file} {kind}")
    make(request({"image": file, "preprocess": kind} | asked), run)

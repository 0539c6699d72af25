"""imagen restore: restore the faces in an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Command
from imagen.cli.folders import generate_for_images
from imagen.cli.options import build_request, keep_going_option, request_options, run_options
from imagen.cli.parsing import FILE

if TYPE_CHECKING:
    from imagen.cli.options import RunOptions


@click.command(cls=Command)
@click.argument("file", type=FILE)
@click.option(
    "--fidelity",
    type=float,
    help="0 favours quality, 1 favours likeness to the original.",
)
@click.option("--model", type=FILE, help="File of the face restoration model.")
@request_options("set")
@keep_going_option
@run_options
def restore(
    file: str,
    fidelity: float | None,
    model: str | None,
    values: dict[str, object],
    run: RunOptions,
) -> int:
    """Restore the faces in an image.

    FILE may also be a folder, or a pattern in quotes: each image is restored.
    """
    given = {"fidelity": fidelity, "model": model}
    options = {name: value for name, value in given.items() if value is not None}
    return generate_for_images(
        file, lambda path: build_request({"image": path, "restore": options} | values), run
    )

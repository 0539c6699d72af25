"""imagen restore: mend the faces of a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from imagen.cli.command_table import Command
from imagen.cli.generation import make
from imagen.cli.options import asking, request, run_options
from imagen.cli.parsing import FILE

if TYPE_CHECKING:
    from imagen.cli.options import Run


@click.command(cls=Command)
@click.argument("file", type=FILE)
@click.option("--fidelity", type=float, help="From 0, the finest face, to 1, the likest one.")
@click.option("--model", type=FILE, help="The restorer's file.")
@asking("set")
@run_options
def restore(
    file: str, fidelity: float | None, model: str | None, asked: dict[str, Any], run: Run
) -> None:
    """Mend the faces of a picture."""
    given = {"fidelity": fidelity, "model": model}
    how = {name: value for name, value in given.items() if value is not None}
    make(request({"image": file, "restore": how} | asked), run)

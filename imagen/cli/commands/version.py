"""imagen version: print the version."""

from __future__ import annotations

import click

from imagen import __version__
from imagen.cli.command_table import Command


@click.command(cls=Command)
def version() -> None:
    """Print the version."""
    click.echo(__version__)

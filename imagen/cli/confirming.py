"""A question before something that can't be undone."""

from __future__ import annotations

import sys

import click

from imagen.cli.command_table import usage_error
from imagen.errors import Cancelled


def refuse_unasked(why: str) -> None:
    """Raises UsageError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise usage_error(f"{why}; where nobody can be asked, it needs --yes.")


def confirm(question: str, *, declined: str) -> None:
    """Ask on the terminal; raises Cancelled for anything but a yes."""
    try:
        is_meant = click.confirm(question, err=True)
    except click.Abort:
        click.echo(err=True)  # the line of the question
        is_meant = False
    if not is_meant:
        raise Cancelled(declined)

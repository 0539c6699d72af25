"""Previews of what a command makes: settled before it, shown after it."""

from __future__ import annotations

import os
import sys
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING

import click

from imagen.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imagen.config import OutputSettings
    from imagen.preview import Preview
    from imagen.request import Request
    from imagen.spine import Made

preview_option = click.option(
    "--preview/--no-preview",
    "preview",
    default=None,
    help="Show each picture in tmux or in the terminal, or don't.",
)


def planned(
    settings: OutputSettings, asked: bool | None, *, as_json: bool = False, quiet: bool = False
) -> Preview | None:
    """How pictures will be shown; None where they won't.

    Raises ConfigError where they must be shown and can't be. JSON is for programs: with it the
    terminal itself shows no picture.
    """
    is_tty = sys.stdout.isatty() and not as_json
    if asked is None and settings.preview == "auto" and not is_tty:
        return None  # without loading anything for it
    from imagen.preview import draws_sixels, plan

    return plan(
        settings,
        environ=os.environ,
        is_tty=is_tty,
        asked=asked,
        quiet=quiet,
        ask_terminal=draws_sixels,
    )


def show_made(preview: Preview | None, made: Sequence[Made]) -> None:
    """Show the pictures of these runs."""
    pictures = [
        saved.path for run in made for saved in run.saved if saved.media_type.startswith("image/")
    ]
    if preview is not None and pictures:
        show_files(preview, pictures, made[-1].ticket.request)


def show_files(preview: Preview | None, pictures: Sequence[Path], request: Request) -> None:
    """Show these pictures, under the first words of the request; what fails is told on stderr."""
    if preview is None:
        return
    from imagen.outputs.naming import slug
    from imagen.preview import show

    title = slug(request.prompt or PureWindowsPath(request.image or "").stem)
    for sentence in show(preview, pictures, title=title):
        click.echo(printable(sentence), err=True)

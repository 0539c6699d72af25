"""Previews of what a command makes: settled before it, shown after it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from imagen.cli.terminal import echo

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from imagen.config import OutputSettings
    from imagen.core.request import Request
    from imagen.pipeline.generate import Generation
    from imagen.preview import Preview

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


def show_made(preview: Preview | None, made: Iterable[tuple[Generation, Request]]) -> None:
    """Show the pictures of these runs, each with what was asked for."""
    pictures = {
        saved.path: asked
        for run, asked in made
        for saved in run.saved
        if saved.media_type.startswith("image/")
    }
    show_files(preview, pictures)


def show_files(preview: Preview | None, pictures: Mapping[Path, Request]) -> None:
    """Show these pictures, of what was asked for each; what fails is told on stderr."""
    if preview is None or not pictures:
        return
    from imagen.outputs.naming import slug_of
    from imagen.preview import show

    for sentence in show(preview, {path: slug_of(asked) for path, asked in pictures.items()}):
        echo(sentence, err=True)

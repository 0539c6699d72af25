"""The requests that a command line stands for, without running them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import usage_error
from imagen.cli.generation import record_requests
from imagen.core.text import did_you_mean, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imagen.cli.options import RunOptions
    from imagen.core.request import Request

COMMANDS = ("generate", "edit", "outpaint", "upscale", "restore", "preprocess", "again")
"""The commands that stand for requests."""


def requests_of(
    words: Sequence[str], config_path: Path | None = None
) -> list[tuple[Request, RunOptions]]:
    """The requests of a command, such as `generate "a fox"`, each with its options.

    Raises UsageError for another command and for wrong options, and what the command raises.
    """
    root = click.get_current_context().find_root()
    name, *rest = words
    group = root.command
    command = group.get_command(root, name) if isinstance(group, click.Group) else None
    if name not in COMMANDS or command is None:
        shown = one_line(name, limit=40)
        raise usage_error(
            f"{shown!r} is not a command that can be repeated.{did_you_mean(shown, COMMANDS)} "
            f"These are: {', '.join(COMMANDS)}."
        )
    if config_path is not None:
        root.params["config_path"] = config_path
    with (
        record_requests() as recorded,
        command.make_context(name, list(rest), parent=root) as context,
    ):
        command.invoke(context)
    return recorded

"""imagen help: the help of a command."""

from __future__ import annotations

import click

from imagen.cli.command_table import Command
from imagen.cli.completers import complete_commands


@click.command("help", cls=Command)
@click.argument("names", nargs=-1, shell_complete=complete_commands, metavar="[COMMAND]...")
@click.pass_context
def help_(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Show the help of a command.

    Without COMMAND, list all commands.
    """
    context = ctx.find_root()
    for name in names:
        if not isinstance(context.command, click.Group):
            context.fail(f"{context.command_path} has no subcommands.")
        _, command, _ = context.command.resolve_command(context, [name])
        if command is not None:
            context = click.Context(command, info_name=name, parent=context)
    click.echo(context.get_help())

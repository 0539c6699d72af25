"""The commands of imagen by name, and the classes that commands and options are made of."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from click.parser import _OptionParser
    from click.shell_completion import CompletionItem

_PLACE = "imagen.cli.commands."
SECTIONS = {
    "Images": {
        "generate": ("generate:generate", "Generate images from a prompt."),
        "edit": ("edit:edit", "Edit an image by instruction."),
        "outpaint": ("outpaint:outpaint", "Extend an image beyond its edges."),
        "upscale": ("upscale:upscale", "Enlarge an image."),
        "restore": ("restore:restore", "Restore the faces in an image."),
        "preprocess": ("preprocess:preprocess", "Turn an image into a control image."),
        "convert": ("convert:convert", "Convert images to another format, with their metadata."),
        "again": ("again:again", "Regenerate an image and report what changed."),
        "compare": ("compare:compare", "Compare backends on the same prompt."),
        "arena": ("arena:arena", "Rank models by blind votes on pairs of images."),
        "batch": ("batch:batch", "Generate many images from a file of prompts."),
        "watch": ("watch:watch", "Run a command for each image that appears in a folder."),
        "demo": ("demo:demo", "Run a comparison with simulated images, without a GPU."),
    },
    "Library": {
        "history": ("history:history", "List generated images, newest first."),
        "library": (
            "library:library",
            "Add existing images, and compare the library with the disk.",
        ),
        "show": ("show:show", "Show how an image was made."),
        "open": ("open:open_", "Open an image in the default viewer."),
        "tag": ("tag:tag", "Add, remove or list tags."),
        "rate": ("rate:rate", "Rate images from 1 to 5 stars."),
        "rm": ("rm:rm", "Move images and their sidecars to the trash."),
        "trash": ("trash:trash", "List the trash, or empty it."),
        "usage": ("usage:usage", "Show usage: images, time and cost."),
        "sync": ("sync:sync", "Send waiting deliveries to Supabase and webhooks."),
        "url": ("url:url", "Create a temporary link to an image in the cloud."),
        "resume": ("resume:resume", "Finish jobs that were interrupted."),
    },
    "Queue": {
        "jobs": ("jobs:jobs", "List the jobs of the queue, wait for them, and change them."),
        "worker": ("worker:worker", "Run the jobs of the queue until Ctrl-C."),
    },
    "Servers": {
        "serve": ("serve:serve", "Serve the HTTP API until Ctrl-C."),
        "gallery": ("gallery:gallery", "Open the gallery: the page of `imagen serve`."),
        "tokens": ("tokens:tokens", "Create, list and revoke the tokens of the server."),
        "mcp": ("mcp:mcp", "Serve tools to an MCP host over stdin and stdout."),
    },
    "Setup": {
        "backends": ("backends:backends", "List the backends and what they are missing."),
        "models": ("models:models", "List the models that the backends offer."),
        "workflows": ("workflows:workflows", "List, show, check and add workflows."),
        "config": ("config:config", "Create, check and show the configuration."),
        "doctor": ("doctor:doctor", "Find problems and suggest fixes."),
        "completion": ("completion:completion", "Print the completion script of a shell."),
        "version": ("version:version", "Print the version."),
        "help": ("help:help_", "Show the help of a command."),
    },
}
COMMANDS = {
    name: (_PLACE + place, sentence)
    for commands in SECTIONS.values()
    for name, (place, sentence) in commands.items()
}
"""Where each command is defined, and the first sentence of its help."""


class Option(click.Option):
    """An option with additional names that the help does not list."""

    def __init__(self, *args: Any, hidden_names: Sequence[str] = (), **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.hidden_names = tuple(hidden_names)

    def add_to_parser(self, parser: _OptionParser, ctx: click.Context) -> None:
        super().add_to_parser(parser, ctx)
        if self.hidden_names:
            parser.add_option(self, self.hidden_names, dest=self.name, nargs=self.nargs)


class Command(click.Command):
    """A command that refuses repeated options and explains unquoted prompts."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        _check_arguments(self, ctx, args)
        return super().parse_args(ctx, args)


class Group(click.Group):
    """A group of such commands; its own options are checked too."""

    command_class = Command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        _check_arguments(self, ctx, args)
        return super().parse_args(ctx, args)


class CommandTable(Group):
    """The commands of the table, each imported when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        is_unknown = args[0] not in COMMANDS and not args[0].startswith("-")
        if is_unknown and not ctx.resilient_parsing:
            from imagen.core.text import did_you_mean

            ctx.fail(f"Unknown command {args[0]!r}.{did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete from the table, without importing any command."""
        from click.shell_completion import CompletionItem

        commands = [
            CompletionItem(name, help=sentence)
            for name, (_, sentence) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for heading, commands in SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl([(name, sentence) for name, (_, sentence) in commands.items()])


def usage_error(message: str) -> click.UsageError:
    """The error for options that do not make sense together."""
    return click.UsageError(message, ctx=click.get_current_context(silent=True))


def quote_words(words: Sequence[str]) -> str:
    """The words as one would type them in this system's shell."""
    import shlex
    import subprocess

    if os.name == "nt":
        return subprocess.list2cmdline(words)
    quoted = []
    for word in words:
        single = shlex.quote(word)
        can_use_double = single.startswith("'") and not {*word} & {*'"$`\\!'}
        quoted.append(f'"{word}"' if can_use_double else single)
    return " ".join(quoted)


def _check_arguments(command: click.Command, ctx: click.Context, args: list[str]) -> None:
    """Raises UsageError for mistakes that click ignores or does not explain."""
    if ctx.resilient_parsing:  # a shell completes an unfinished line
        return
    values, rest, order = command.make_parser(ctx).parse_args(args=list(args))
    if any(param.is_eager for param in order):  # --help and --version take precedence
        return
    for param in dict.fromkeys(order):
        times = order.count(param)
        if not isinstance(param, click.Option) or times == 1 or param.multiple or param.count:
            continue
        if param.is_flag:
            if {*param.opts} & {*args} and {*param.secondary_opts} & {*args}:
                ctx.fail(f"{param.opts[0]} and {param.secondary_opts[0]} exclude each other.")
            continue
        names = [*param.opts, *(param.hidden_names if isinstance(param, Option) else ())]
        typed = [name for name in names if any(arg.partition("=")[0] == name for arg in args)]
        spelled = f" (as {' and '.join(typed)})" if len(typed) > 1 else ""
        name = max(param.opts, key=len)
        ctx.fail(f"{name} is given {times} times{spelled}, but it takes one value.")
    arguments = [param for param in command.params if isinstance(param, click.Argument)]
    if rest and arguments and all(map(os.path.isfile, rest)):
        ctx.fail(
            f"{ctx.command_path} takes one file, a folder, or a pattern. Put quotes around a "
            "pattern, such as 'photos/*.jpg'."
        )
    if rest and arguments and arguments[-1].name == "prompt":
        words = [str(values["prompt"]), *rest]
        prompt = [" ".join(words)]
        positions = range(len(args) - len(words) + 1)
        start = next((n for n in positions if args[n : n + len(words)] == words), None)
        meant = prompt if start is None else [*args[:start], *prompt, *args[start + len(words) :]]
        example = f"{ctx.command_path} {quote_words(meant)}"
        ctx.fail(f"Put quotes around a prompt of several words:\n  {example}")

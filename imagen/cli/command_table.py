"""The classes of all commands and options: what click does not check itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from click.parser import _OptionParser


class Option(click.Option):
    """An option with further names, which the help does not list."""

    def __init__(self, *args: Any, hidden_names: Sequence[str] = (), **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.hidden_names = tuple(hidden_names)

    def add_to_parser(self, parser: _OptionParser, ctx: click.Context) -> None:
        super().add_to_parser(parser, ctx)
        if self.hidden_names:
            parser.add_option(self, self.hidden_names, dest=self.name, nargs=self.nargs)


class Command(click.Command):
    """A command that refuses an option given twice, and a prompt without quotes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        _check_arguments(self, ctx, args)
        return super().parse_args(ctx, args)


class Group(click.Group):
    """A group of such commands, which checks its own options too."""

    command_class = Command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        _check_arguments(self, ctx, args)
        return super().parse_args(ctx, args)


def _check_arguments(command: click.Command, ctx: click.Context, args: list[str]) -> None:
    """Raises UsageError for what click would pass over or not explain."""
    if ctx.resilient_parsing:  # the shell completes an unfinished line
        return
    values, rest, order = command.make_parser(ctx).parse_args(args=list(args))
    if any(param.is_eager for param in order):  # --help and --version count, whatever else is there
        return
    for param in dict.fromkeys(order):
        if isinstance(param, click.Option) and order.count(param) > 1:
            _refuse_repeated(ctx, param, order.count(param), args)
    arguments = [param for param in command.params if isinstance(param, click.Argument)]
    if rest and arguments and arguments[-1].name == "prompt":
        raise _unquoted(ctx, [str(values["prompt"]), *rest], args)


def _refuse_repeated(
    ctx: click.Context, option: click.Option, times: int, args: Sequence[str]
) -> None:
    """Raises UsageError unless it takes several values, or is a flag that is not contradicted."""
    if option.multiple or option.count:
        return
    if not option.is_flag:
        names = [*option.opts, *(option.hidden_names if isinstance(option, Option) else ())]
        typed = [name for name in names if any(arg.partition("=")[0] == name for arg in args)]
        also = f", as {' and '.join(typed)}" if len(typed) > 1 else ""
        name = max(option.opts, key=len)
        ctx.fail(f"{name} is given {times} times{also}, but it takes one value.")
    if {*option.opts} & {*args} and {*option.secondary_opts} & {*args}:
        ctx.fail(f"{option.opts[0]} and {option.secondary_opts[0]} exclude each other.")


def _unquoted(ctx: click.Context, words: list[str], args: list[str]) -> click.UsageError:
    """The error of a prompt of several words, with the command that was meant."""
    whole = [" ".join(words)]
    places = range(len(args) - len(words) + 1)
    start = next((n for n in places if args[n : n + len(words)] == words), None)
    meant = whole if start is None else [*args[:start], *whole, *args[start + len(words) :]]
    return click.UsageError(
        f"A prompt of several words needs quotes:\n  {ctx.command_path} {quote_words(meant)}", ctx
    )


def quote_words(words: Sequence[str]) -> str:
    """The words as they are typed in the shell of this system."""
    import shlex  # for an error only
    import subprocess

    if os.name == "nt":
        return subprocess.list2cmdline(words)
    quoted = map(shlex.quote, words)
    pairs = zip(words, quoted, strict=True)
    return " ".join(f'"{word}"' if _is_plain(word, q) else q for word, q in pairs)


def _is_plain(word: str, quoted: str) -> bool:
    """Whether double quotes, as most people write them, do as well as single ones."""
    return quoted.startswith("'") and not {*word} & {*'"$`\\!'}


def usage_error(message: str) -> click.UsageError:
    """The error of flags that make no sense together."""
    return click.UsageError(message, ctx=click.get_current_context(silent=True))

"""imagen completion: shell completion of commands, options and their values."""

from __future__ import annotations

import os
import re
import shlex
from contextlib import redirect_stderr, suppress
from typing import TYPE_CHECKING

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from imagen.cli import COMPLETION_VARIABLE
from imagen.cli.command_table import Command

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_PROGRAM = "imagen"
_POWERSHELL_WORD = re.compile(r"[\w./:\\=+,~-]+")
"""What PowerShell takes literally; anything else is quoted."""


class _OptionValueComplete(ShellComplete):
    """For shells in which `--name=value` is one word, which is replaced as a whole."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        items = super().get_completions(args, incomplete)
        name, equals, _ = incomplete.partition("=")
        if equals and name.startswith("--"):
            for item in items:
                item.value = f"{name}={item.value}"
        return items


class _ZshComplete(_OptionValueComplete, ZshComplete):
    pass


class _FishComplete(_OptionValueComplete, FishComplete):
    # A value may contain commas: --models a,b
    source_template = FishComplete.source_template.replace('split ","', 'split --max 1 ","')


class _BashComplete(BashComplete):
    """In Bash `--name=value` is three words, and only the last is replaced."""

    def source(self) -> str:
        return ShellComplete.source(self)  # without starting bash to ask for its version

    def get_completion_args(self) -> tuple[list[str], str]:
        args, incomplete = super().get_completion_args()
        return [arg for arg in args if arg != "="], "" if incomplete == "=" else incomplete

    def format_completion(self, item: CompletionItem) -> str:
        # Bash inserts the value unquoted, and would run what it contains.
        value = shlex.quote(item.value) if item.type == "plain" else item.value
        return f"{item.type},{value}"


class _PowerShellComplete(_OptionValueComplete):
    """PowerShell completes file names itself if it gets nothing."""

    name = "powershell"
    source_template = """\
Register-ArgumentCompleter -Native -CommandName %(prog_name)s -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $before = $commandAst.CommandElements | Select-Object -Skip 1 |
        Where-Object { $_.Extent.EndOffset -lt $cursorPosition } |
        ForEach-Object { if ($null -ne $_.Value) { $_.Value } else { $_.ToString() } }
    $env:%(complete_var)s = 'powershell_complete'
    $env:COMP_WORDS = $before -join "`n"
    $env:COMP_WORD = $wordToComplete
    try {
        %(prog_name)s | ForEach-Object {
            $value, $help = $_ -split "`t", 2
            [System.Management.Automation.CompletionResult]::new(
                $value, $value, 'ParameterValue', $help)
        }
    } finally {
        $env:%(complete_var)s = $env:COMP_WORDS = $env:COMP_WORD = $null
    }
}
"""

    def get_completion_args(self) -> tuple[list[str], str]:
        words = os.environ.get("COMP_WORDS", "")
        return words.split("\n") if words else [], os.environ.get("COMP_WORD", "")

    def complete(self) -> str:
        items = self.get_completions(*self.get_completion_args())
        return "\n".join(self.format_completion(item) for item in items if item.type == "plain")

    def format_completion(self, item: CompletionItem) -> str:
        is_plain = _POWERSHELL_WORD.fullmatch(item.value)
        value = item.value if is_plain else "'{}'".format(item.value.replace("'", "''"))
        return f"{value}\t{' '.join((item.help or item.value).split())}"


_SHELLS: dict[str, type[ShellComplete]] = {
    "bash": _BashComplete,
    "zsh": _ZshComplete,
    "fish": _FishComplete,
    "powershell": _PowerShellComplete,
}


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(list(_SHELLS)))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    It completes commands, options, backends, styles, workflows, samplers and recent IDs.

    \b
    bash (4.4 or newer), in ~/.bashrc:
      eval "$(imagen completion bash)"
    zsh, in ~/.zshrc:
      eval "$(imagen completion zsh)"
    fish, once:
      imagen completion fish > ~/.config/fish/completions/imagen.fish
    PowerShell, in the file that $PROFILE names:
      imagen completion powershell | Out-String | Invoke-Expression
    """
    click.echo(_script(shell, click.get_current_context().find_root().command))


def answer_shell(command: click.Command, wanted: str) -> None:
    """Print the completions of a line, or the script, as the shell wants; nothing on errors."""
    shell, _, action = wanted.partition("_")
    # Someone who presses Tab does not want to see errors, such as those of the configuration.
    with suppress(Exception), open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
        if action == "source":
            click.echo(_script(shell, command))
        else:
            click.echo(_SHELLS[shell](command, {}, _PROGRAM, COMPLETION_VARIABLE).complete())


def _script(shell: str, command: click.Command) -> str:
    return _SHELLS[shell](command, {}, _PROGRAM, COMPLETION_VARIABLE).source()

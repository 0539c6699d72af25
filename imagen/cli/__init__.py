"""The command line: a table of commands, each loaded only when it runs."""

from __future__ import annotations

import errno
import gc
import io
import os
import sys
import time
import warnings
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from imagen import __version__
from imagen.cli.command_table import Group
from imagen.cli.parsing import PATH
from imagen.cli.streams import open_safely
from imagen.cli.terminal import echo
from imagen.errors import ConfigWarning, ImagenError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from click.shell_completion import CompletionItem

    from imagen.cli.streams import SafeOutput
    from imagen.errors import Failure

_STILL_RUNNING = "If anything was submitted, it may still run. Look for it with: imagen resume"
_MAKING = {
    "generate": ("imagen.cli.commands.generate:generate", "Make pictures of a prompt."),
    "edit": ("imagen.cli.commands.edit:edit", "Change a picture by a sentence."),
    "outpaint": ("imagen.cli.commands.outpaint:outpaint", "Go on beyond the sides of a picture."),
    "upscale": ("imagen.cli.commands.upscale:upscale", "Enlarge a picture."),
    "restore": ("imagen.cli.commands.restore:restore", "Mend the faces of a picture."),
    "preprocess": (
        "imagen.cli.commands.preprocess:preprocess",
        "Make a control picture out of a picture.",
    ),
    "convert": (
        "imagen.cli.commands.convert:convert",
        "Convert images to another format, with their metadata.",
    ),
    "again": (
        "imagen.cli.commands.again:again",
        "Make a picture again, and tell what is not as it was.",
    ),
    "compare": ("imagen.cli.commands.compare:compare", "Put one prompt to several backends."),
    "demo": ("imagen.cli.commands.demo:demo", "Compare simulated pictures, without a GPU."),
}
_LOOKING_BACK = {
    "history": ("imagen.cli.commands.history:history", "List what was made, the newest first."),
    "library": (
        "imagen.cli.commands.library:library",
        "Take pictures in, and compare the library with the disk.",
    ),
    "show": ("imagen.cli.commands.show:show", "Tell how a picture was made."),
    "open": ("imagen.cli.commands.open:open_", "Open an image in the system's viewer."),
    "tag": ("imagen.cli.commands.tag:tag", "Give pictures tags, take them away, or list them."),
    "rate": ("imagen.cli.commands.rate:rate", "Give pictures stars, 1 to 5; none takes them away."),
    "rm": (
        "imagen.cli.commands.rm:rm",
        "Put pictures into the trash; their files stay where they are.",
    ),
    "usage": ("imagen.cli.commands.usage:usage", "Show usage: images, time and cost."),
    "sync": ("imagen.cli.commands.sync:sync", "Send what waits for the cloud and for webhooks."),
    "url": ("imagen.cli.commands.url:url", "Give an address at which others can see a picture."),
    "resume": (
        "imagen.cli.commands.resume:resume",
        "Bring to an end what an interrupted run left behind.",
    ),
}
_SETTING_UP = {
    "backends": ("imagen.cli.commands.backends:backends", "List the backends, and what they lack."),
    "models": ("imagen.cli.commands.models:models", "List the models that the backends offer."),
    "workflows": (
        "imagen.cli.commands.workflows:workflows",
        "List, show, check and add workflows.",
    ),
    "config": ("imagen.cli.commands.config:config", "Write, check and show the configuration."),
    "doctor": (
        "imagen.cli.commands.doctor:doctor",
        "Tell what is wrong with imagen, and what to do about it.",
    ),
    "completion": (
        "imagen.cli.commands.completion:completion",
        "Print the script by which a shell completes imagen.",
    ),
    "version": ("imagen.cli.commands.version:version", "Print the version."),
    "help": ("imagen.cli.commands.help:help_", "Show the help of a command."),
}
COMPLETION_VARIABLE = "_IMAGEN_COMPLETE"
"""Set by the scripts of `imagen completion`, to what a shell wants to know."""
SECTIONS = {
    "Making pictures": _MAKING,
    "Looking back": _LOOKING_BACK,
    "Setting up": _SETTING_UP,
}
COMMANDS = _MAKING | _LOOKING_BACK | _SETTING_UP
"""Where each command is, and the first sentence of its help."""


class _Table(Group):
    """Commands by name, each imported when it is asked for."""

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

            ctx.fail(f"There is no command {args[0]!r}.{did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Of the table alone: no command is imported."""
        from click.shell_completion import CompletionItem

        known = {name: sentence for name, (_, sentence) in COMMANDS.items()}
        found = [CompletionItem(n, help=s) for n, s in known.items() if n.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for heading, commands in SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl([(name, sentence) for name, (_, sentence) in commands.items()])


@click.group(cls=_Table, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="imagen %(version)s", help="Print the version.")
@click.option(
    "--config",
    "config_path",
    type=PATH,
    metavar="FILE",
    help="Use this configuration file; also after the command.",
)
def cli(config_path: Path | None) -> None:
    """Make images with whatever engine you have."""


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit with the code of what happened."""
    # To look for garbage among all that is loaded takes a tenth of a picture's time; so little is
    # left of it that once in a while suffices, and not at the end.
    gc.set_threshold(50_000)
    output = open_safely()
    code = _settled(run(args), output)
    gc.freeze()
    sys.exit(code)


def _settled(code: int, output: SafeOutput) -> int:
    """The exit code once all output is written; a reader may leave, as that of a pipe to head."""
    sys.stdout.flush()
    wrong = output.failure
    if wrong is None or isinstance(wrong, BrokenPipeError):
        return code
    reason = wrong.strerror or str(wrong)
    remedy = "The command finished; only its output is missing."
    message = f"The output can't be written to stdout: {reason}."
    lost = _told(False, "output", message, 5, remedy=remedy)
    return code or lost


def run(args: list[str] | None = None) -> int:
    """Run the command line; the exit code. Errors are told on stderr, as JSON on stdout."""
    # Looking for pydantic's plug-ins costs a fifth of a picture's start, and we use none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    if wanted := os.environ.get(COMPLETION_VARIABLE):
        from imagen.cli.commands.completion import answer_shell

        answer_shell(cli, wanted)
        return 0
    as_json = "--json" in (sys.argv[1:] if args is None else args)
    try:
        time.time()
    except OverflowError:
        message = "The clock of this machine is past 2262, the last year that Python can measure."
        return _told(as_json, "error", message, 1, remedy="Set the clock.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", ConfigWarning)
            warnings.showwarning = partial(_show_warning, warnings.showwarning)
            code = cli.main(args, prog_name="imagen", standalone_mode=False)
    except click.exceptions.Abort:
        return _told(as_json, "cancelled", "Ended at once.", 130, remedy=_STILL_RUNNING)
    except click.ClickException as error:
        return _told_by_click(as_json, error, _hint(error, sys.argv[1:] if args is None else args))
    except ImagenError as error:
        return _told_by_imagen(as_json, error)
    except (MemoryError, ImportError, OSError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        message = "There is not enough memory for this."
        return _told(as_json, "error", message, 1, remedy=_STILL_RUNNING)
    return code if isinstance(code, int) else 0


def _show_warning(
    show: Callable[..., None],
    message: Warning | str,
    category: type[Warning],
    *where: Any,
    **file: Any,
) -> None:
    """A warning about the configuration as a sentence on stderr; others as Python shows them."""
    if issubclass(category, ConfigWarning):
        echo(f"imagen: {message}", err=True)
    else:
        show(message, category, *where, **file)


def _is_out_of_memory(error: Exception) -> bool:
    """Whether Python, the dynamic linker or the operating system has run out of memory."""
    phrases = ("failed to map segment", "can't start new thread")
    is_exhausted = isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM
    return is_exhausted or any(phrase in str(error) for phrase in phrases)


def _hint(error: click.ClickException, args: list[str]) -> str:
    """What holds spaces and was taken for an option was meant for a prompt."""
    if isinstance(error, click.NoSuchOption) and any(a[:1] == "-" and " " in a for a in args):
        return "A prompt that begins with a dash goes behind -- on its own."
    return ""


def _with_likely_option(error: click.NoSuchOption) -> click.UsageError:
    """With an option that may be meant; click itself proposes many that have nothing in common."""
    from imagen.core.text import did_you_mean

    known = error.ctx.command.params if error.ctx else ()
    options = [name for option in known for name in option.opts if name.startswith("--")]
    meant = did_you_mean(error.option_name, options)
    return click.UsageError(f"{error.message}{meant}", ctx=error.ctx)


def _told_by_click(as_json: bool, error: click.ClickException, hint: str) -> int:
    if isinstance(error, click.NoSuchOption):
        error = _with_likely_option(error)
    if as_json:
        return _told(as_json, "usage", error.format_message(), error.exit_code, remedy=hint)
    shown = io.StringIO()
    error.show(shown)
    echo(shown.getvalue().rstrip("\n"), err=True)
    if hint:
        echo(hint, err=True)
    return error.exit_code


def _told_by_imagen(as_json: bool, error: ImagenError) -> int:
    return _told(
        as_json,
        error.code,
        error.message,
        error.exit_code,
        remedy=error.remedy,
        backend=getattr(error, "backend", ""),
        kept=error.kept,
        failures=getattr(error, "failures", ()),
    )


def _told(
    as_json: bool,
    code: str,
    message: str,
    exit_code: int,
    remedy: str = "",
    backend: str = "",
    kept: Sequence[Path] = (),
    failures: Sequence[Failure] = (),
) -> int:
    from imagen.core.text import shorten_words

    message, remedy = shorten_words(message), shorten_words(remedy)
    if as_json:
        _say_json(code, message, remedy, backend, kept, failures)
    else:
        _say(message, remedy, backend, kept)
    return exit_code


def _say_json(
    code: str,
    message: str,
    remedy: str,
    backend: str,
    kept: Sequence[Path],
    failures: Sequence[Failure],
) -> None:
    import json

    body: dict[str, Any] = {"code": code, "message": message, "remedy": remedy}
    body |= {"backend": backend} if backend else {}
    body |= {"kept": [str(path) for path in kept]} if kept else {}
    body |= {"failures": [one.as_data() for one in failures]} if failures else {}
    click.echo(json.dumps({"error": body}))


def _say(message: str, remedy: str, backend: str, kept: Sequence[Path]) -> None:
    mark = f"imagen: [{backend}]" if backend else "imagen:"
    echo(f"{mark} {message}", err=True, mark=mark, fg="red")
    if remedy:
        echo(remedy, err=True)
    for path in kept:  # where pictures are looked for: on stdout
        click.echo(str(path))

"""The command line: run one command, report its errors, and exit with its code."""

from __future__ import annotations

import errno
import gc
import io
import os
import sys
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from imagen import __version__
from imagen.cli.command_table import COMMANDS, SECTIONS, CommandTable
from imagen.cli.parsing import PATH
from imagen.cli.terminal import echo, open_safely
from imagen.errors import ConfigWarning, ImagenError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from imagen.errors import Failure

__all__ = ["COMMANDS", "COMPLETION_VARIABLE", "SECTIONS", "cli", "main", "run"]

COMPLETION_VARIABLE = "_IMAGEN_COMPLETE"
"""Set by the scripts of `imagen completion`; says what the shell wants to complete."""
_MAY_STILL_RUN = "If a job was submitted, it may still be running. To find it: imagen resume"


@click.group(cls=CommandTable, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="imagen %(version)s", help="Print the version.")
@click.option(
    "--config",
    "config_path",
    type=PATH,
    metavar="FILE",
    help="Configuration file; may also follow the command.",
)
def cli(config_path: Path | None) -> None:
    """Generate images with the engines you have."""


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    # With the default threshold, garbage collection takes a tenth of the time of a mock image.
    gc.set_threshold(50_000)
    output = open_safely()
    code = run(args)
    sys.stdout.flush()
    failure = output.failure
    if failure is not None and not isinstance(failure, BrokenPipeError):  # as in `| head`
        reason = failure.strerror or str(failure)
        remedy = "The command finished; only its output is missing."
        lost = _report(False, "output", f"Cannot write to stdout: {reason}.", 5, remedy=remedy)
        code = code or lost
    gc.freeze()
    sys.exit(code)


def run(args: list[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Errors are reported on stderr, or on stdout as JSON with --json.
    """
    # Searching for pydantic plug-ins takes a fifth of the start-up time, and imagen has none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    if wanted := os.environ.get(COMPLETION_VARIABLE):
        from imagen.cli.commands.completion import answer_shell

        answer_shell(cli, wanted)
        return 0
    words = sys.argv[1:] if args is None else args
    as_json = "--json" in words
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", ConfigWarning)
            warnings.showwarning = partial(_show_warning, warnings.showwarning)
            code = cli.main(args, prog_name="imagen", standalone_mode=False)
    except click.exceptions.Abort:
        return _report(as_json, "cancelled", "Interrupted.", 130, remedy=_MAY_STILL_RUN)
    except click.ClickException as error:
        return _report_click_error(as_json, error, words)
    except ImagenError as error:
        return _report(
            as_json,
            error.code,
            error.message,
            error.exit_code,
            remedy=error.remedy,
            backend=getattr(error, "backend", ""),
            kept=error.kept,
            failures=getattr(error, "failures", ()),
        )
    except (MemoryError, ImportError, OSError, RuntimeError) as error:
        # Python, the dynamic linker and the operating system report it in different ways.
        phrases = ("failed to map segment", "can't start new thread")
        is_exhausted = isinstance(error, MemoryError) or getattr(error, "errno", 0) == errno.ENOMEM
        if not is_exhausted and not any(phrase in str(error) for phrase in phrases):
            raise
        return _report(as_json, "error", "Out of memory.", 1, remedy=_MAY_STILL_RUN)
    return code if isinstance(code, int) else 0


def _show_warning(
    show: Callable[..., None],
    message: Warning | str,
    category: type[Warning],
    *where: object,
    **file: object,
) -> None:
    """Print warnings about the configuration as sentences, others as Python does."""
    if issubclass(category, ConfigWarning):
        echo(f"imagen: {message}", err=True)
    else:
        show(message, category, *where, **file)


def _report_click_error(as_json: bool, error: click.ClickException, words: Sequence[str]) -> int:
    """Report an error that click found, with a hint for options that do not exist."""
    hint = ""
    if isinstance(error, click.NoSuchOption):
        from imagen.core.text import did_you_mean

        if any(word.startswith("-") and " " in word for word in words):
            hint = "Put -- before a prompt that begins with a dash."
        params = error.ctx.command.params if error.ctx else ()
        options = [name for param in params for name in param.opts if name.startswith("--")]
        # click's own suggestions often have nothing in common with what was typed
        meant = did_you_mean(error.option_name, options)
        error = click.UsageError(f"{error.message}{meant}", ctx=error.ctx)
    if as_json:
        return _report(True, "usage", error.format_message(), error.exit_code, remedy=hint)
    shown = io.StringIO()
    error.show(shown)
    echo(shown.getvalue().rstrip("\n"), err=True)
    if hint:
        echo(hint, err=True)
    return error.exit_code


def _report(
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
        import json

        body: dict[str, Any] = {"code": code, "message": message, "remedy": remedy}
        body |= {"backend": backend} if backend else {}
        body |= {"kept": [str(path) for path in kept]} if kept else {}
        body |= {"failures": [failure.as_data() for failure in failures]} if failures else {}
        click.echo(json.dumps({"error": body}))
        return exit_code
    mark = f"imagen: [{backend}]" if backend else "imagen:"
    echo(f"{mark} {message}", err=True, mark=mark, fg="red")
    if remedy:
        echo(remedy, err=True)
    for path in kept:  # scripts read the paths of images from stdout
        click.echo(str(path))
    return exit_code

"""What commands have in common: the flags of the configuration, of the output and of a run."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.command_table import Option
from imagen.cli.completers import complete_backends, complete_workflows
from imagen.cli.paths import FILE, PATH, read_target
from imagen.cli.previewing import preview_option
from imagen.cli.terminal import echo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imagen.cli.paths import Target
    from imagen.config import Settings


def _configuration(
    ctx: click.Context,
    param: click.Parameter,  # noqa: ARG001
    path: Path | None,
) -> Path | None:
    """The file named after the command, or before it; raises UsageError for two different ones."""
    before: Path | None = ctx.find_root().params.get("config_path")
    if path is None or before is None:
        return path or before
    if os.path.abspath(path) != os.path.abspath(before):
        raise usage(f"--config is given twice, as {before} and as {path}. Keep one of them.")
    return path


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, errors too.")
config_option = click.option(
    "--config",
    "config_path",
    type=PATH,
    metavar="FILE",
    callback=_configuration,
    help="Use this configuration file.",
)
quiet_option = click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
output_option = click.option(
    "--output",
    "-o",
    cls=Option,
    hidden_names=("--out",),
    type=FILE,
    callback=read_target,
    metavar="PATH",
    help="A folder, an image's name such as fox.webp (png, jpg, webp or avif), or - for standard "
    "output.",
)
no_metadata_option = click.option(
    "--no-metadata", is_flag=True, help="Write nothing into the images about their making."
)
no_cloud_option = click.option(
    "--no-cloud", is_flag=True, help="Keep what is made now out of the cloud."
)
strict_option = click.option(
    "--strict", is_flag=True, help="Refuse what the backend can't honour, instead of telling."
)
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Show what would be sent, and send nothing."
)
keep_going_option = click.option(
    "--keep-going", is_flag=True, help="Make the other images after a failure."
)
over_budget_option = click.option(
    "--over-budget", is_flag=True, help="Go beyond the budgets of the configuration."
)
_RUN = [
    click.option(
        "--backend",
        "-b",
        shell_complete=complete_backends,
        metavar="NAME",
        help="A configured backend, or mock.",
    ),
    click.option(
        "--workflow",
        shell_complete=complete_workflows,
        metavar="NAME|FILE",
        help="Run this ComfyUI workflow; a file may also be one of the editor, or an image.",
    ),
    output_option,
    click.option("--no-sidecar", is_flag=True, help="Write no JSON file beside the picture."),
    no_metadata_option,
    strict_option,
    dry_run_option,
    over_budget_option,
    preview_option,
    no_cloud_option,
    json_option,
    quiet_option,
    config_option,
]
_TAKEN = (
    "backend",
    "workflow",
    "output",
    "no_sidecar",
    "no_metadata",
    "strict",
    "dry_run",
    "keep_going",
    "over_budget",
    "preview",
    "no_cloud",
    "as_json",
    "quiet",
    "config_path",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a command that makes pictures is to make them, and to tell of them."""

    settings: Settings
    """With the flags over them."""
    backend: str | None = None
    """As named on the command line."""
    workflow: str | None = None
    """As named on the command line; the settings have it already."""
    is_stdout: bool = False
    """Whether the image is to be written to standard output."""
    strict: bool = False
    dry_run: bool = False
    keep_going: bool = False
    preview: bool | None = None
    """As the flag says; None where there is none."""
    as_json: bool = False
    quiet: bool = False


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the flags that all commands have that make pictures, as one `run`.

    Commands that make several of them have `keep_going_option` above it.
    """

    @wraps(command)
    def with_run(**values: Any) -> Any:
        taken = {name: values.pop(name) for name in _TAKEN if name in values}
        return command(run=_run(**taken), **values)

    for option in reversed(_RUN):
        with_run = option(with_run)
    return with_run


def _run(
    *,
    config_path: Path | None,
    no_sidecar: bool,
    no_metadata: bool,
    over_budget: bool,
    no_cloud: bool,
    output: Target | None,
    backend: str | None,
    workflow: str | None,
    **flags: Any,
) -> Run:
    is_stdout = output is not None and output.is_stdout
    if is_stdout and not flags["dry_run"]:
        refuse_stdout(as_json=flags["as_json"])
    settings = settings_for(
        config_path, output, has_sidecar=not no_sidecar, has_metadata=not no_metadata
    )
    settings = without_budgets(settings) if over_budget else settings
    settings = without_cloud(settings) if no_cloud else settings
    if workflow is not None:
        from imagen.cli.workflow_choice import choose_workflow

        settings, backend = choose_workflow(workflow, settings, backend)
    return Run(settings=settings, is_stdout=is_stdout, backend=backend, workflow=workflow, **flags)


def refuse_stdout(*, as_json: bool) -> None:
    """Raises UsageError where an image can't be written to standard output."""
    if as_json:
        raise usage("--output - writes the image to standard output, where --json writes, too.")
    if sys.stdout.isatty():
        raise usage(
            "--output - writes the bytes of the image, and standard output is a terminal. "
            "Redirect it, as in: imagen generate PROMPT -o - > fox.png"
        )


def without_budgets(settings: Settings) -> Settings:
    """The settings of a run that may cost whatever it costs."""
    return settings.model_copy(update={"budgets": ()})


def without_cloud(settings: Settings) -> Settings:
    """The settings of a run whose pictures stay here."""
    output = settings.output.model_copy(update={"cloud_sync": "off"})
    return settings.model_copy(update={"output": output})


def usage(message: str) -> click.UsageError:
    """The error of flags that make no sense together."""
    return click.UsageError(message, ctx=click.get_current_context(silent=True))


def settings_for(
    config_path: Path | None,
    output: Target | None = None,
    *,
    has_sidecar: bool = True,
    has_metadata: bool = True,
) -> Settings:
    """The settings of this run: the configuration, with the flags over it.

    A failure of the last `imagen sync` is shown on stderr.
    """
    from imagen.config import load_settings
    from imagen.delivery.sync_failure import read_failure

    settings = load_settings(config_path)
    if failure := read_failure(settings.state_dir):
        echo(f"imagen: {failure}", err=True)
    changes: dict[str, Any] = {} if has_sidecar else {"sidecar": False}
    changes |= {} if has_metadata else {"metadata": False}
    if output is not None and output.folder is not None:
        changes["directory"] = output.folder
    if output is not None and output.name is not None:
        changes |= {"name": output.name, "format": output.format}
    return settings.model_copy(update={"output": settings.output.model_copy(update=changes)})

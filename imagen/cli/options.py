"""Options that commands share, and the settings and requests they stand for."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.command_table import Option, usage_error
from imagen.cli.completers import (
    complete_backends_and_pools,
    complete_models,
    complete_samplers,
    complete_schedulers,
    complete_styles,
    complete_workflows,
)
from imagen.cli.parsing import (
    FILE,
    PATH,
    parse_assignment,
    parse_control,
    parse_date,
    parse_lora,
    parse_output,
)
from imagen.cli.queue_options import QueueOptions, queue_options
from imagen.cli.terminal import echo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imagen.cli.parsing import OutputTarget
    from imagen.config import Settings
    from imagen.core.request import Request

    _Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _one_config(
    ctx: click.Context,
    param: click.Parameter,  # noqa: ARG001
    path: Path | None,
) -> Path | None:
    """The file named before or after the command; raises UsageError for two different ones."""
    before: Path | None = ctx.find_root().params.get("config_path")
    if path is None or before is None:
        return path or before
    if os.path.abspath(path) != os.path.abspath(before):
        raise usage_error(f"--config is given twice, as {before} and as {path}. Use one of them.")
    return path


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, including errors.")
config_option = click.option(
    "--config",
    "config_path",
    type=PATH,
    metavar="FILE",
    callback=_one_config,
    help="Configuration file.",
)
quiet_option = click.option("--quiet", "-q", is_flag=True, help="Hide progress.")
preview_option = click.option(
    "--preview/--no-preview",
    "preview",
    default=None,
    help="Show the images in tmux or in the terminal.",
)
output_option = click.option(
    "--output",
    "-o",
    cls=Option,
    hidden_names=("--out",),
    type=FILE,
    callback=parse_output,
    metavar="PATH",
    help="A folder, a file such as fox.webp (png, jpg, webp or avif), or - for standard output.",
)
no_metadata_option = click.option(
    "--no-metadata", is_flag=True, help="Do not write metadata into the images."
)
no_cloud_option = click.option("--no-cloud", is_flag=True, help="Do not upload the images.")
strict_option = click.option(
    "--strict", is_flag=True, help="Fail if the backend cannot honour every option."
)
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Show what would be sent, without sending it."
)
keep_going_option = click.option(
    "--keep-going", is_flag=True, help="Continue with the other images after a failure."
)
over_budget_option = click.option(
    "--over-budget", is_flag=True, help="Ignore the budgets in the configuration."
)
from_json_option = click.option(
    "--from-json",
    "document",
    type=FILE,
    metavar="FILE",
    help="Read the request from JSON or from a sidecar (- for standard input); options "
    "override it.",
)
literal_option = click.option(
    "--literal", is_flag=True, help="Expand no wildcards: send {a|b} and __name__ as they are."
)
combinatorial_option = click.option(
    "--combinatorial", is_flag=True, help="Make every combination of the wildcards."
)
since_option = click.option(
    "--since",
    callback=partial(parse_date, is_end=False),
    metavar="DATE",
    help="From this date: 2026-11-27, '2026-11-27 14:00', 2026-11, 2026, 7d, 3h, today or "
    "yesterday.",
)
until_option = click.option(
    "--until",
    callback=partial(parse_date, is_end=True),
    metavar="DATE",
    help="Up to this date; a day, month or year is included.",
)


# --- how to run ---

_RUN_OPTIONS = (
    click.option(
        "--backend",
        "-b",
        shell_complete=complete_backends_and_pools,
        metavar="NAME",
        help="A configured backend or pool, or mock.",
    ),
    click.option(
        "--workflow",
        shell_complete=complete_workflows,
        metavar="NAME|FILE",
        help="Run this ComfyUI workflow; FILE is JSON of either format, or an image with a "
        "workflow in it.",
    ),
    output_option,
    click.option("--no-sidecar", is_flag=True, help="Do not write a JSON file beside each image."),
    no_metadata_option,
    strict_option,
    dry_run_option,
    over_budget_option,
)
_REPORT_OPTIONS = (preview_option, no_cloud_option, json_option, quiet_option, config_option)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a command that generates images does it, and how it reports them."""

    settings: Settings
    """The configuration with the options applied."""
    backend: str | None = None
    """The backend named on the command line."""
    workflow: str | None = None
    """The workflow named on the command line; `settings` has it already."""
    output: OutputTarget | None = None
    """What --output says; `settings` has it already."""
    is_stdout: bool = False
    """Whether the image is written to standard output."""
    strict: bool = False
    dry_run: bool = False
    keep_going: bool = False
    preview: bool | None = None
    as_json: bool = False
    quiet: bool = False
    over_budget: bool = False
    """Whether budgets do not apply; `settings` has none then."""
    queue: QueueOptions = field(default_factory=QueueOptions)


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of all commands that generate images, passed on as one `run`.

    Commands that generate several images put `keep_going_option` above it.
    """

    @wraps(command)
    def with_run(
        *,
        queue: QueueOptions,
        config_path: Path | None,
        no_sidecar: bool,
        no_metadata: bool,
        over_budget: bool,
        no_cloud: bool,
        output: OutputTarget | None,
        backend: str | None,
        workflow: str | None,
        **values: Any,
    ) -> Any:
        names = ("strict", "dry_run", "keep_going", "preview", "as_json", "quiet")
        flags = {name: values.pop(name) for name in names if name in values}
        is_stdout = output is not None and output.is_stdout
        if is_stdout and not flags["dry_run"]:
            refuse_stdout(as_json=flags["as_json"])
        if queue.is_detached:
            _refuse_detached(is_stdout=is_stdout, preview=flags["preview"])
        settings = settings_from_options(
            config_path,
            output,
            no_sidecar=no_sidecar,
            no_metadata=no_metadata,
            no_cloud=no_cloud,
            over_budget=over_budget,
        )
        backend = queue.choose(backend, settings)
        if workflow is not None:
            from imagen.cli.workflow_option import choose_workflow

            settings, backend = choose_workflow(workflow, settings, backend)
        run = RunOptions(
            settings=settings,
            output=output,
            is_stdout=is_stdout,
            backend=backend,
            workflow=workflow,
            over_budget=over_budget,
            queue=queue,
            **flags,
        )
        return command(run=run, **values)

    decorated: Callable[..., Any] = with_run
    for option in reversed(_REPORT_OPTIONS):
        decorated = option(decorated)
    decorated = queue_options(decorated)
    for option in reversed(_RUN_OPTIONS):
        decorated = option(decorated)
    return decorated


def _refuse_detached(*, is_stdout: bool, preview: bool | None) -> None:
    """Raises UsageError for options that need the image at once."""
    for name, is_given in (("--output -", is_stdout), ("--preview", preview)):
        if is_given:
            raise usage_error(f"{name} needs the image at once, and --detach does not wait for it.")


def refuse_stdout(*, as_json: bool) -> None:
    """Raises UsageError if an image cannot be written to standard output."""
    if as_json:
        raise usage_error("--output - and --json both write to standard output. Use one of them.")
    if sys.stdout.isatty():
        raise usage_error(
            "--output - writes binary data, and standard output is a terminal. "
            "Redirect it, for example: imagen generate PROMPT -o - > fox.png"
        )


def settings_from_options(
    config_path: Path | None,
    output: OutputTarget | None = None,
    *,
    no_sidecar: bool = False,
    no_metadata: bool = False,
    no_cloud: bool = False,
    over_budget: bool = False,
) -> Settings:
    """The configuration with the options applied.

    If the last `imagen sync` failed, its error is shown on stderr.
    """
    from imagen.config import load_settings
    from imagen.delivery.background import read_sync_failure

    settings = load_settings(config_path)
    if failure := read_sync_failure(settings.state_dir):
        echo(f"imagen: {failure}", err=True)
    changes: dict[str, object] = {}
    if no_sidecar:
        changes["sidecar"] = False
    if no_metadata:
        changes["metadata"] = False
    if no_cloud:
        changes["cloud_sync"] = "off"
    if output is not None and output.folder is not None:
        changes["directory"] = output.folder
    if output is not None and output.name is not None:
        changes |= {"name": output.name, "format": output.format}
    update: dict[str, object] = {"output": settings.output.model_copy(update=changes)}
    if over_budget:
        update["budgets"] = ()
    return settings.model_copy(update=update)


# --- what to generate ---

_MODEL = "Use another checkpoint; `imagen models` lists them."
_REQUEST_OPTIONS = {
    "size": click.option(
        "--size", metavar="SIZE", help="Image size: 1024x768, 768 (a square) or 16:9."
    ),
    "width": click.option(
        "-W", "width", cls=Option, hidden_names=("--width",), type=int, help="Width in pixels."
    ),
    "height": click.option(
        "-H", "height", cls=Option, hidden_names=("--height",), type=int, help="Height in pixels."
    ),
    "seed": click.option("--seed", "-S", type=int, help="Seed, 0 to 2^64-1; -1 for a random one."),
    "steps": click.option("--steps", "-s", type=int, help="Sampling steps; 0 for the default."),
    "cfg": click.option(
        "--cfg",
        "-c",
        cls=Option,
        hidden_names=("--cfg-scale",),
        type=float,
        help="Classifier-free guidance scale.",
    ),
    "guidance": click.option(
        "--guidance", type=float, help="Distilled guidance scale (FLUX.1-dev)."
    ),
    "sampler": click.option(
        "--sampler", shell_complete=complete_samplers, help="Sampler, by the name of any tool."
    ),
    "scheduler": click.option(
        "--scheduler",
        shell_complete=complete_schedulers,
        help="Noise schedule, by the name of any tool.",
    ),
    "negative": click.option("--negative", "-n", help="Negative prompt."),
    "prompt_2": click.option("--prompt-2", help="Prompt for the second text encoder."),
    "negative_2": click.option("--negative-2", help="Negative prompt for the second text encoder."),
    "style": click.option(
        "--style", shell_complete=complete_styles, help="A style from the configuration."
    ),
    "model": click.option(
        "--model", "-m", shell_complete=complete_models, metavar="NAME|PATH", help=_MODEL
    ),
    "long_model": click.option(
        "--model", shell_complete=complete_models, metavar="NAME|PATH", help=_MODEL
    ),
    "count": click.option(
        "--count",
        cls=Option,
        hidden_names=("--batch",),
        type=int,
        help="Number of images, with consecutive seeds.",
    ),
    "latent_batch": click.option(
        "--latent-batch", is_flag=True, help="Generate the images together, as one batch."
    ),
    "max_compute": click.option(
        "--max-compute",
        type=float,
        metavar="NUMBER",
        help="Refuse images above this many megapixels x steps.",
    ),
    "lora": click.option(
        "--lora",
        multiple=True,
        metavar="NAME[:STRENGTH]",
        help="LoRA to apply; may be repeated.",
    ),
    "image": click.option("--image", type=FILE, metavar="FILE", help="Initial image."),
    "strength": click.option(
        "--strength",
        type=float,
        help="Denoising strength: 0 keeps the image, 1 ignores it.",
    ),
    "mask": click.option(
        "--mask", type=FILE, metavar="FILE", help="Mask image; white areas are repainted."
    ),
    "feather": click.option(
        "--feather", type=int, metavar="PX", help="Soften the edge of the mask by this many pixels."
    ),
    "reference": click.option(
        "--reference",
        multiple=True,
        type=FILE,
        metavar="FILE",
        help="Reference image for editing; may be repeated.",
    ),
    "control": click.option(
        "--control",
        multiple=True,
        metavar="KIND:FILE",
        help="Control image, such as canny:edges.png; :STRENGTH and :START-END may follow; may be "
        "repeated.",
    ),
    "preprocess": click.option(
        "--preprocess", is_flag=True, help="Create the control images from the --control files."
    ),
    "variation_seed": click.option(
        "--variation-seed", type=int, help="Seed of the variation; -1 for a random one."
    ),
    "variation_strength": click.option(
        "--variation-strength", type=float, help="Strength of the variation, 0 to 1."
    ),
    "set": click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="NAME=VALUE",
        help="Any other parameter of the backend or workflow; may be repeated.",
    ),
}
SIZE = ("size", "width", "height")
SAMPLING = (
    *SIZE,
    *("seed", "steps", "cfg", "guidance", "sampler", "scheduler"),
    *("negative", "prompt_2", "negative_2", "style", "model"),
    *("count", "latent_batch", "max_compute", "lora"),
)
CONTROLS = ("control", "preprocess")
ALL_REQUEST_OPTIONS = (
    *SAMPLING,
    *("image", "strength", "mask", "feather", "reference"),
    *CONTROLS,
    *("variation_seed", "variation_strength", "set"),
)
"""In the order of the help."""


def prompt_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument PROMPT, which may also be written as --prompt."""

    @wraps(command)
    def with_prompt(prompt: str | None, prompt_option: str | None, **typed: Any) -> Any:
        if prompt is not None and prompt_option is not None:
            raise usage_error("The prompt is given as PROMPT and with --prompt. Use one of them.")
        return command(prompt=prompt if prompt_option is None else prompt_option, **typed)

    argument = click.argument("prompt", required=False)
    return argument(click.option("--prompt", "prompt_option", hidden=True)(with_prompt))


def request_options(*names: str) -> _Decorator:
    """Add these options of a request, passed on as one `values`.

    `values` holds what was given, by the names of a request's fields, and what --set adds.
    """
    renamed = {"set": "assignments", "long_model": "model"}

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def with_values(**typed: Any) -> Any:
            given = {name: typed.pop(name) for name in (renamed.get(n, n) for n in names)}
            return command(values=_request_values(given), **typed)

        for name in reversed(names):
            with_values = _REQUEST_OPTIONS[name](with_values)
        return with_values

    return decorate


def _request_values(typed: dict[str, Any]) -> dict[str, object]:
    """What was typed, by the names of a request's fields; raises RequestError."""
    given = {
        name: value
        for name, value in typed.items()
        if value is not None and value is not False and value != ()
    }
    assigned: dict[str, object] = {}
    for name, value in map(parse_assignment, given.pop("assignments", ())):
        if name in assigned:
            raise usage_error(f"--set {name} is given more than once. Use one of them.")
        assigned[name] = value
    if "size" in given:
        from imagen.core.request import size_values

        size = size_values(given.pop("size"))
        if size.keys() & given.keys():
            raise usage_error("--size already sets the width and height. Leave out -W and -H.")
        if "aspect" in size and {"width", "height"} <= given.keys():
            raise usage_error("-W and -H already set the size. Leave out --size.")
        given |= size
    if "reference" in given:
        given["references"] = given.pop("reference")
    if "lora" in given:
        given["loras"] = [parse_lora(text) for text in given.pop("lora")]
    if "control" in given:
        controls = [parse_control(text) for text in given.pop("control")]
        more = {"preprocess": True} if given.pop("preprocess", False) else {}
        given["controls"] = [control | more for control in controls]
    elif "preprocess" in given:
        raise usage_error("--preprocess needs --control, which names the kind and the file.")
    for name in given.keys() & assigned.keys():
        raise usage_error(f"{option_of(name)} and --set {name} are both given. Use one of them.")
    return given | assigned


def option_of(field: str) -> str:
    """The option that sets a field of a request: `--lora` for `loras`."""
    name = next((n for n in (field, field.removesuffix("s")) if n in _REQUEST_OPTIONS), "")
    return f"--{name.replace('_', '-')}" if name else f"--set {field}"


def build_request(values: dict[str, object]) -> Request:
    """The request with these values; raises RequestError."""
    from imagen.core.request import Request

    return Request().with_values(values)

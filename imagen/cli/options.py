"""What commands have in common: the flags of the configuration, of the output and of a run."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.command_table import Option, usage_error
from imagen.cli.completers import (
    complete_backends,
    complete_models,
    complete_samplers,
    complete_schedulers,
    complete_styles,
    complete_workflows,
)
from imagen.cli.parsing import FILE, PATH, assignment, control, lora, read_target
from imagen.cli.terminal import echo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imagen.cli.parsing import Target
    from imagen.config import Settings
    from imagen.core.request import Request


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
        raise usage_error(f"--config is given twice, as {before} and as {path}. Keep one of them.")
    return path


preview_option = click.option(
    "--preview/--no-preview",
    "preview",
    default=None,
    help="Show each picture in tmux or in the terminal, or don't.",
)
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
        from imagen.cli.workflow_option import choose_workflow

        settings, backend = choose_workflow(workflow, settings, backend)
    return Run(settings=settings, is_stdout=is_stdout, backend=backend, workflow=workflow, **flags)


def refuse_stdout(*, as_json: bool) -> None:
    """Raises UsageError where an image can't be written to standard output."""
    if as_json:
        raise usage_error(
            "--output - writes the image to standard output, where --json writes, too."
        )
    if sys.stdout.isatty():
        raise usage_error(
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
    from imagen.delivery.background import read_sync_failure

    settings = load_settings(config_path)
    if failure := read_sync_failure(settings.state_dir):
        echo(f"imagen: {failure}", err=True)
    changes: dict[str, Any] = {} if has_sidecar else {"sidecar": False}
    changes |= {} if has_metadata else {"metadata": False}
    if output is not None and output.folder is not None:
        changes["directory"] = output.folder
    if output is not None and output.name is not None:
        changes |= {"name": output.name, "format": output.format}
    return settings.model_copy(update={"output": settings.output.model_copy(update=changes)})


_MODEL = "Another checkpoint of the backend; `imagen models` lists them."
_FLAGS = {
    "size": click.option(
        "--size", metavar="SIZE", help="Image size: 1024x768, 768 (a square) or 16:9."
    ),
    "width": click.option(
        "-W", "width", cls=Option, hidden_names=("--width",), type=int, help="Width in pixels."
    ),
    "height": click.option(
        "-H", "height", cls=Option, hidden_names=("--height",), type=int, help="Height in pixels."
    ),
    "seed": click.option(
        "--seed", "-S", type=int, help="Seed of the noise, 0 to 2^64-1; -1 draws one."
    ),
    "steps": click.option("--steps", "-s", type=int, help="Sampling steps; 0 is the default."),
    "cfg": click.option(
        "--cfg",
        "-c",
        cls=Option,
        hidden_names=("--cfg-scale",),
        type=float,
        help="Classifier-free guidance scale.",
    ),
    "guidance": click.option("--guidance", type=float, help="Distilled guidance (FLUX.1-dev)."),
    "sampler": click.option(
        "--sampler", shell_complete=complete_samplers, help="The sampler, by any tool's name."
    ),
    "scheduler": click.option(
        "--scheduler",
        shell_complete=complete_schedulers,
        help="The noise schedule, by any tool's name.",
    ),
    "negative": click.option("--negative", "-n", help="Negative prompt."),
    "prompt_2": click.option("--prompt-2", help="The prompt of a second text encoder."),
    "negative_2": click.option("--negative-2", help="The negative of a second text encoder."),
    "style": click.option(
        "--style", shell_complete=complete_styles, help="A style of the configuration."
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
        help="Number of images; each has the seed that follows.",
    ),
    "latent_batch": click.option(
        "--latent-batch", is_flag=True, help="Make them together, in a batch of the engine."
    ),
    "max_compute": click.option(
        "--max-compute",
        type=float,
        metavar="NUMBER",
        help="Refuse an image of more megapixels x steps.",
    ),
    "lora": click.option(
        "--lora",
        multiple=True,
        metavar="NAME[:STRENGTH]",
        help="A LoRA to put on the model; may be repeated.",
    ),
    "image": click.option("--image", type=FILE, metavar="FILE", help="The initial image."),
    "strength": click.option(
        "--strength", type=float, help="How far to leave the initial image, 0 to 1."
    ),
    "mask": click.option(
        "--mask", type=FILE, metavar="FILE", help="Mask image; white areas are repainted."
    ),
    "feather": click.option(
        "--feather", type=int, metavar="PX", help="Pixels over which the mask's edge fades."
    ),
    "reference": click.option(
        "--reference",
        multiple=True,
        type=FILE,
        metavar="FILE",
        help="A picture the prompt speaks of (edit).",
    ),
    "control": click.option(
        "--control",
        multiple=True,
        metavar="KIND:FILE",
        help="A picture that steers, such as canny:edges.png, and :STRENGTH and :START-END after "
        "it; may be repeated.",
    ),
    "preprocess": click.option(
        "--preprocess", is_flag=True, help="Make the control pictures of these files first."
    ),
    "variation_seed": click.option(
        "--variation-seed", type=int, help="Seed of a second noise; -1 draws one."
    ),
    "variation_strength": click.option(
        "--variation-strength", type=float, help="The second noise's share, 0 to 1."
    ),
    "set": click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="NAME=VALUE",
        help="Any further parameter of the backend or its workflow; may be repeated.",
    ),
}
SIZE = ("size", "width", "height")
SAMPLING = (
    *SIZE,
    "seed",
    "steps",
    "cfg",
    "guidance",
    "sampler",
    "scheduler",
    "negative",
    "prompt_2",
    "negative_2",
    "style",
    "model",
    "count",
    "latent_batch",
    "max_compute",
    "lora",
)
CONTROLS = ("control", "preprocess")
VARIATION = ("variation_seed", "variation_strength")
EVERYTHING = (
    *SAMPLING,
    *("image", "strength", "mask", "feather", "reference"),
    *CONTROLS,
    *VARIATION,
    "set",
)
"""All flags of a request, in the order of the help."""

_PARAMETERS = {"set": "assignments", "long_model": "model"}
"""What click calls the values of flags whose names differ from those here."""
_SEVERAL = {"lora": ("loras", lora), "control": ("controls", control)}


def prompt_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command PROMPT as its `prompt`; --prompt is another way to write it."""

    @wraps(command)
    def with_prompt(prompt: str | None, prompt_option: str | None, **typed: Any) -> Any:
        if prompt is not None and prompt_option is not None:
            raise usage_error(
                "The prompt is given twice: as PROMPT and with --prompt. Keep one of them."
            )
        return command(prompt=prompt if prompt_option is None else prompt_option, **typed)

    argument = click.argument("prompt", required=False)
    return argument(click.option("--prompt", "prompt_option", hidden=True)(with_prompt))


def asking(*flags: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a command these flags of a request, and their values as one `asked`.

    `asked` holds what was given, by the names of a request's fields, and what `--set` adds.
    """
    taken = [_PARAMETERS.get(flag, flag) for flag in flags]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def with_asked(**typed: Any) -> Any:
            asked = values({name: typed.pop(name) for name in taken})
            return command(asked=asked, **typed)

        for flag in reversed(flags):
            with_asked = _FLAGS[flag](with_asked)
        return with_asked

    return decorate


def values(typed: dict[str, Any]) -> dict[str, Any]:
    """What was typed, by the names of a request's fields; raises RequestError."""
    given = {name: value for name, value in typed.items() if _is_given(value)}
    pairs = [assignment(text) for text in given.pop("assignments", ())]
    assignments = dict(pairs)
    if len(assignments) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise usage_error(f"--set {twice} is given {names.count(twice)} times. Keep one of them.")
    if "size" in given:
        given = _with_size(given)
    if "reference" in given:
        given["references"] = given.pop("reference")
    for flag, (field, parsed) in _SEVERAL.items():
        if flag in given:
            given[field] = [parsed(text) for text in given.pop(flag)]
    given = _preprocessed(given)
    for name in given.keys() & assignments.keys():
        raise usage_error(f"{flag_of(name)} and --set {name} are given. Keep one of them.")
    return given | assignments


def _is_given(value: Any) -> bool:
    return value is not None and value is not False and value != ()


def _with_size(given: dict[str, Any]) -> dict[str, Any]:
    from imagen.core.request import size_values

    size = size_values(given.pop("size"))
    if size.keys() & given.keys():
        raise usage_error("--size gives the width and the height; leave -W and -H out.")
    if "aspect" in size and {"width", "height"} <= given.keys():
        raise usage_error("-W and -H give the size; leave --size out.")
    return given | size


def _preprocessed(given: dict[str, Any]) -> dict[str, Any]:
    """With each control picture to be made first, where the flag says so."""
    if not given.pop("preprocess", False):
        return given
    if "controls" not in given:
        raise usage_error("--preprocess needs a --control: it says how its FILE is meant.")
    return given | {"controls": [{**one, "preprocess": True} for one in given["controls"]]}


def flag_of(field: str) -> str:
    """The flag that a field of a request comes from: `--lora` for `loras`."""
    singular = field.removesuffix("s")
    name = field if field in _FLAGS else singular if singular in _FLAGS else ""
    return f"--{name.replace('_', '-')}" if name else f"--set {field}"


def request(asked: dict[str, Any]) -> Request:
    """The request of these values; raises RequestError."""
    from imagen.core.request import Request

    return Request().with_values(asked)

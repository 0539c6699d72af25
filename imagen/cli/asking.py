"""The flags of a request."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.command_table import Option
from imagen.cli.completers import (
    complete_models,
    complete_samplers,
    complete_schedulers,
    complete_styles,
)
from imagen.cli.options import usage
from imagen.cli.parsing import assignment, control, lora
from imagen.cli.paths import FILE

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen.core.request import Request

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
            raise usage("The prompt is given twice: as PROMPT and with --prompt. Keep one of them.")
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
        raise usage(f"--set {twice} is given {names.count(twice)} times. Keep one of them.")
    if "size" in given:
        given = _with_size(given)
    if "reference" in given:
        given["references"] = given.pop("reference")
    for flag, (field, parsed) in _SEVERAL.items():
        if flag in given:
            given[field] = [parsed(text) for text in given.pop(flag)]
    given = _preprocessed(given)
    for name in given.keys() & assignments.keys():
        raise usage(f"{flag_of(name)} and --set {name} are given. Keep one of them.")
    return given | assignments


def _is_given(value: Any) -> bool:
    return value is not None and value is not False and value != ()


def _with_size(given: dict[str, Any]) -> dict[str, Any]:
    from imagen.core.request import size_values

    size = size_values(given.pop("size"))
    if size.keys() & given.keys():
        raise usage("--size gives the width and the height; leave -W and -H out.")
    if "aspect" in size and {"width", "height"} <= given.keys():
        raise usage("-W and -H give the size; leave --size out.")
    return given | size


def _preprocessed(given: dict[str, Any]) -> dict[str, Any]:
    """With each control picture to be made first, where the flag says so."""
    if not given.pop("preprocess", False):
        return given
    if "controls" not in given:
        raise usage("--preprocess needs a --control: it says how its FILE is meant.")
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

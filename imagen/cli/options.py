"""What commands have in common: the flags of a request, and of the configuration."""

from __future__ import annotations

import json
import sys
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imagen.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen.config import Settings
    from imagen.request import Request

_PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif", ".bmp", ".tif", ".tiff"}
TEXTS = frozenset(
    ("prompt", "negative", "prompt_2", "negative_2", "sampler", "scheduler", "style", "image")
)
"""Parameters whose values are text, even where they look like numbers."""


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, errors too.")
config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Use this configuration.",
)
quiet_option = click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
output_option = click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="A folder, or a picture's name such as fox.png.",
)
strict_option = click.option(
    "--strict", is_flag=True, help="Refuse what the backend can't honour, instead of telling."
)

_REQUEST = [
    click.argument("prompt"),
    click.option("--size", metavar="WxH", help="Pixels, such as 1024x768."),
    click.option("--seed", type=int, help="Where the noise starts, 0 to 2^64-1."),
    click.option("--steps", type=int, help="Sampling steps."),
    click.option("--cfg", type=float, help="Classifier-free guidance scale."),
    click.option("--guidance", type=float, help="Distilled guidance (FLUX.1-dev)."),
    click.option("--sampler", help="The sampler's name."),
    click.option("--scheduler", help="The noise schedule's name."),
    click.option("--negative", help="What not to show."),
    click.option("--style", help="A style of the configuration."),
    click.option("--count", type=int, help="How many pictures."),
    click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="NAME=VALUE",
        help="Any further parameter of the backend or its workflow; may be repeated.",
    ),
]
_FIELDS = ("seed", "steps", "cfg", "guidance", "sampler", "scheduler", "negative", "style", "count")


def request_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the argument PROMPT and the flags of a request, as one `request`."""

    @wraps(command)
    def with_request(**values: Any) -> Any:
        request = _request({name: values.pop(name) for name in _TAKEN})
        return command(request=request, **values)

    for option in reversed(_REQUEST):
        with_request = option(with_request)
    return with_request


_TAKEN = ("prompt", "size", "assignments", *_FIELDS)


def _request(values: dict[str, Any]) -> Request:
    from imagen.request import Request, read_size

    asked = {name: values[name] for name in _FIELDS if values[name] is not None}
    if values["size"] is not None:
        asked["width"], asked["height"] = read_size(values["size"])
    request = Request.of(asked | {"prompt": prompt_text(values["prompt"])})
    if not values["assignments"]:
        return request
    return request.with_values(dict(assignment(text) for text in values["assignments"]))


def assignment(text: str) -> tuple[str, Any]:
    """`steps=8` as ("steps", 8): the value is read as YAML reads a scalar.

    Raises RequestError for what is no assignment.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise RequestError(f"{text!r} is not an assignment. Write it as name=value.")
    return name.strip(), value if name.strip() in TEXTS else _plain(name, scalar(value))


def _plain(name: str, value: Any) -> Any:
    try:
        json.dumps(value)
    except (ValueError, TypeError) as error:
        raise RequestError(f"--set {name}: this value holds itself, or what is no JSON.") from error
    return value


def scalar(text: str) -> Any:
    """8 for `8`, 0.5 for `0.5`, True for `true`, and the text `8` for `"8"`; else as it stands."""
    from yaml import YAMLError, safe_load

    try:
        value = safe_load(text)
    except (YAMLError, ValueError):  # a 13th month, a number of 5000 digits
        return text
    quoted = isinstance(value, str) and text.strip()[:1] in ("'", '"')
    return value if quoted or isinstance(value, int | float | list | dict) else text


def prompt_text(argument: str) -> str:
    """The prompt: as it stands, of standard input for `-`, of a file for `@file`.

    Raises RequestError for a file that can't be read as UTF-8.
    """
    if argument == "-":
        data = sys.stdin.buffer.read() if sys.stdin is not None else b""
        return _whole(data, "standard input")
    if not argument.startswith("@"):
        return argument
    path = Path(argument[1:])
    try:
        return _whole(path.read_bytes(), str(path))
    except OSError as error:
        raise RequestError(
            f"The prompt's file {path} can't be read: {error.strerror}.",
            remedy="To begin a prompt with @, give it on standard input: imagen generate -",
        ) from error


def _whole(data: bytes, where: str) -> str:
    """All of the text but the end of its last line; an empty one is a mistake somewhere."""
    text = _decoded(data, where)
    if not text.strip():
        raise RequestError(f"The prompt in {where} is empty.")
    return text.removesuffix("\n").removesuffix("\r")


def _decoded(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(f"The prompt in {where} is not UTF-8 text: {error.reason}.") from error


def is_picture(output: Path) -> bool:
    """Whether --output names a picture, and not a folder."""
    return output.suffix.lower() in _PICTURES


def settings_for(
    config_path: Path | None, output: Path | None = None, *, sidecar: bool | None = None
) -> Settings:
    """The settings of this run: the configuration, with the flags over it."""
    from imagen.config import load

    settings = load(config_path)
    changes: dict[str, Any] = {} if sidecar is None else {"sidecar": sidecar}
    if output is not None and is_picture(output):
        changes |= {"directory": output.parent, "name": output.stem}
    elif output is not None:
        changes["directory"] = output
    return settings.model_copy(update={"output": settings.output.model_copy(update=changes)})

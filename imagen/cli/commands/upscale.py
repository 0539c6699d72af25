"""imagen upscale: enlarge an image by interpolation or with a backend."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Command, usage_error
from imagen.cli.folders import generate_for_images
from imagen.cli.generation import INTERPOLATION
from imagen.cli.options import (
    SAMPLING,
    SIZE,
    build_request,
    keep_going_option,
    option_of,
    request_options,
    run_options,
)
from imagen.cli.parsing import FILE, prompt_values
from imagen.errors import RequestError

if TYPE_CHECKING:
    from imagen.cli.options import RunOptions

_SAMPLING = tuple(name for name in SAMPLING if name not in (*SIZE, "count", "latent_batch"))


@click.command(cls=Command)
@click.argument("file", type=FILE)
@click.option("--factor", type=float, default=2, show_default=True, help="Scale factor.")
@click.option(
    "--method",
    type=FILE,
    metavar="NAME",
    help="lanczos (the default), bicubic, bilinear, nearest or area; or an upscale model: its file "
    "or its family, such as realesrgan or esrgan.",
)
@click.option("--prompt", help="Redraw the enlarged image with this prompt.")
@request_options("strength", *_SAMPLING, "set")
@keep_going_option
@run_options
def upscale(
    file: str,
    factor: float,
    method: str | None,
    prompt: str | None,
    values: dict[str, object],
    run: RunOptions,
) -> int:
    """Enlarge an image.

    FILE may also be a folder, or a pattern in quotes: each image is enlarged.

    There are three ways: interpolation, which needs no backend; an upscale model, with --backend or
    with its file as --method; and, with --prompt or --strength, interpolation followed by a light
    redraw.
    """
    from imagen.core.request import INTERPOLATIONS
    from imagen.pipeline.generate import open_named

    options: dict[str, object] = {"factor": factor}
    if method is not None:
        options["method"] = method
    more = prompt_values(prompt) | values
    request = build_request({"image": file, "upscale": options} | more)
    if request.task != "upscale":
        if method not in (None, *INTERPOLATIONS):
            name = run.backend or run.settings.default_backend
            with closing(open_named(name, run.settings)) as engine:
                if "upscale" not in engine.capabilities(request.task).parameters:
                    raise RequestError(
                        f"{name} cannot upscale with {method} and redraw in one step.",
                        remedy="Leave out --method; or upscale first, and pass the result to "
                        "imagen generate --image.",
                    )
    elif _is_interpolation(method, values, run.backend):
        run = replace(run, backend=INTERPOLATION)
    return generate_for_images(
        file, lambda path: build_request({"image": path, "upscale": options} | more), run
    )


def _is_interpolation(method: str | None, values: dict[str, object], backend: str | None) -> bool:
    """Whether no engine is needed; raises UsageError for options that contradict each other."""
    from imagen.core.request import INTERPOLATIONS
    from imagen.core.text import did_you_mean

    if backend is not None:
        if method in INTERPOLATIONS:
            raise usage_error(
                f"{method} runs without a backend. Leave out --backend, or add --prompt or another "
                "--method."
            )
        return False
    if method not in (None, *INTERPOLATIONS):
        meant = did_you_mean(method, INTERPOLATIONS)
        if meant and "." not in method:  # the file of a model has an extension
            raise RequestError(
                f"Unknown interpolation {method!r}.{meant}",
                remedy="An upscale model needs --backend.",
            )
        return False
    if values:
        names = ", ".join(map(option_of, values))
        raise usage_error(f"Interpolation does not use {names}. To redraw the image, add --prompt.")
    return True

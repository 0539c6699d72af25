"""imagen upscale: enlarge a picture, by interpolation or by an engine."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.command_table import Command, usage_error
from imagen.cli.generation import INTERPOLATION, make
from imagen.cli.options import SAMPLING, SIZE, asking, flag_of, request, run_options
from imagen.cli.parsing import FILE, prompt_values
from imagen.errors import RequestError

if TYPE_CHECKING:
    from imagen.cli.options import Run
    from imagen.core.request import Request

_SAMPLING = tuple(flag for flag in SAMPLING if flag not in (*SIZE, "count", "latent_batch"))


@click.command(cls=Command)
@click.argument("file", type=FILE)
@click.option("--factor", type=float, default=2, show_default=True, help="Times each side.")
@click.option(
    "--method",
    type=FILE,
    metavar="NAME",
    help="lanczos (as a rule), bicubic, bilinear, nearest, area, an upscaler's file, or the "
    "family of an installed one: realesrgan, esrgan.",
)
@click.option("--prompt", help="Draw it over once it is large: what there is to see.")
@asking("strength", *_SAMPLING, "set")
@run_options
def upscale(
    file: str,
    factor: float,
    method: str | None,
    prompt: str | None,
    asked: dict[str, Any],
    run: Run,
) -> None:
    """Enlarge a picture.

    Three ways: by interpolation, which needs no engine; by an upscaler's model, with --backend or
    its file as --method; or, with --prompt or --strength, by interpolation and then drawing it over
    lightly.
    """
    wanted = enlarging(file, factor, method, prompt, asked)
    if not needs_engine(wanted, asked, run.backend):
        run = replace(run, backend=INTERPOLATION)
    elif wanted.task != "upscale":
        _refuse_two_in_one(wanted, run)
    make(wanted, run)


def enlarging(
    file: str, factor: float, method: str | None, prompt: str | None, asked: dict[str, Any]
) -> Request:
    """The request for an enlargement; with a prompt or a strength, for one then drawn over."""
    how = {"factor": factor} | ({} if method is None else {"method": method})
    return request({"image": file, "upscale": how} | prompt_values(prompt) | asked)


def needs_engine(wanted: Request, asked: dict[str, Any], backend: str | None) -> bool:
    """Whether this is more than arithmetic; raises UsageError where the flags disagree."""
    from imagen.core.request import INTERPOLATIONS

    assert wanted.upscale is not None
    method = wanted.upscale.method
    if wanted.task != "upscale":
        return True
    if backend is not None and method in INTERPOLATIONS:
        raise usage_error(
            f"{method} needs no --backend: leave it out, or give --prompt or another --method."
        )
    if backend is None and method is not None:
        _refuse_slip(method)
    if backend is not None or method not in (None, *INTERPOLATIONS):
        return True
    if asked:
        flags = ", ".join(flag_of(name) for name in asked)
        raise usage_error(f"Interpolation draws nothing and takes no {flags}: give --prompt too.")
    return False


def _refuse_slip(method: str) -> None:
    """A model's file has an ending, and no interpolation has."""
    from imagen.core.request import INTERPOLATIONS
    from imagen.core.text import did_you_mean

    meant = did_you_mean(method, INTERPOLATIONS)
    if meant and method not in INTERPOLATIONS and "." not in method:
        raise RequestError(
            f"There is no interpolation {method!r}.{meant}",
            remedy="An upscaler's model needs its --backend.",
        )


def _refuse_two_in_one(wanted: Request, run: Run) -> None:
    """Not every backend that draws over a picture enlarges it by a model before."""
    from imagen.core.request import INTERPOLATIONS
    from imagen.pipeline.generate import open_named

    assert wanted.upscale is not None
    method, name = wanted.upscale.method, run.backend or run.settings.default_backend
    if method in (None, *INTERPOLATIONS):
        return
    with closing(open_named(name, run.settings)) as engine:
        if "upscale" not in engine.capabilities(wanted.task).parameters:
            raise RequestError(
                f"{name} can't enlarge by {method} and draw over in one go.",
                remedy="Leave --method out; or enlarge first, and give what comes of it as the "
                "--image of imagen generate.",
            )

"""Commands for many images: a folder, or a pattern such as 'photos/*.jpg', in place of a file."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from imagen.cli.command_table import usage_error
from imagen.cli.generation import generate_and_report, is_recording, submit_options
from imagen.cli.library_common import count_noun
from imagen.cli.terminal import echo
from imagen.core.text import one_line
from imagen.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from imagen.cli.options import RunOptions
    from imagen.core.request import Request

    Expand = Callable[[Request], Sequence[Request]]


def generate_for_images(
    source: str,
    build: Callable[[str], Request],
    run: RunOptions,
    *,
    expand: Expand = lambda request: [request],
) -> int:
    """Generate from an image, or from each image of a folder or a pattern; the exit code.

    `build` makes the request for one file, and `expand` what it stands for. Raises RequestError for
    a folder without images.
    """
    from imagen.inputs.folder import find_folder_images

    paths = find_folder_images(source)
    if paths is None:
        generate_and_report(expand(build(source)), run)
        return 0
    from imagen.batch.keys import KeyCounter
    from imagen.cli.batch_run import run_rows
    from imagen.jobs.submit import JobRequest

    if is_recording():
        raise RequestError(
            f"{one_line(source)} stands for several images, and only one can be used here.",
            remedy="To make what appears in a folder: imagen watch FOLDER -- COMMAND",
        )
    if run.is_stdout or (run.output is not None and run.output.name is not None):
        raise usage_error("--output must name a folder: the images are named after their inputs.")
    if os.path.realpath(run.settings.output.directory) == os.path.realpath(source):
        raise usage_error(
            f"The images would be saved in {source}, and be inputs the next time. Name another "
            "folder with --output."
        )
    requests = _build_all(paths, build, run)
    run = name_after_input(next(iter(requests.values())), run)
    keys = KeyCounter(run.settings)
    rows: list[JobRequest] = []
    places: list[str] = []
    for path, request in requests.items():
        backend = submit_options(request, run).backend
        key = keys.key_of(request, backend)
        for number, one in enumerate(expand(request)):
            numbered = f"{key}-{number}" if number else key
            rows.append(JobRequest(one, backend, label=path.name, key=numbered))
            places.append(one_line(path.name))
    task = rows[0].request.task
    name = f"{task} {one_line(source, limit=80)}: {count_noun(len(requests), 'image')}"
    return run_rows(rows, run, name=name, places=places)


def _build_all(
    paths: Sequence[Path], build: Callable[[str], Request], run: RunOptions
) -> dict[Path, Request]:
    """The request for each file; with --keep-going, without those that none can be made for.

    Raises RequestError with what is wrong with each file otherwise, and if nothing is left.
    """
    from imagen.batch.prompt_files import list_faults

    requests: dict[Path, Request] = {}
    faults: list[tuple[str, str]] = []
    for path in paths:
        try:
            requests[path] = build(str(path))
        except RequestError as error:
            faults.append((path.name, error.message))
    if faults and not (run.keep_going and requests):
        raise RequestError("\n".join(list_faults(faults)), remedy="Nothing was submitted.")
    for line in list_faults(faults):
        echo(line, err=True)
    return requests


def name_after_input(request: Request, run: RunOptions) -> RunOptions:
    """The options with names like `photo-2x`, unless the configuration has its own template."""
    from imagen.outputs.naming import DEFAULT_TEMPLATE, slugify

    output = run.settings.output
    if output.name != DEFAULT_TEMPLATE:
        return run
    if request.upscale is not None:
        what = f"{request.upscale.factor:g}x"
    elif request.preprocess is not None:
        what = slugify(request.preprocess)
    elif request.restore is not None:
        what = "restored"
    else:
        what = "outpainted" if request.outpaint is not None else "{seed}"
    named = output.model_copy(update={"name": f"{{input}}-{what}"})
    return replace(run, settings=run.settings.model_copy(update={"output": named}))

"""imagen outpaint: extend an image beyond its edges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Command, usage_error
from imagen.cli.folders import generate_for_images
from imagen.cli.options import (
    SAMPLING,
    SIZE,
    build_request,
    keep_going_option,
    prompt_argument,
    request_options,
    run_options,
)
from imagen.cli.parsing import FILE, prompt_values
from imagen.core.image_file import is_url

if TYPE_CHECKING:
    from imagen.cli.options import RunOptions
    from imagen.core.request import Request

_AXES = (("left", "right"), ("top", "bottom"))
_SAMPLING = tuple(option for option in SAMPLING if option not in SIZE)


@click.command(cls=Command)
@click.argument("file", type=FILE)
@prompt_argument
@click.option("--left", type=int, metavar="PX", help="Pixels to add on the left.")
@click.option("--top", type=int, metavar="PX", help="Pixels to add at the top.")
@click.option("--right", type=int, metavar="PX", help="Pixels to add on the right.")
@click.option("--bottom", type=int, metavar="PX", help="Pixels to add at the bottom.")
@click.option("--all", "all_", type=int, metavar="PX", help="Pixels to add on all other sides.")
@click.option("--to", metavar="WxH", help="Extend to this size, with the image in the middle.")
@request_options("feather", "strength", *_SAMPLING, "set")
@keep_going_option
@run_options
def outpaint(
    file: str,
    prompt: str | None,
    all_: int | None,
    to: str | None,
    values: dict[str, object],
    run: RunOptions,
    **sides: int | None,
) -> int:
    """Extend an image beyond its edges.

    PROMPT describes the whole image, including what is already there. FILE may also be a folder, or
    a pattern in quotes: each image is extended.
    """
    if to is not None and is_url(file):
        from imagen.pipeline.prepare import with_local_images

        file = with_local_images(build_request({"image": file}), run.settings).image or file
    more = prompt_values(prompt) | values
    given = {side: pixels for side, pixels in sides.items() if pixels is not None}
    if to is not None and all_ is not None:
        raise usage_error("--all and --to exclude each other. Use one of them.")
    if all_ is not None:
        given = dict.fromkeys(("left", "top", "right", "bottom"), all_) | given
    if to is None and not given:
        raise usage_error(
            "Say how far to extend the image: --left, --right, --top or --bottom PX, --all PX, "
            "or --to WxH."
        )

    def build(path: str) -> Request:
        margins = given if to is None else _margins_to_size(to, path, given)
        return build_request({"image": path, "outpaint": margins} | more)

    return generate_for_images(file, build, run)


def _margins_to_size(to: str, file: str, given: dict[str, int]) -> dict[str, int]:
    """The margins for a size; sides that are not given get equal shares. Raises RequestError."""
    from imagen.core.request import read_size
    from imagen.errors import RequestError
    from imagen.inputs import decode_file

    sizes = [
        side + sum(given.get(name, 0) for name in names)
        for side, names in zip(decode_file(file, "image").size, _AXES, strict=True)
    ]
    reached = " × ".join(map(str, sizes))
    margins = dict(given)
    for size, wanted, names in zip(sizes, read_size(to), _AXES, strict=True):
        if wanted < size:
            raise RequestError(f"--to {to} is smaller than the image, which is already {reached}.")
        free = [name for name in names if name not in given]
        if wanted > size and not free:
            raise RequestError(f"--to {to} cannot be reached: the given sides end at {reached}.")
        for number, name in enumerate(free):  # of an odd number the last side gets more
            margins[name] = (wanted - size + number) // len(free)
    return margins

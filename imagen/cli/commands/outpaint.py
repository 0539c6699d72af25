"""imagen outpaint: go on beyond the sides of a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from imagen.cli.command_table import Command, usage_error
from imagen.cli.generation import make
from imagen.cli.options import (
    SAMPLING,
    SIZE,
    asking,
    keep_going_option,
    prompt_argument,
    request,
    run_options,
)
from imagen.cli.parsing import FILE, prompt_values
from imagen.core.image_file import is_url

if TYPE_CHECKING:
    from imagen.cli.options import Run

_SIDES = ("left", "top", "right", "bottom")
_ACROSS_AND_DOWN = (("left", "right"), ("top", "bottom"))
_SAMPLING = tuple(flag for flag in SAMPLING if flag not in SIZE)


@click.command(cls=Command)
@click.argument("file", type=FILE)
@prompt_argument
@click.option("--left", type=int, metavar="PX", help="Pixels to add on the left.")
@click.option("--top", type=int, metavar="PX", help="Pixels to add above.")
@click.option("--right", type=int, metavar="PX", help="Pixels to add on the right.")
@click.option("--bottom", type=int, metavar="PX", help="Pixels to add below.")
@click.option("--all", "all_", type=int, metavar="PX", help="On each side that is not named.")
@click.option("--to", metavar="WxH", help="The size to reach, with the picture in the middle.")
@asking("feather", "strength", *_SAMPLING, "set")
@keep_going_option
@run_options
def outpaint(
    file: str,
    prompt: str | None,
    all_: int | None,
    to: str | None,
    asked: dict[str, Any],
    run: Run,
    **sides: int | None,
) -> None:
    """Go on beyond the sides of a picture.

    PROMPT says what there is to see, of all of the picture.
    """
    if to is not None and is_url(file):
        from imagen.pipeline.prepare import with_local_images

        file = with_local_images(request({"image": file}), run.settings).image or file
    margins = wanted(file, sides, all_, to)
    make(request({"image": file, "outpaint": margins} | prompt_values(prompt) | asked), run)


def wanted(
    file: str, sides: dict[str, int | None], everywhere: int | None, to: str | None
) -> dict[str, int]:
    """How far to go on at each side, in pixels; raises UsageError and RequestError."""
    named = {side: pixels for side, pixels in sides.items() if pixels is not None}
    if to is not None and everywhere is not None:
        raise usage_error("--all and --to are two ways to say the same: give one of them.")
    if to is not None:
        return _reaching(to, _size(file), named)
    if everywhere is not None:
        return dict.fromkeys(_SIDES, everywhere) | named
    if not named:
        raise usage_error(
            "Say how far: --left, --right, --top or --bottom PX, --all PX, or --to WxH."
        )
    return named


def _reaching(to: str, size: tuple[int, int], named: dict[str, int]) -> dict[str, int]:
    """What is missing goes to the sides that are not named, in equal parts."""
    from imagen.core.request import read_size
    from imagen.errors import RequestError

    wide, high = (
        side + sum(named.get(name, 0) for name in names)
        for side, names in zip(size, _ACROSS_AND_DOWN, strict=True)
    )
    whole_wide, whole_high = read_size(to)
    if whole_wide < wide or whole_high < high:
        raise RequestError(f"--to {to} is less than the {wide} × {high} that there are already.")
    missing = whole_wide - wide, whole_high - high
    shares = [_shared(*each, named) for each in zip(missing, _ACROSS_AND_DOWN, strict=True)]
    if any(sum(share.values()) != pixels for share, pixels in zip(shares, missing, strict=True)):
        raise RequestError(f"--to {to} can't be reached: the sides named reach {wide} × {high}.")
    return named | shares[0] | shares[1]


def _shared(pixels: int, sides: tuple[str, str], named: dict[str, int]) -> dict[str, int]:
    """The pixels for each of these sides that is not named; of an odd one the last gets more."""
    free = [side for side in sides if side not in named]
    return {side: (pixels + n) // len(free) for n, side in enumerate(free)}


def _size(file: str) -> tuple[int, int]:
    """Of the picture, the right way up."""
    from imagen.inputs import decode_file

    return decode_file(file, "image").size

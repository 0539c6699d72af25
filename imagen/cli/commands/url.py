"""imagen url: an address at which others can see a picture of the cloud."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Command
from imagen.cli.completers import complete_images_and_files
from imagen.cli.options import config_option, json_option, settings_for
from imagen.cli.parsing import FILE
from imagen.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from imagen.library import Library, LibraryImage

_SPAN = re.compile(r"(\d{1,9}) ?(s|min|h|d|w)")
_UNITS: Mapping[str, str] = {
    "s": "seconds",
    "min": "minutes",
    "h": "hours",
    "d": "days",
    "w": "weeks",
}
_LONGEST = timedelta(days=3650)


def _span(ctx: click.Context, param: click.Parameter, text: str) -> timedelta:
    match = _SPAN.fullmatch(text.strip())
    span = timedelta()
    if match:
        with suppress(OverflowError):
            span = timedelta(**{_UNITS[match[2]]: int(match[1])})
    if not timedelta() < span <= _LONGEST:
        wrong = f"{text!r} is no span of time up to ten years. Write it as 1h, 30min, 7d or 2w."
        raise click.BadParameter(wrong, ctx, param)
    return span


@click.command(cls=Command)
@click.argument("picture", type=FILE, shell_complete=complete_images_and_files, metavar="FILE|ID")
@click.option(
    "--expires",
    default="1h",
    show_default=True,
    callback=_span,
    metavar="SPAN",
    help="How long it holds: 30min, 1h, 7d, 2w.",
)
@json_option
@config_option
def url(picture: str, expires: timedelta, as_json: bool, config_path: Path | None) -> None:
    """Give an address at which others can see a picture.

    The picture must be in the cloud. Whoever has the address can see it, and nothing else, until it
    expires.
    """
    from imagen.delivery.images import signed_url
    from imagen.library import find_image
    from imagen.pipeline.record import open_library_synced

    settings = settings_for(config_path)
    with open_library_synced(settings) as library:
        found = find_image(library, picture)
        if not found.cloud:
            raise _not_there(library, found)
    place = {name: str(found.cloud[name]) for name in ("bucket", "path")}
    seconds = round(expires.total_seconds())
    until = datetime.now().astimezone() + expires
    address = signed_url(settings, os.environ, **place, seconds=seconds)
    whole = {"id": found.id, "url": address, "expires": until.isoformat(timespec="seconds")}
    click.echo(json.dumps(whole | place, indent=2) if as_json else address)


def _not_there(library: Library, picture: LibraryImage) -> RequestError:
    """Whether it will be, and what keeps it from being."""
    from imagen.library.outbox import deliveries_for

    told = deliveries_for(library, picture.generation, picture.number)
    ways = [one for one in told if one.delivery.kind == "cloud" and one.state != "sent"]
    if not ways:
        return RequestError(
            f"{picture.id} is not in the cloud, and does not go there: cloud sync was off when it "
            "was made, it was taken in from elsewhere, or it was forgotten with imagen sync "
            "--forget."
        )
    why, _, remedy = ways[0].last_error.partition("\n")
    state = "is stuck" if ways[0].state == "stuck" else "waits to be sent"
    again = "imagen sync --retry" if why else "imagen sync"
    return RequestError(
        f"{picture.id} is not in the cloud yet: it {state}" + (f". {why}" if why else "."),
        remedy="\n".join(part for part in (remedy, f"Send it with: {again}") if part),
    )

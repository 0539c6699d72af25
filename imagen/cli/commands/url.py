"""imagen url: create a temporary link to an image in the cloud."""

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
from imagen.cli.options import config_option, json_option, settings_from_options
from imagen.cli.parsing import FILE, TIME_UNITS
from imagen.errors import RequestError

if TYPE_CHECKING:
    from pathlib import Path


_DURATION = re.compile(r"(\d{1,9}) ?(s|min|h|d|w)")
_LONGEST = timedelta(days=3650)


def _parse_duration(ctx: click.Context, param: click.Parameter, text: str) -> timedelta:
    match = _DURATION.fullmatch(text.strip())
    duration = timedelta()
    if match:
        with suppress(OverflowError):
            duration = timedelta(**{TIME_UNITS[match[2]]: int(match[1])})
    if not timedelta() < duration <= _LONGEST:
        raise click.BadParameter(
            f"{text!r} is not a valid duration. Write it as 30min, 1h, 7d or 2w, up to ten years.",
            ctx,
            param,
        )
    return duration


@click.command(cls=Command)
@click.argument("image", type=FILE, shell_complete=complete_images_and_files, metavar="FILE|ID")
@click.option(
    "--expires",
    default="1h",
    show_default=True,
    callback=_parse_duration,
    metavar="TIME",
    help="How long the link works: 30min, 1h, 7d, 2w.",
)
@json_option
@config_option
def url(image: str, expires: timedelta, as_json: bool, config_path: Path | None) -> None:
    """Create a temporary link to an image in the cloud.

    Anyone who has the link can see this image, and no other, until the link expires.
    """
    from imagen.delivery.images import signed_url
    from imagen.library import find_image
    from imagen.library.outbox import deliveries_for
    from imagen.pipeline.record import open_library_synced

    settings = settings_from_options(config_path)
    with open_library_synced(settings) as library:
        found = find_image(library, image)
        if not found.cloud:
            pending = [
                one
                for one in deliveries_for(library, found.generation, found.number)
                if one.delivery.kind == "cloud" and one.state != "sent"
            ]
            if not pending:
                raise RequestError(
                    f"{found.id} is not in the cloud and will not be uploaded: cloud sync was off "
                    "when it was generated, it was imported, or its upload was cancelled with "
                    "imagen sync --forget."
                )
            reason, _, remedy = pending[0].last_error.partition("\n")
            state = "is stuck" if pending[0].state == "stuck" else "is pending"
            command = "imagen sync --retry" if reason else "imagen sync"
            raise RequestError(
                f"{found.id} is not in the cloud yet: its upload {state}"
                + (f". {reason}" if reason else "."),
                remedy="\n".join(part for part in (remedy, f"To upload it: {command}") if part),
            )
    place = {name: str(found.cloud[name]) for name in ("bucket", "path")}
    seconds = round(expires.total_seconds())
    until = datetime.now().astimezone() + expires
    address = signed_url(settings, os.environ, **place, seconds=seconds)
    body = {"id": found.id, "url": address, "expires": until.isoformat(timespec="seconds")}
    click.echo(json.dumps(body | place, indent=2) if as_json else address)

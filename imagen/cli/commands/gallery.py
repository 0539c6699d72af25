"""imagen gallery: the page, with the options of a gallery."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Command
from imagen.cli.commands.serve import apply_options, run_server
from imagen.cli.completers import complete_backends_and_pools
from imagen.cli.options import config_option, settings_from_options

if TYPE_CHECKING:
    from pathlib import Path

_PORT = 7860


@click.command(cls=Command)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=_PORT,
    metavar="N",
    help=f"The port, {_PORT} by default; 0 takes any that is free.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    metavar="HOST",
    help="Where to listen, by default for this machine alone; `0.0.0.0` is every interface.",
)
@click.option(
    "--model",
    "-m",
    shell_complete=complete_backends_and_pools,
    metavar="NAME",
    help="The backend, pool or checkpoint of images that name none.",
)
@click.option("--open", "is_opened", is_flag=True, help="Open the page in the browser.")
@config_option
def gallery(
    port: int, host: str, model: str | None, is_opened: bool, config_path: Path | None
) -> None:
    """Open the gallery: the page of `imagen serve`.

    It is `imagen serve` at a port of its own, with the same images, queue and settings. Ctrl-C ends
    it.
    """
    settings = apply_options(settings_from_options(config_path), {}, model)
    from imagen.net.listen import ListenAddress

    where = ListenAddress(host.strip("[]"), port)
    run_server(settings, where, is_opened=is_opened)

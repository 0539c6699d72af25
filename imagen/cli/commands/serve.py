"""imagen serve: serve the HTTP API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Command, usage_error
from imagen.cli.options import config_option, settings_from_options
from imagen.cli.terminal import echo

if TYPE_CHECKING:
    from pathlib import Path


@click.command(cls=Command)
@click.option("--addr", "address", metavar="HOST:PORT", help="Where to listen; `:8080` is all.")
@config_option
def serve(address: str | None, config_path: Path | None) -> None:
    """Serve the HTTP API until Ctrl-C."""
    settings = settings_from_options(config_path)
    host, _, port = (address or settings.server.address).rpartition(":")
    if not port.isdecimal():
        raise usage_error("--addr needs a port, such as 127.0.0.1:8080.")
    try:
        import uvicorn

        from imagen.server.app import create_app
    except ModuleNotFoundError as error:
        from imagen.errors import MissingDependency

        raise MissingDependency(error.name or "fastapi", "serve", purpose="serving") from error
    from imagen.runtime import open_runtime

    with open_runtime(settings, has_worker=settings.server.worker) as runtime:
        echo(f"Listening on http://{host or '0.0.0.0'}:{port}", err=True)
        uvicorn.run(create_app(runtime), host=host or "0.0.0.0", port=int(port), log_level="error")

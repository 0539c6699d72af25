"""imagen mcp: serve tools to an MCP host over stdin and stdout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Command
from imagen.cli.options import config_option, settings_from_options
from imagen.cli.terminal import echo

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.jobs.worker import WorkerEvent


@click.command(cls=Command)
@click.option(
    "--worker/--no-worker", default=True, help="Whether to run the jobs of the queue here."
)
@config_option
def mcp(worker: bool, config_path: Path | None) -> None:
    """Serve tools to an MCP host over stdin and stdout.

    An MCP host, such as Claude Desktop, starts this command itself. It ends when the host closes
    stdin. The tools generate images through the queue, so budgets hold, and `imagen jobs` and
    `imagen history` list what they do.
    """
    settings = settings_from_options(config_path)
    try:
        from imagen.mcp.server import run_stdio
    except ModuleNotFoundError as error:
        from imagen.errors import MissingDependency

        raise MissingDependency(error.name or "mcp", "mcp", purpose="MCP") from error
    from imagen.runtime import open_runtime

    def report(event: WorkerEvent) -> None:
        if event.kind == "failed_worker":
            echo(f"No jobs are run here: {event.message}", err=True)

    with open_runtime(settings, has_worker=worker, on_event=report) as runtime:
        run_stdio(runtime)

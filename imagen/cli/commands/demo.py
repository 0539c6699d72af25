"""imagen demo: compare simulated images, without a GPU and without a server."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from imagen.cli.command_table import Command, Option
from imagen.cli.options import quiet_option
from imagen.cli.parsing import PATH
from imagen.cli.terminal import echo

WORKFLOWS = ("flux1-schnell", "flux2-klein", "sd35-medium")
DEFAULT_PROMPT = "a lighthouse on a cliff at dusk"
_SEED = 7
EXPLANATION = """\
These images are simulated: a ComfyUI server that comes with imagen painted them on this machine, \
without any model. Everything else is real: the adapter, the workflows, the files and the sheet.

To generate real images, start ComfyUI (see docs/tutorial.md) and run:
  imagen config init --detect --write
  imagen backends --check
  imagen generate "{prompt}" -b flux1-schnell"""


@click.command(cls=Command)
@click.option("--prompt", default=DEFAULT_PROMPT, show_default=True, help="The prompt.")
@click.option(
    "--output",
    "-o",
    cls=Option,
    hidden_names=("--out",),
    type=PATH,
    default=Path("demo"),
    show_default=True,
    metavar="DIR",
    help="Folder for the images and the sheet.",
)
@quiet_option
def demo(prompt: str, output: Path, quiet: bool) -> int:
    """Run a comparison with simulated images, without a GPU.

    This starts a simulated ComfyUI server on this machine and runs one prompt with three workflows
    on it, and with the mock backend. The adapter is the one that drives a real server.
    """
    from imagen.cli.commands.compare import print_comparison
    from imagen.cli.progress import show_progress
    from imagen.comparison import compare
    from imagen.config import LibrarySettings, Settings
    from imagen.core.request import Request
    from imagen.testing.comfyui import ComfyUI

    echo("Starting a simulated ComfyUI. Its images are painted, not generated.", err=True)
    backends = [*WORKFLOWS, "mock"]
    with ComfyUI(step_seconds=0.04, load_seconds=0.3, previews=True) as server:
        blocks: dict[str, dict[str, object]] = {
            name: {"type": "comfyui", "workflow": name, "url": server.url} for name in WORKFLOWS
        }
        blocks["mock"] = {"type": "mock", "step_seconds": 0.02}
        comparison = compare(
            Request(prompt=prompt, seed=_SEED),
            backends,
            # Without the library: simulated images do not belong in it.
            Settings(backends=blocks, library=LibrarySettings(enabled=False)),
            folder=output,
            watch=partial(show_progress, quiet=quiet),
            note="simulated images, painted without a model",
        )
    print_comparison(comparison, output, as_json=False)
    echo(EXPLANATION.format(prompt=prompt), err=True)
    return 4 if comparison.failed_among(backends, ()) else 0

"""imagen demo: compare simulated pictures, without a GPU and without a server."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.command_table import Command, Option
from imagen.cli.options import quiet_option
from imagen.cli.parsing import PATH
from imagen.cli.terminal import echo

if TYPE_CHECKING:
    from imagen.config import Settings

_WORKFLOWS = ("flux1-schnell", "flux2-klein", "sd35-medium")
_PROMPT = "a lighthouse on a cliff at dusk"
_SEED = 7

_SAID = """\
These pictures are simulated: a ComfyUI of imagen's own painted them on this machine, without any \
model. All else was real: the adapter, the workflows, the files and the sheet.

For real pictures, start ComfyUI (docs/setup-comfyui.md tells how) and run:
  imagen config init --detect --write
  imagen backends --check
  imagen generate "{prompt}" -b flux1-schnell"""


@click.command(cls=Command)
@click.option("--prompt", default=_PROMPT, show_default=True, help="What to show.")
@click.option(
    "--output",
    "-o",
    cls=Option,
    hidden_names=("--out",),
    type=PATH,
    default=Path("demo"),
    show_default=True,
    metavar="DIR",
    help="Where the pictures and the sheet go.",
)
@quiet_option
def demo(prompt: str, output: Path, quiet: bool) -> int:
    """Compare simulated pictures, without a GPU.

    Starts a simulated ComfyUI on this machine and puts one prompt to three workflows on it, and to
    the mock, by the adapter that drives a real server.
    """
    from imagen.cli.commands.compare import tell
    from imagen.cli.progress import shown
    from imagen.comparison import compare
    from imagen.core.request import Request
    from imagen.testing.comfyui import ComfyUI

    echo("Starting a simulated ComfyUI: its pictures are painted, not generated.", err=True)
    with ComfyUI(step_seconds=0.04, load_seconds=0.3, previews=True) as server:
        comparison = compare(
            Request(prompt=prompt, seed=_SEED),
            [*_WORKFLOWS, "mock"],
            _settings(server.url),
            folder=output,
            watch=partial(shown, quiet=quiet),
            note="simulated pictures, painted without a model",
        )
    tell(comparison, output, as_json=False)
    echo(_SAID.format(prompt=prompt), err=True)
    return 4 if comparison.failed_among([*_WORKFLOWS, "mock"], None) else 0


def _settings(url: str) -> Settings:
    """Of its own: what was only painted has no place in anybody's library."""
    from imagen.config import LibrarySettings, Settings

    blocks: dict[str, dict[str, Any]] = {
        name: {"type": "comfyui", "workflow": name, "url": url} for name in _WORKFLOWS
    }
    blocks["mock"] = {"type": "mock", "step_seconds": 0.02}
    return Settings(backends=blocks, library=LibrarySettings(enabled=False))

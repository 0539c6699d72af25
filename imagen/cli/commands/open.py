"""imagen open: open an image in the default viewer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from mimetypes import guess_type
from pathlib import Path
from shutil import which

import click

from imagen.cli.command_table import Command
from imagen.cli.completers import complete_images_and_files
from imagen.cli.options import config_option, json_option, settings_from_options
from imagen.cli.parsing import FILE
from imagen.core.ids import is_id
from imagen.core.text import one_line
from imagen.errors import ImagenError, RequestError

_PATIENCE_SECONDS = 3.0
"""A viewer that is still running after this has open_library the image."""


@click.command("open", cls=Command)
@click.argument(
    "image",
    type=FILE,
    shell_complete=complete_images_and_files,
    metavar="[ID|FILE]",
    default="last",
)
@json_option
@config_option
def open_(image: str, as_json: bool, config_path: Path | None) -> None:
    """Open an image in the default viewer.

    Without ID or FILE, this is the newest image of the library. Its path is printed.
    """
    media_type, _ = guess_type(image, strict=False)
    if os.path.isfile(image) and media_type is not None and media_type.startswith("image/"):
        path = Path(image).absolute()
    elif os.path.isfile(image) and not is_id(image):  # it might be a program
        raise RequestError(f"{one_line(image)} does not have the extension of an image.")
    else:
        from imagen.jobs.image_files import find_image_file
        from imagen.library import find_image
        from imagen.pipeline.record import open_library_synced

        settings = settings_from_options(config_path)
        with open_library_synced(settings) as library:
            path = find_image_file(find_image(library, image), library, settings)
    launch_viewer(path)
    click.echo(json.dumps({"path": str(path)}) if as_json else str(path))


def launch_viewer(path: Path) -> None:
    """Open a file in the system's program for it; raises ImagenError."""
    if sys.platform == "win32":
        try:
            os.startfile(path)
        except OSError as error:
            raise ImagenError(f"Cannot open {path}: {error.strerror}.") from error
        return
    program = "open" if sys.platform == "darwin" else "xdg-open"
    has_display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if program == "xdg-open" and not has_display:
        raise _no_viewer(path, "this session has no display")
    if which(program) is None:
        raise _no_viewer(path, f"{program} is not installed")
    viewer = subprocess.Popen(
        [program, str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # so that Ctrl-C here does not close it
    )
    with suppress(subprocess.TimeoutExpired):
        if viewer.wait(_PATIENCE_SECONDS):
            raise _no_viewer(path, f"{program} found no program for it")


def _no_viewer(path: Path, reason: str) -> ImagenError:
    return ImagenError(f"Cannot open the image: {reason}.", remedy=f"Its file is {path}")

"""Paths on the command line: `~` is the home folder, also where the shell does not see to it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from imagen.config.settings import ImageFormat

ENDINGS: tuple[ImageFormat, ...] = ("png", "jpg", "jpeg", "webp", "avif")
_ENDING = re.compile(r"[a-z][a-z0-9]{1,4}")
"""What is taken for the ending of a file; a folder may be called `results-1.5`."""


class HomePath(click.Path):
    """A path, as a `Path`; or a text, which may be a URL or an ID instead."""

    def __init__(self, kind: type[Path] | type[str] = Path) -> None:
        super().__init__(path_type=kind, readable=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(os.path.expanduser(value), param, ctx)


PATH = HomePath(Path)
FILE = HomePath(str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where --output says that images go."""

    folder: Path | None = None
    name: str | None = None
    """Of the file, without its ending."""
    format: ImageFormat | None = None
    is_stdout: bool = False


def read_target(
    ctx: click.Context,
    param: click.Parameter,
    text: str | None,
) -> Target | None:
    """A folder, the name of an image, or - for standard output.

    Raises BadParameter for a file that images can't be saved as.
    """
    if text is None:
        return None
    if text == "-":
        return Target(is_stdout=True)
    path = Path(text)
    ending = path.suffix[1:].lower()
    is_folder = text.endswith(("/", os.sep)) or os.path.isdir(path)
    if is_folder or not _ENDING.fullmatch(ending):
        return Target(folder=path)
    format = next((known for known in ENDINGS if known == ending), None)
    if format is None:
        raise click.BadParameter(
            f"An image can be saved as {', '.join(f'.{known}' for known in ENDINGS)}, not as "
            f".{ending}. To name a folder, end it with a slash: {text}/",
            ctx,
            param,
        )
    return Target(folder=path.parent, name=path.stem, format=format)

"""The images of a folder, or those that match a pattern such as `photos/*.jpg`."""

from __future__ import annotations

import os
import re
from glob import has_magic
from itertools import islice
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from imagen.core.image_file import IMAGE_EXTENSIONS, is_url
from imagen.core.text import one_line
from imagen.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_IMAGES = 10_000
_MOST_FILES = 1_000_000
"""Files of other kinds among them."""
_DIGITS = re.compile(r"(\d+)")


def find_folder_images(source: str) -> list[Path] | None:
    """The images that a folder or a pattern stands for, in natural order; None for one file.

    Hidden files are left out, and so are files below symbolic links to folders. Raises RequestError
    if there are none, or too many.
    """
    source = os.path.expanduser(source)
    is_folder = os.path.isdir(source)
    if is_url(source) or (not is_folder and (os.path.lexists(source) or not has_magic(source))):
        return None
    root, pattern = Path(source), "*"
    if not is_folder:  # the folder before the first wildcard, and the rest
        parts = root.parts
        first = next(number for number, part in enumerate(parts) if has_magic(part))
        root, pattern = Path(*parts[:first]), os.path.join(*parts[first:])
    paths: list[Path] = []
    try:
        for path in islice(root.glob(pattern), _MOST_FILES):
            if is_image_name(path.relative_to(root)) and path.is_file():
                paths.append(path)
            if len(paths) > MOST_IMAGES:
                raise RequestError(
                    f"{one_line(source)} has more than {MOST_IMAGES:,} images.",
                    remedy="Name some of them with a pattern in quotes, such as "
                    f"'{PurePath(source) / 'a*.png' if is_folder else 'photos/a*.png'}'.",
                )
    except (OSError, ValueError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"{one_line(source)} cannot be read: {reason}.") from error
    if not paths:
        raise RequestError(
            f"{one_line(source)} has no images."
            if is_folder
            else f"No image matches {one_line(source)!r}.",
            remedy=f"Images end in {', '.join(f'.{one}' for one in IMAGE_EXTENSIONS)}. "
            "For folders within folders, use a pattern in quotes, such as 'photos/**/*'.",
        )
    return in_natural_order(paths)


def is_image_name(path: PurePath) -> bool:
    """Whether this is the name of an image, and neither it nor its folder is hidden."""
    is_hidden = any(part.startswith(".") for part in path.parts)
    return path.suffix[1:].lower() in IMAGE_EXTENSIONS and not is_hidden


def in_natural_order(paths: Iterable[Path]) -> list[Path]:
    """By name, in which numbers count as numbers: 2 before 10."""

    def key(path: Path) -> list[list[tuple[int, str]]]:
        return [
            [
                (int(part), "") if part.isdecimal() else (-1, part)
                for part in _DIGITS.split(name.casefold())
            ]
            for name in path.parts
        ]

    return sorted(paths, key=lambda path: (key(path), path.name))

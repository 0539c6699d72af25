"""Files of the library's images, as clients may get them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen.core.filesystem import file_sha256
from imagen.core.image_file import media_type
from imagen.errors import NotFound, OutputError
from imagen.jobs.image_files import find_image_file

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.config import Settings
    from imagen.library import Library, LibraryImage

_FIRST_BYTES = 32


def find_shown_file(image: LibraryImage, library: Library, settings: Settings) -> tuple[Path, str]:
    """The file of an image on this machine and its media type.

    A symbolic link to a place outside of imagen's folders is followed only to the very content that
    the library recorded, and no file is shown that is not an image. Raises NotFound if there is no
    such file; LibraryUnreachable if it cannot be had now.
    """
    try:
        path = find_image_file(image, library, settings)
        real = path.resolve(strict=True)
        if real != path:
            own = (settings.output.directory.resolve(), settings.state_dir.resolve())
            is_own = any(real.is_relative_to(folder) for folder in own)
            if not is_own and file_sha256(real) != image.sha256:
                raise NotFound(f"The file of {image.id} is a link to another file.")
        with real.open("rb") as file:
            kind = media_type(file.read(_FIRST_BYTES))
    except OutputError as error:
        raise NotFound(error.message, remedy=error.remedy) from error
    except OSError as error:
        raise NotFound(
            f"The file of {image.id} cannot be read: {error.strerror or error}."
        ) from error
    if kind is None:
        raise NotFound(f"The file of {image.id} is not an image any more.")
    return real, kind

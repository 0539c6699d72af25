"""Thumbnails of the library's images: those that were saved with them, and others on demand."""

from __future__ import annotations

import os
from contextlib import suppress
from threading import RLock
from typing import TYPE_CHECKING

from imagen.core.filesystem import make_private_folder, write_whole
from imagen.inputs.cache import prune_cache
from imagen.library.detail import read_thumbnail
from imagen.library.trash import thumbnail_folder
from imagen.library.write import THUMBNAIL_SIDE, make_thumbnail
from imagen.runtime.image_files import find_shown_file

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future
    from pathlib import Path

    from imagen.config import Settings
    from imagen.library import Library, LibraryImage


class Thumbnails:
    """Finds thumbnails, and makes missing ones, each only once. Threads may share it.

    Those made on demand are kept in the state directory by the hash of their image, until they were
    not used for seven days or the image is deleted.
    """

    def __init__(self, library: Library, settings: Settings, executor: Executor) -> None:
        self._library = library
        self._settings = settings
        self._executor = executor
        self._making: dict[Path, Future[bytes | None]] = {}
        self._turn = RLock()
        executor.submit(prune_cache, settings.state_dir / "thumbnails")

    def find(self, image: LibraryImage, side: int) -> bytes | None:
        """The WebP thumbnail; None if it was not made yet. Raises LibraryError."""
        if side == THUMBNAIL_SIDE and (saved := read_thumbnail(self._library, image)):
            return saved
        path = self._path(image, side)
        try:
            made = path.read_bytes()
            os.utime(path.parent)
        except OSError:
            return None
        return made

    def make(self, image: LibraryImage, side: int) -> Future[bytes | None]:
        """Make the thumbnail in a thread; None for a file that cannot be shown.

        The future raises what `find_shown_file` raises.
        """
        path = self._path(image, side)
        with self._turn:
            if (making := self._making.get(path)) is not None:
                return making
            making = self._executor.submit(self._make, image, side, path)
            self._making[path] = making
            making.add_done_callback(lambda _: self._forget(path))
        return making

    def _forget(self, path: Path) -> None:
        with self._turn:
            self._making.pop(path, None)

    def _make(self, image: LibraryImage, side: int, path: Path) -> bytes | None:
        file, _ = find_shown_file(image, self._library, self._settings)
        made = make_thumbnail(file, side)
        if made is not None:
            with suppress(OSError):  # a full disk: it is made again
                make_private_folder(path.parent.parent)
                make_private_folder(path.parent)
                write_whole(path, made, is_private=True)
        return made

    def _path(self, image: LibraryImage, side: int) -> Path:
        return thumbnail_folder(self._settings.state_dir.absolute(), image.sha256) / f"{side}.webp"

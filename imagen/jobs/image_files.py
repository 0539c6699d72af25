"""Files of the library's images on this machine, wherever they were made."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from imagen.config.paths import host_name
from imagen.core.filesystem import file_sha256, part_in, place_new
from imagen.core.text import one_line
from imagen.errors import BackendError, ConfigError, LibraryError, LibraryUnreachable, OutputError
from imagen.inputs import cache_image
from imagen.jobs.blobs import open_blobs
from imagen.library.detail import build_sidecar
from imagen.library.search import images_of
from imagen.outputs.naming import numbered_names
from imagen.outputs.save import sidecar_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from imagen.config import Settings
    from imagen.library import Library, LibraryImage
    from imagen.library.records import Delivery


def is_here(image: LibraryImage) -> bool:
    """Whether the file of an image is on this machine, or in a folder that it shares."""
    if image.host == host_name():
        return image.path.is_file()
    with suppress(OSError):
        is_same_size = image.path.stat().st_size == image.size_bytes
        return is_same_size and file_sha256(image.path) == image.sha256
    return False


def find_image_file(
    image: LibraryImage,
    library: Library,
    settings: Settings,
    environ: Mapping[str, str] = os.environ,
) -> Path:
    """A file on this machine that shows an image: its own, or a copy.

    A copy comes from where files for other machines are kept, else from the cloud. Raises
    OutputError if there is none; LibraryUnreachable if it cannot be had now.
    """
    if is_here(image):
        return image.path
    folder = settings.state_dir / "inputs"
    copy = folder.absolute() / image.sha256 / image.path.name
    if copy.is_file() and copy.stat().st_size == image.size_bytes:
        return copy
    try:
        data = open_blobs(settings, library, environ).get(image.sha256)
    except LibraryUnreachable:
        raise
    except LibraryError as error:
        downloaded = _download(image, settings, environ)
        if downloaded is None:
            where = one_line(str(image.path), limit=400)
            if image.host == host_name():
                raise OutputError(
                    f"The file of {image.id} no longer exists: {where}",
                    remedy="If it was moved, add its new folder: imagen library add DIR",
                ) from error
            raise OutputError(
                f"{image.id} is on another machine, {one_line(image.host)}: {where}",
                remedy="No copy of it is stored: open it there. Workers store copies of what they "
                "generate if the library is in PostgreSQL.",
            ) from error
        data = downloaded
    return cache_image(data, image.path.name, folder)


def _download(image: LibraryImage, settings: Settings, environ: Mapping[str, str]) -> bytes | None:
    """The uploaded copy, whose metadata may have been removed; None if there is none."""
    from imagen.delivery.supabase import connect

    if not image.cloud:
        return None
    try:
        with connect(settings, environ) as client:
            return client.download(str(image.cloud["bucket"]), str(image.cloud["path"]))
    except (BackendError, ConfigError, KeyError):
        return None


def find_delivery_file(
    delivery: Delivery,
    library: Library,
    settings: Settings,
    environ: Mapping[str, str] = os.environ,
) -> Path | None:
    """A file on this machine for the delivery of an image; None if there is none now."""
    with suppress(LibraryError, OutputError, IndexError):
        image = images_of(library, delivery.generation)[delivery.part]
        return find_image_file(image, library, settings, environ)
    return None


def copy_image(
    image: LibraryImage,
    folder: Path,
    library: Library,
    settings: Settings,
    environ: Mapping[str, str] = os.environ,
) -> Path:
    """Copy an image with its sidecar into a folder, under the first free name like its own.

    A file with the same content is left as it is. Raises OutputError and LibraryUnreachable.
    """
    file = find_image_file(image, library, settings, environ)
    digest = file_sha256(file)
    sidecar = build_sidecar(library, image) if image.sidecar else None
    try:
        data = file.read_bytes()
        folder.mkdir(parents=True, exist_ok=True)
        for name in numbered_names(image.path.name):
            path = folder.absolute() / name
            if os.path.lexists(path):
                if file_sha256(path) == digest:
                    return path
                continue
            with part_in(folder) as part:
                part.write_bytes(data)
                if not place_new(part, path):
                    continue
            if sidecar is not None:
                with part_in(folder) as part:
                    part.write_bytes(sidecar)
                    place_new(part, sidecar_path(path))
            return path
    except OSError as error:
        raise OutputError(
            f"{image.id} cannot be copied to {folder}: {error.strerror or error}."
        ) from error
    raise AssertionError("there is always another name")

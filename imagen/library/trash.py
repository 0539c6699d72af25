"""The trash: move images there with their sidecars, put them back, or delete them for good.

The row of an image is written before its files are moved to the trash, and after they are put back.
So wherever a move is interrupted, the row is in the trash, and the files are at `path` or still at
`trashed_from`: repeat `imagen rm`, or undo it with `imagen rm --undo`.
"""

from __future__ import annotations

import errno
import filecmp
import json
import os
import shutil
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from imagen.config.paths import host_name
from imagen.core.filesystem import (
    file_sha256,
    make_private_folder,
    part_in,
    place_new,
    write_whole,
)
from imagen.errors import OutputError, RequestError
from imagen.library.events import insert_image_events
from imagen.library.schema import images, stored_path
from imagen.library.search import Query, search_images
from imagen.library.write import delete_image
from imagen.outputs.save import sidecar_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagen.library.database import Library
    from imagen.library.search import LibraryImage

_INFO = "trashed.json"
"""Beside each image in the trash: where it came from, should the library be lost."""
_PAGE = 1000


def thumbnail_folder(state_dir: Path, digest: str) -> Path:
    """Where the thumbnails of an image are that were made on demand, by the hash of its file."""
    return state_dir / "thumbnails" / digest


def list_trashed(library: Library, *, before: datetime | None = None) -> Iterator[LibraryImage]:
    """The images in the trash, newest first; with `before`, those moved there before it."""
    after: int | None = None
    while True:
        page, after = search_images(library, Query(in_trash=True), after, _PAGE)
        for image in page:
            if before is None or (image.trashed is not None and image.trashed < before):
                yield image
        if after is None:
            return


def is_here(image: LibraryImage) -> bool:
    """Whether the file is on this machine, which may have had another name then."""
    return image.host == host_name() or _sha256(image.path) == image.sha256


def require_here(image: LibraryImage) -> None:
    """Raise RequestError for an image on another machine."""
    if not is_here(image):
        raise RequestError(
            f"{image.id} is on another machine, {image.host}.",
            remedy="Run this command on that machine.",
        )


def require_trashed(image: LibraryImage) -> None:
    """Raise RequestError for an image that is not in the trash, or on another machine."""
    if not image.is_trashed:
        raise RequestError(
            f"{image.id} is not in the trash.", remedy=f"First: imagen rm {image.id}"
        )
    require_here(image)


def find_file(library: Library, image: LibraryImage, named: Path | None = None) -> Path | None:
    """The file outside the trash that belongs into it with the image.

    None if it is missing, belongs to another image too, or has other content than the image:
    unless the user `named` this file. After a finished move it is None, whatever is there now.
    """
    path = image.trashed_from or named or image.path
    if not os.path.lexists(path):
        return None
    other = select(images.c.id).where(
        images.c.path == stored_path(path),
        images.c.host == image.host,
        images.c.id != image.key,
        images.c.trashed_ms.is_(None),
    )
    with library.reading() as connection:
        if connection.execute(other).first() is not None:
            return None
    if image.trashed_from is not None:
        is_moved = os.path.lexists(image.path) and not os.path.samefile(image.path, path)
        return None if is_moved else path
    return path if named or _sha256(path) == image.sha256 else None


def move_to_trash(library: Library, image: LibraryImage, named: Path | None = None) -> bool:
    """Move an image and its sidecar to the trash; also finishes an interrupted move.

    Returns False if the image is in the trash now, but no file was moved: see `find_file`. Raises
    RequestError for an image on another machine, OutputError if a file cannot be moved;
    LibraryError.
    """
    require_here(image)
    source, has_sidecar = find_file(library, image, named), image.sidecar is not None
    if image.trashed_from is not None:
        if source is not None:
            _move_files(source, image.path, has_sidecar=has_sidecar)
        return os.path.lexists(image.path)
    trashed_ms = round((image.trashed.timestamp() if image.trashed else time.time()) * 1000)
    if source is None:
        _update(library, image, trashed_ms=trashed_ms)
        return False
    folder = library.trash_folder / f"{image.generation}.{image.number + 1}"
    target = folder / source.name
    info = {"id": image.id, "path": str(source), "trashed": datetime.now(UTC).isoformat()}
    try:
        make_private_folder(folder)
        write_whole(folder / _INFO, json.dumps(info).encode("utf-8", "replace"), is_private=True)
    except OSError as error:
        raise _cannot_move(source, error) from error
    _update(
        library,
        image,
        trashed_ms=trashed_ms,
        trashed_from=stored_path(source),
        path=stored_path(target),
        sidecar=stored_path(sidecar_path(target)) if has_sidecar else None,
        host=host_name(),
        missing_ms=None,
    )
    try:
        _move_files(source, target, has_sidecar=has_sidecar)
    except OutputError:
        if not os.path.lexists(target):
            with suppress(OSError):
                _move(sidecar_path(target), sidecar_path(source))
            _update(
                library,
                image,
                trashed_ms=None,
                trashed_from=None,
                path=stored_path(source),
                sidecar=stored_path(sidecar_path(source)) if has_sidecar else None,
            )
            _remove_folder(target)
        raise
    return True


def move_back(library: Library, image: LibraryImage) -> None:
    """Put an image and its sidecar back to where they were.

    Raises OutputError if another file has the name by now, and moves nothing then; RequestError
    for an image on another machine; LibraryError.
    """
    original = image.trashed_from
    if original is None:  # its file was never moved
        _update(library, image, trashed_ms=None)
        return
    require_here(image)
    moves = [(image.path, original)]
    if image.sidecar is not None:
        moves.append((image.sidecar, sidecar_path(original)))
    for now, then in moves:
        if os.path.lexists(now) and os.path.lexists(then) and not _is_same(now, then):
            raise OutputError(
                f"{image.id} cannot be put back: there is another file {then}.",
                remedy="Move or rename that file, then repeat the command.",
            )
    with suppress(OSError):
        original.parent.mkdir(parents=True, exist_ok=True)
    _move_files(image.path, original, has_sidecar=image.sidecar is not None)
    _update(
        library,
        image,
        trashed_ms=None,
        trashed_from=None,
        path=stored_path(original),
        sidecar=stored_path(sidecar_path(original)) if image.sidecar else None,
    )
    _remove_folder(image.path)


def delete_for_good(library: Library, image: LibraryImage) -> Path | None:
    """Delete an image in the trash: its files and its row; the ledger stays.

    A file outside the trash stays too, and its path is returned, if it changed or belongs to
    another image. Raises RequestError for an image that is not in the trash or is on another
    machine, OutputError if a file cannot be deleted; LibraryError.
    """
    require_trashed(image)
    left = None
    with library.writing() as connection:
        removed = delete_image(connection, image.key)
        doomed = [image.sidecar, image.path] if image.trashed_from else []
        # The file of an interrupted move, or one that was never moved.
        outside = image.trashed_from or image.path
        is_moved = (
            image.trashed_from is not None
            and os.path.lexists(image.path)
            and not (os.path.lexists(outside) and os.path.samefile(image.path, outside))
        )
        if os.path.lexists(outside) and not is_moved:
            same = images.c.path == stored_path(outside), images.c.host == image.host
            is_shared = connection.execute(select(images.c.id).where(*same)).first() is not None
            if is_shared or _sha256(outside) != image.sha256:
                left = outside
            else:
                doomed += [sidecar_path(outside) if image.sidecar else None, outside]
        for path in doomed:
            try:
                if path is not None:
                    path.unlink(missing_ok=True)
            except OSError as error:  # the transaction is rolled back
                raise OutputError(
                    f"{path} cannot be deleted: {error.strerror or error}.",
                    remedy="The image is still in the trash.",
                ) from error
        insert_image_events(connection, "images_removed", removed)
    shutil.rmtree(thumbnail_folder(library.trash_folder.parent, image.sha256), ignore_errors=True)
    if image.trashed_from:
        _remove_folder(image.path)
    return left


def _update(library: Library, image: LibraryImage, **values: str | int | None) -> None:
    with library.writing() as connection:
        connection.execute(update(images).where(images.c.id == image.key).values(**values))
        insert_image_events(connection, "images_changed", [image.uid])


def _move_files(source: Path, target: Path, *, has_sidecar: bool) -> None:
    """Move the sidecar, then the image; files that were moved already are skipped."""
    try:
        if has_sidecar:
            _move(sidecar_path(source), sidecar_path(target))
        _move(source, target)
    except OSError as error:
        raise _cannot_move(source, error) from error


def _move(source: Path, target: Path) -> None:
    """Move a file, also to another file system; raises FileExistsError rather than overwrite."""
    if not os.path.lexists(source):
        return
    if os.path.lexists(target):
        if not _is_same(source, target):
            raise FileExistsError(errno.EEXIST, f"there is another file {target}")
    else:
        try:
            is_placed = place_new(source, target, os.link)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with part_in(target.parent) as part:
                shutil.copy2(source, part)
                with part.open("rb") as file:
                    os.fsync(file.fileno())
                is_placed = place_new(part, target, os.link)
        if not is_placed:
            raise FileExistsError(errno.EEXIST, f"there is another file {target}")
    source.unlink(missing_ok=True)


def _is_same(one: Path, other: Path) -> bool:
    """Whether both files have the same content, as after an interrupted move."""
    try:
        return filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


def _sha256(path: Path) -> str | None:
    try:
        return file_sha256(path)
    except OSError:
        return None


def _remove_folder(image: Path) -> None:
    """Remove the folder of an image that is no longer in the trash, unless it holds more files."""
    with suppress(OSError):
        (image.parent / _INFO).unlink(missing_ok=True)
        image.parent.rmdir()


def _cannot_move(source: Path, error: OSError) -> OutputError:
    return OutputError(f"{source} cannot be moved: {error.strerror or error}.")

"""Many images as one zip file, which is written while it is sent."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

from imagen.errors import ImagenError, NotFound
from imagen.runtime.client_requests import safe_name
from imagen.runtime.image_files import find_shown_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from imagen.library import LibraryImage
    from imagen.runtime import Runtime

_CHUNK = 1 << 20
_LEFT_OUT = "not-included.txt"


class _Sink(io.RawIOBase):
    """What a zip file is written to; its bytes are taken out again at once."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        part = bytes(memoryview(data))  # type: ignore[arg-type]
        self._parts.append(part)
        return len(part)

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


def stream_archive(images: Sequence[LibraryImage], runtime: Runtime) -> Iterator[bytes]:
    """A zip file of these images as they are in their files, in parts.

    Images whose file cannot be had are listed in a text file instead. Raises NotFound, before the
    first part, if that is so for all of them.
    """
    files, left_out = _find_files(images, runtime)
    if not files:
        raise NotFound("None of these images has a file on this machine.")
    return _write_archive(files, left_out)


def _find_files(
    images: Sequence[LibraryImage], runtime: Runtime
) -> tuple[dict[str, Path], list[str]]:
    """The files by their names in the archive, and a line for each image without one."""
    files: dict[str, Path] = {}
    taken = {_LEFT_OUT}
    left_out: list[str] = []
    for image in images:
        try:
            path, _ = find_shown_file(image, runtime.library, runtime.settings)
        except ImagenError as error:
            left_out.append(f"{image.uid}: {error.message}")
            continue
        name = unique_name(safe_name(image.path.name), taken)
        taken.add(name.casefold())
        files[name] = path
    return files, left_out


def unique_name(name: str, taken: set[str]) -> str:
    """This name, or with a number before its suffix one that is not taken, in any case of letters:
    `fox.png`, `fox (2).png`."""
    stem, dot, suffix = name.rpartition(".")
    found, number = name, 1
    while found.casefold() in taken:
        number += 1
        found = f"{stem} ({number}){dot}{suffix}" if dot and stem else f"{name} ({number})"
    return found


def _write_archive(files: dict[str, Path], left_out: list[str]) -> Iterator[bytes]:
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
        for name, path in files.items():
            try:
                file = path.open("rb")
            except OSError as error:  # deleted meanwhile
                left_out.append(f"{name}: {error.strerror or error}")
                continue
            with file:
                entry = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
                with archive.open(entry, "w") as writer:
                    while chunk := file.read(_CHUNK):
                        writer.write(chunk)
                        yield sink.take()
            yield sink.take()
        if left_out:
            archive.writestr(_LEFT_OUT, "\n".join(left_out) + "\n")
    yield sink.take()

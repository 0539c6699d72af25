"""Weights: which tensors a file of a model holds, from its header alone."""

from __future__ import annotations

import json
import mmap
import os
import re
import struct
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Literal

from imagen import gguf
from imagen.errors import ConfigError
from imagen.text import did_you_mean, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Format = Literal["safetensors", "gguf", "pickle"]
_LONGEST_HEADER = 100_000_000
_LFS = b"version https://git-lfs"
_AGAIN = "Download it again, and compare its size with what the page says."


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What a file's header says."""

    format: Format
    """`pickle` is PyTorch's own, whose tensors can't be read without running it."""
    tensors: Mapping[str, tuple[int, ...]]
    """The shape of each; a matrix is (outputs, inputs)."""
    notes: Mapping[str, str]
    """What else it says of itself."""
    size_bytes: int


def read_weights(path: Path) -> Weights:
    """What a safetensors, GGUF or PyTorch file holds; reads no more than its header.

    Raises ConfigError with a sentence where there is no such file, and where it isn't whole.
    """
    size = _size(path)
    try:
        with path.open("rb") as file:
            return _read(path, file, size)
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror or error}.") from error


def _size(path: Path) -> int:
    if os.path.isdir(path):
        raise ConfigError(f"{path} is a folder, where one file of a model was expected.")
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise ConfigError(f"There is no file {path}.{_similar(path)}") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} can't be read: {error}.") from error
    if size == 0:
        raise ConfigError(f"{path} is empty.", remedy="Download it again.")
    return size


def _similar(path: Path) -> str:
    try:
        return did_you_mean(path.name, [other.name for other in path.parent.iterdir()])
    except OSError:
        return ""


def _read(path: Path, file: IO[bytes], size: int) -> Weights:
    start = file.read(512)
    if start.startswith(gguf.MAGIC):
        return _gguf(path, file, size)
    if _is_safetensors(start):
        return _safetensors(path, file, size)
    if start.startswith(b"PK\x03\x04"):
        return _zipped(path, size)
    if re.match(rb"\x80[\x02-\x05]", start):
        return Weights(format="pickle", tensors={}, notes={}, size_bytes=size)
    raise _no_model(path, start, size)


def _is_safetensors(start: bytes) -> bool:
    """Eight bytes for the length of its header, which is JSON."""
    return start[8:9] == b"{" and 2 <= int.from_bytes(start[:8], "little") <= _LONGEST_HEADER


def _safetensors(path: Path, file: IO[bytes], size: int) -> Weights:
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if 8 + length > size:
        raise _cut_off(path, size, "its header alone")
    try:
        header = json.loads(file.read(length))
        said = header.pop("__metadata__", None) or {}
        notes = {str(name): str(value) for name, value in said.items()}
        tensors = {name: _tensor(value) for name, value in header.items()}
        end = 8 + length + max((value["data_offsets"][1] for value in header.values()), default=0)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, "safetensors", one_line(str(error))) from error
    _whole(path, size, end)
    return Weights(format="safetensors", tensors=tensors, notes=notes, size_bytes=size)


def _tensor(value: Any) -> tuple[int, ...]:
    shape = tuple(value["shape"])
    if not all(type(number) is int for number in (*shape, *value["data_offsets"])):
        raise ValueError("a shape or an offset is no whole number")
    return shape


def _gguf(path: Path, file: IO[bytes], size: int) -> Weights:
    try:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            header = gguf.read_header(data, size)
    except struct.error as error:
        raise _cut_off(path, size, "its header alone") from error
    except (ValueError, LookupError, OverflowError) as error:
        raise _damaged(path, "GGUF", one_line(str(error))) from error
    if header.end > size:
        raise _cut_off(path, size, f"{header.end:,} bytes")
    return Weights(format="gguf", tensors=header.tensors, notes=header.notes, size_bytes=size)


def _zipped(path: Path, size: int) -> Weights:
    """PyTorch's files are archives, whose list of contents stands at the end."""
    from zipfile import is_zipfile

    if not is_zipfile(path):
        raise _cut_off(path, size, "more bytes: its end is missing")
    return Weights(format="pickle", tensors={}, notes={}, size_bytes=size)


def _whole(path: Path, size: int, end: int) -> None:
    if end > size:
        raise _cut_off(path, size, f"{end:,} bytes")
    if end < size:
        raise _damaged(path, "safetensors", f"it has {size - end:,} bytes more than it says")


def _cut_off(path: Path, size: int, needed: str) -> ConfigError:
    return ConfigError(
        f"{path} was cut off: it has {size:,} bytes, and needs {needed}.", remedy=_AGAIN
    )


def _damaged(path: Path, kind: str, why: str) -> ConfigError:
    return ConfigError(f"{path} is no whole {kind} file: {why}.", remedy=_AGAIN)


def _no_model(path: Path, start: bytes, size: int) -> ConfigError:
    if start.startswith(_LFS):
        return _pointer(path, start, size)
    text = _as_text(start)
    if text.lstrip("\ufeff").lstrip().startswith("<"):
        return ConfigError(
            f"{path} is a web page, not a model: {one_line(text, limit=60)!r}.",
            remedy="The download may have needed a login, or a link to the file itself.",
        )
    if text:
        return ConfigError(
            f"{path} is a text, not a model: {one_line(text, limit=60)!r}.", remedy=_AGAIN
        )
    return ConfigError(f"{path} is no safetensors, GGUF or PyTorch file.", remedy=_AGAIN)


def _pointer(path: Path, start: bytes, size: int) -> ConfigError:
    found = re.search(rb"^size (\d{1,18})$", start, re.MULTILINE)
    real = f" of {int(found[1]):,} bytes" if found else ""
    return ConfigError(
        f"{path} is a git-lfs pointer: a note of {size} bytes in place of the model{real}.",
        remedy="Fetch the model itself with: git lfs pull",
    )


def _as_text(start: bytes) -> str:
    """What it begins with, or "" where that isn't text."""
    text = start.decode(errors="replace").rstrip("\ufffd")  # the last one may be cut in half
    is_text = all((c.isprintable() and c != "\ufffd") or c in "\r\n\t\ufeff" for c in text)
    return text if is_text else ""

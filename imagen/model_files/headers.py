"""Weights: which tensors a file of a model holds, from its header alone."""

from __future__ import annotations

import json
import mmap
import os
import re
import struct
from dataclasses import dataclass
from math import prod
from typing import IO, TYPE_CHECKING, Any, Literal

from imagen.core.text import did_you_mean, one_line
from imagen.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


Format = Literal["safetensors", "gguf", "pickle"]
_LONGEST_HEADER = 100_000_000
_LFS = b"version https://git-lfs"
_AGAIN = "Download it again, and compare its size with what the page says."


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelHeader:
    """What a file's header says."""

    format: Format
    """`pickle` is PyTorch's own, whose tensors can't be read without running it."""
    tensors: Mapping[str, tuple[int, ...]]
    """The shape of each; a matrix is (outputs, inputs)."""
    notes: Mapping[str, str]
    """What else it says of itself."""
    size_bytes: int


def read_model_header(path: Path) -> ModelHeader:
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


def _read(path: Path, file: IO[bytes], size: int) -> ModelHeader:
    start = file.read(512)
    if start.startswith(MAGIC):
        return _gguf(path, file, size)
    if _is_safetensors(start):
        return _safetensors(path, file, size)
    if start.startswith(b"PK\x03\x04"):
        return _zipped(path, size)
    if re.match(rb"\x80[\x02-\x05]", start):
        return ModelHeader(format="pickle", tensors={}, notes={}, size_bytes=size)
    raise _no_model(path, start, size)


def _is_safetensors(start: bytes) -> bool:
    """Eight bytes for the length of its header, which is JSON."""
    return start[8:9] == b"{" and 2 <= int.from_bytes(start[:8], "little") <= _LONGEST_HEADER


def _safetensors(path: Path, file: IO[bytes], size: int) -> ModelHeader:
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
    return ModelHeader(format="safetensors", tensors=tensors, notes=notes, size_bytes=size)


def _tensor(value: Any) -> tuple[int, ...]:
    shape = tuple(value["shape"])
    if not all(type(number) is int for number in (*shape, *value["data_offsets"])):
        raise ValueError("a shape or an offset is no whole number")
    return shape


def _gguf(path: Path, file: IO[bytes], size: int) -> ModelHeader:
    try:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            header = read_header(data, size)
    except struct.error as error:
        raise _cut_off(path, size, "its header alone") from error
    except (ValueError, LookupError, OverflowError) as error:
        raise _damaged(path, "GGUF", one_line(str(error))) from error
    if header.end > size:
        raise _cut_off(path, size, f"{header.end:,} bytes")
    return ModelHeader(format="gguf", tensors=header.tensors, notes=header.notes, size_bytes=size)


def _zipped(path: Path, size: int) -> ModelHeader:
    """PyTorch's files are archives, whose list of contents stands at the end."""
    from zipfile import is_zipfile

    if not is_zipfile(path):
        raise _cut_off(path, size, "more bytes: its end is missing")
    return ModelHeader(format="pickle", tensors={}, notes={}, size_bytes=size)


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


MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MOST = 1_000_000
_MOST_SIDES = 8
_ALIGNMENT = "general.alignment"
_STRING, _ARRAY = 8, 9
_SCALARS = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}
# Each kind of number: how many share a block, and the bytes of that block (ggml.h).
_BLOCKS = (
    {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34)}
    | {10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210)}
    | {24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 30: (1, 2)}
)


@dataclass(frozen=True, slots=True)
class Header:
    """What the header says."""

    notes: dict[str, str]
    tensors: dict[str, tuple[int, ...]]
    """Shapes in the order that PyTorch has: a matrix is (outputs, inputs)."""
    end: int
    """The least number of bytes that the whole file must have."""


class _Reader:
    """Takes one value after the other; struct.error where the bytes come to an end."""

    def __init__(self, data: bytes | mmap.mmap, size: int) -> None:
        self._data = memoryview(data)
        self._size = size
        self.at = 0

    def number(self, code: str) -> int | float | bool:
        (value,) = struct.unpack_from(f"<{code}", self._data, self.at)
        self.at += struct.calcsize(f"<{code}")
        return value  # type: ignore[no-any-return]

    def whole(self, code: str, most: int) -> int:
        value = int(self.number(code))
        if value > most:
            raise ValueError(f"a count of {value} in its header can't be true")
        return value

    def text(self) -> str:
        length = self.whole("Q", self._size)
        self.skip(length)
        return bytes(self._data[self.at - length : self.at]).decode(errors="replace")

    def skip(self, length: int) -> None:
        self.at += length
        if self.at > self._size:
            raise struct.error("past the end")

    def skip_texts(self, count: int) -> None:
        """A vocabulary has some hundred thousand of them."""
        data, length_at, at = self._data, struct.Struct("<Q").unpack_from, self.at
        for _ in range(count):
            at += 8 + length_at(data, at)[0]
        self.at = at

    def close(self) -> None:
        self._data.release()


def read_header(data: bytes | mmap.mmap, size: int) -> Header:
    """The header at the beginning of `data`, which has `size` bytes.

    Raises ValueError for one that can't be true, struct.error for one that ends too soon.
    """
    reader = _Reader(data, size)
    try:
        return _header(reader)
    finally:
        reader.close()


def _header(reader: _Reader) -> Header:
    reader.skip(len(MAGIC))
    version = reader.whole("I", 2**32)
    if version not in _VERSIONS:
        raise ValueError(f"its version of GGUF is {version}, and 2 and 3 can be read")
    tensors, notes = reader.whole("Q", _MOST), reader.whole("Q", _MOST)
    said = dict(_note(reader) for _ in range(notes))
    infos = [_tensor_gguf(reader) for _ in range(tensors)]
    alignment = int(said[_ALIGNMENT]) if said.get(_ALIGNMENT, "").isdigit() else 32
    start = -(-reader.at // max(1, alignment)) * max(1, alignment)
    end = max((start + last for _, _, last in infos), default=reader.at)
    return Header(said, {name: shape for name, shape, _ in infos}, end)


def _note(reader: _Reader) -> tuple[str, str]:
    return reader.text(), _value(reader, reader.whole("I", 12))


def _value(reader: _Reader, kind: int) -> str:
    """A text or a number in words; the members of an array are passed over."""
    if kind == _STRING:
        return reader.text()
    if kind != _ARRAY:
        return str(reader.number(_SCALARS[kind]))
    inner, length = reader.whole("I", 12), int(reader.number("Q"))
    if inner in _SCALARS:
        reader.skip(length * struct.calcsize(f"<{_SCALARS[inner]}"))
        return ""
    if inner == _ARRAY:
        raise ValueError("its header holds an array of arrays")
    reader.skip_texts(length)
    return ""


def _tensor_gguf(reader: _Reader) -> tuple[str, tuple[int, ...], int]:
    """Its name, its shape, and where it ends, counted from the first tensor."""
    name = reader.text()
    sides = tuple(_sides(reader))
    kind, offset = reader.whole("I", 2**32), int(reader.number("Q"))
    share, block = _BLOCKS.get(kind, (1, 0))  # of a newer kind only the beginning is known
    return name, sides[::-1], offset + prod(sides) // share * block


def _sides(reader: _Reader) -> Iterator[int]:
    for _ in range(reader.whole("I", _MOST_SIDES)):
        yield int(reader.number("Q"))

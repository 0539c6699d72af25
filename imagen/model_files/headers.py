"""Read the header of a model file: the names and shapes of its tensors."""

from __future__ import annotations

import json
import mmap
import os
import re
import struct
from dataclasses import dataclass
from math import prod
from typing import IO, TYPE_CHECKING, Literal

from imagen.core.text import did_you_mean, one_line
from imagen.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_MAX_JSON_HEADER = 100_000_000
_DOWNLOAD_AGAIN = "Download it again, and compare its size with what the page says."


_GGUF_MAGIC = b"GGUF"
_GGUF_VERSIONS = (2, 3)
_GGUF_MAX_ENTRIES = 1_000_000
_GGUF_MAX_SIDES = 8
_GGUF_STRING, _GGUF_ARRAY = 8, 9
_GGUF_SCALARS = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}
# For each kind of number, how many share a block, and the bytes of that block (ggml.h).
_GGUF_BLOCKS = (
    {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34)}
    | {10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210)}
    | {24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 30: (1, 2)}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelHeader:
    """What a file's header says."""

    format: Literal["safetensors", "gguf", "pickle"]
    """`pickle` is PyTorch's own, whose tensors cannot be read without running it."""
    tensors: Mapping[str, tuple[int, ...]]
    """The shape of each; a matrix is (outputs, inputs)."""
    notes: Mapping[str, str]
    """Its other metadata."""
    size_bytes: int


def read_model_header(path: Path) -> ModelHeader:
    """Read no more than the header of a safetensors, GGUF or PyTorch file.

    Raises ConfigError if the file does not exist, is incomplete, or is not a model.
    """
    if os.path.isdir(path):
        raise ConfigError(f"{path} is a folder; expected a model file.")
    try:
        size = path.stat().st_size
        if size == 0:
            raise ConfigError(f"{path} is empty.", remedy="Download it again.")
        with path.open("rb") as file:
            start = file.read(512)
            if start.startswith(_GGUF_MAGIC):
                return _read_gguf(path, file, size)
            # safetensors: eight bytes for the length of a JSON header
            if start[8:9] == b"{" and 2 <= int.from_bytes(start[:8], "little") <= _MAX_JSON_HEADER:
                return _read_safetensors(path, file, size)
            if start.startswith(b"PK\x03\x04"):  # PyTorch's files are archives
                from zipfile import is_zipfile

                if not is_zipfile(path):
                    raise _incomplete(path, size, "more: its end is missing")
                return ModelHeader(format="pickle", tensors={}, notes={}, size_bytes=size)
            if re.match(rb"\x80[\x02-\x05]", start):
                return ModelHeader(format="pickle", tensors={}, notes={}, size_bytes=size)
            raise _not_a_model(path, start, size)
    except FileNotFoundError as error:
        similar = ""
        if path.parent.is_dir():
            similar = did_you_mean(path.name, [other.name for other in path.parent.iterdir()])
        raise ConfigError(f"File {path} not found.{similar}") from error
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror or error}.") from error
    except ValueError as error:  # a path with NUL in it
        raise ConfigError(f"Cannot read {path}: {error}.") from error


def _read_safetensors(path: Path, file: IO[bytes], size: int) -> ModelHeader:
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if 8 + length > size:
        raise _incomplete(path, size, "more for its header alone")
    tensors: dict[str, tuple[int, ...]] = {}
    end = 8 + length
    try:
        header = json.loads(file.read(length))
        metadata = header.pop("__metadata__", None) or {}
        notes = {str(name): str(value) for name, value in metadata.items()}
        for name, value in header.items():
            shape, offsets = tuple(value["shape"]), value["data_offsets"]
            if not all(type(number) is int for number in (*shape, *offsets)):
                raise ValueError("a shape or an offset is not a whole number")
            tensors[name] = shape
            end = max(end, 8 + length + offsets[1])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, "safetensors", one_line(str(error))) from error
    if end > size:
        raise _incomplete(path, size, f"{end:,}")
    if end < size:
        raise _damaged(path, "safetensors", f"it has {size - end:,} bytes more than it says")
    return ModelHeader(format="safetensors", tensors=tensors, notes=notes, size_bytes=size)


# -- GGUF ------------------------------------------------------------------------------------------


def _read_gguf(path: Path, file: IO[bytes], size: int) -> ModelHeader:
    tensors: dict[str, tuple[int, ...]] = {}
    try:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            reader = _GgufReader(data, size)
            try:
                end = reader.read_header(tensors)
            finally:
                reader.close()
    except struct.error as error:
        raise _incomplete(path, size, "more for its header alone") from error
    except (ValueError, LookupError, OverflowError) as error:
        raise _damaged(path, "GGUF", one_line(str(error))) from error
    if end > size:
        raise _incomplete(path, size, f"{end:,}")
    return ModelHeader(format="gguf", tensors=tensors, notes=reader.notes, size_bytes=size)


class _GgufReader:
    """Reads one value after another; raises struct.error at the end of the data."""

    def __init__(self, data: mmap.mmap, size: int) -> None:
        self.notes: dict[str, str] = {}
        self._data = memoryview(data)
        self._size = size
        self._at = 0

    def close(self) -> None:
        """Release the data, so that it can be unmapped."""
        self._data.release()

    def read_header(self, tensors: dict[str, tuple[int, ...]]) -> int:
        """Read the metadata and the tensors; return the fewest bytes that the file must have."""
        self._skip(len(_GGUF_MAGIC))
        version = self._count("I", 2**32)
        if version not in _GGUF_VERSIONS:
            raise ValueError(f"its version of GGUF is {version}; expected 2 or 3")
        tensor_count = self._count("Q", _GGUF_MAX_ENTRIES)
        for _ in range(self._count("Q", _GGUF_MAX_ENTRIES)):
            name = self._text()
            self.notes[name] = self._value()
        ends = [0]
        for _ in range(tensor_count):
            name = self._text()
            sides = [int(self._number("Q")) for _ in range(self._count("I", _GGUF_MAX_SIDES))]
            kind, offset = self._count("I", 2**32), int(self._number("Q"))
            tensors[name] = tuple(reversed(sides))  # as PyTorch has them
            share, block = _GGUF_BLOCKS.get(kind, (1, 0))  # of a newer kind the size is unknown
            ends.append(offset + prod(sides) // share * block)
        alignment = self.notes.get("general.alignment", "")
        step = max(1, int(alignment)) if alignment.isdigit() else 32
        data_start = -(-self._at // step) * step
        return data_start + max(ends) if tensor_count else self._at

    def _number(self, code: str) -> float:
        (value,) = struct.unpack_from(f"<{code}", self._data, self._at)
        self._at += struct.calcsize(f"<{code}")
        return value  # type: ignore[no-any-return]

    def _count(self, code: str, maximum: int) -> int:
        value = int(self._number(code))
        if value > maximum:
            raise ValueError(f"its header has an impossible count of {value}")
        return value

    def _text(self) -> str:
        length = self._count("Q", self._size)
        self._skip(length)
        return bytes(self._data[self._at - length : self._at]).decode(errors="replace")

    def _skip(self, length: int) -> None:
        self._at += length
        if self._at > self._size:
            raise struct.error("past the end")

    def _value(self) -> str:
        """A value as text; the items of an array are skipped."""
        kind = self._count("I", 12)
        if kind == _GGUF_STRING:
            return self._text()
        if kind != _GGUF_ARRAY:
            return str(self._number(_GGUF_SCALARS[kind]))
        inner, length = self._count("I", 12), int(self._number("Q"))
        if inner == _GGUF_ARRAY:
            raise ValueError("its header has an array of arrays")
        if inner in _GGUF_SCALARS:
            self._skip(length * struct.calcsize(f"<{_GGUF_SCALARS[inner]}"))
            return ""
        # A vocabulary has some hundred thousand texts: this loop is kept short.
        data, length_at, at = self._data, struct.Struct("<Q").unpack_from, self._at
        for _ in range(length):
            at += 8 + length_at(data, at)[0]
        self._at = at
        return ""


# -- Errors ----------------------------------------------------------------------------------------


def _incomplete(path: Path, size: int, needed: str) -> ConfigError:
    return ConfigError(
        f"{path} is incomplete: it has {size:,} bytes and needs {needed}.", remedy=_DOWNLOAD_AGAIN
    )


def _damaged(path: Path, kind: str, why: str) -> ConfigError:
    return ConfigError(f"{path} is not a valid {kind} file: {why}.", remedy=_DOWNLOAD_AGAIN)


def _not_a_model(path: Path, start: bytes, size: int) -> ConfigError:
    if start.startswith(b"version https://git-lfs"):
        found = re.search(rb"^size (\d{1,18})$", start, re.MULTILINE)
        real = f" of {int(found[1]):,} bytes" if found else ""
        return ConfigError(
            f"{path} is a git-lfs pointer: {size} bytes of text instead of the model{real}.",
            remedy="Fetch the model itself with: git lfs pull",
        )
    text = start.decode(errors="replace").rstrip("\ufffd")  # the last one may be cut in half
    is_text = all((c.isprintable() and c != "\ufffd") or c in "\r\n\t\ufeff" for c in text)
    shown = one_line(text, limit=60)
    if text and is_text and text.lstrip("\ufeff").lstrip().startswith("<"):
        return ConfigError(
            f"{path} is a web page, not a model: {shown!r}.",
            remedy="The download may have needed a login, or a link to the file itself.",
        )
    if text and is_text:
        return ConfigError(f"{path} is text, not a model: {shown!r}.", remedy=_DOWNLOAD_AGAIN)
    return ConfigError(
        f"{path} is not a safetensors, GGUF or PyTorch file.", remedy=_DOWNLOAD_AGAIN
    )

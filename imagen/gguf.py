"""The header of a GGUF file: what it says of itself, and the shape of each tensor in it.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from mmap import mmap

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

    def __init__(self, data: bytes | mmap, size: int) -> None:
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


def read_header(data: bytes | mmap, size: int) -> Header:
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
    infos = [_tensor(reader) for _ in range(tensors)]
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


def _tensor(reader: _Reader) -> tuple[str, tuple[int, ...], int]:
    """Its name, its shape, and where it ends, counted from the first tensor."""
    name = reader.text()
    sides = tuple(_sides(reader))
    kind, offset = reader.whole("I", 2**32), int(reader.number("Q"))
    share, block = _BLOCKS.get(kind, (1, 0))  # of a newer kind only the beginning is known
    return name, sides[::-1], offset + prod(sides) // share * block


def _sides(reader: _Reader) -> Iterator[int]:
    for _ in range(reader.whole("I", _MOST_SIDES)):
        yield int(reader.number("Q"))

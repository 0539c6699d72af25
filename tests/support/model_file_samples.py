"""Tiny weights files: a real header, and as many zeros as it announces."""

from __future__ import annotations

import json
import struct
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SD1: dict[str, tuple[int, ...]] = {
    "model.diffusion_model.input_blocks.0.0.weight": (1, 4, 1, 1)
} | {"model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (1, 768)}
VAE: dict[str, tuple[int, ...]] = {"first_stage_model.decoder.conv_in.weight": (1, 4, 1, 1)}


def safetensors(
    tensors: Mapping[str, tuple[int, ...]], notes: Mapping[str, str] | None = None
) -> bytes:
    """A safetensors file of one-byte numbers with these names and shapes."""
    header: dict[str, object] = {"__metadata__": dict(notes)} if notes else {}
    end = 0
    for name, shape in tensors.items():
        begin, end = end, end + prod(shape)
        header[name] = {"dtype": "U8", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)


def gguf(tensors: Mapping[str, tuple[int, ...]], notes: bytes = b"", count: int = 0) -> bytes:
    """A GGUF file of 16-bit numbers; `notes` are `count` encoded metadata pairs."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), count) + notes
    end = 0
    for name, shape in tensors.items():
        sides = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        head += gguf_text(name) + sides + struct.pack("<IQ", 1, end)
        end += prod(shape) * 2
    return head + bytes(-len(head) % 32) + bytes(end)


def gguf_text(text: str) -> bytes:
    """A GGUF string: its length, then its bytes."""
    return struct.pack("<Q", len(text.encode())) + text.encode()


def write_file(path: Path, data: bytes) -> Path:
    """Write a file and return its path."""
    path.write_bytes(data)
    return path

"""Weights files with the tensors of real models and minimal contents."""

from __future__ import annotations

import json
import struct
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    Shapes = Mapping[str, tuple[int, ...]]

_Layer = str | tuple[int, int]
_WIDTHS = (320, 640, 1280, 1280)
_TEXT = 768


def write(path: Path, shapes: Shapes, *, noise: random.Random | None = None) -> Path:
    """A safetensors file of 16-bit zeros, which take no room on disk; or of 32-bit noise."""
    dtype, size = ("F16", 2) if noise is None else ("F32", 4)
    header, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + size * _count(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        if noise is not None:
            for count in map(_count, shapes.values()):
                numbers = (noise.gauss(0, 0.05) for _ in range(count))
                file.write(struct.pack(f"<{count}f", *numbers))
        file.truncate(8 + len(text) + end)
    return path


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for side in shape:
        count *= side
    return count


def sd15() -> Shapes:
    """Every tensor of Stable Diffusion 1.5 but those of its VAE."""
    unet = {f"model.diffusion_model.{name}": shape for name, shape in _unet()}
    text = {f"cond_stage_model.transformer.text_model.{name}": s for name, s in _clip()}
    return unet | text


def _unet() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _both("time_embed.0", 1280, 320)
    yield from _both("time_embed.2", 1280, 1280)
    yield from _both("input_blocks.0.0", 320, 4, 3, 3)
    at, width, skips = 1, 320, [320]
    for level, out in enumerate(_WIDTHS):
        for _ in range(2):
            yield from _residual(f"input_blocks.{at}.0", width, out)
            if level < 3:
                yield from _attention(f"input_blocks.{at}.1", out)
            at, width = at + 1, out
            skips.append(out)
        if level < 3:
            yield from _both(f"input_blocks.{at}.0.op", out, out, 3, 3)
            at += 1
            skips.append(out)
    yield from _residual("middle_block.0", 1280, 1280)
    yield from _attention("middle_block.1", 1280)
    yield from _residual("middle_block.2", 1280, 1280)
    at = 0
    for level in (3, 2, 1, 0):
        out = _WIDTHS[level]
        for index in range(3):
            yield from _residual(f"output_blocks.{at}.0", width + skips.pop(), out)
            width = out
            if level < 3:
                yield from _attention(f"output_blocks.{at}.1", out)
            if index == 2 and level:
                place = 1 if level == 3 else 2
                yield from _both(f"output_blocks.{at}.{place}.conv", out, out, 3, 3)
            at += 1
    yield from _both("out.0", 320)
    yield from _both("out.2", 4, 320, 3, 3)


def _residual(name: str, into: int, out: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _both(f"{name}.in_layers.0", into)
    yield from _both(f"{name}.in_layers.2", out, into, 3, 3)
    yield from _both(f"{name}.emb_layers.1", out, 1280)
    yield from _both(f"{name}.out_layers.0", out)
    yield from _both(f"{name}.out_layers.3", out, out, 3, 3)
    if into != out:
        yield from _both(f"{name}.skip_connection", out, into, 1, 1)


def _attention(name: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _both(f"{name}.norm", width)
    yield from _both(f"{name}.proj_in", width, width, 1, 1)
    yield from _both(f"{name}.proj_out", width, width, 1, 1)
    block = f"{name}.transformer_blocks.0"
    for number, context in ((1, width), (2, _TEXT)):
        yield f"{block}.attn{number}.to_q.weight", (width, width)
        yield f"{block}.attn{number}.to_k.weight", (width, context)
        yield f"{block}.attn{number}.to_v.weight", (width, context)
        yield from _both(f"{block}.attn{number}.to_out.0", width, width)
    for number in (1, 2, 3):
        yield from _both(f"{block}.norm{number}", width)
    yield from _both(f"{block}.ff.net.0.proj", width * 8, width)
    yield from _both(f"{block}.ff.net.2", width, width * 4)


def _clip() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "embeddings.token_embedding.weight", (49408, _TEXT)
    yield "embeddings.position_embedding.weight", (77, _TEXT)
    for layer in range(12):
        at = f"encoder.layers.{layer}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from _both(f"{at}.self_attn.{part}", _TEXT, _TEXT)
        yield from _both(f"{at}.layer_norm1", _TEXT)
        yield from _both(f"{at}.layer_norm2", _TEXT)
        yield from _both(f"{at}.mlp.fc1", _TEXT * 4, _TEXT)
        yield from _both(f"{at}.mlp.fc2", _TEXT, _TEXT * 4)
    yield from _both("final_layer_norm", _TEXT)


_ENCODER: tuple[_Layer, ...] = (
    (3, 64),
    *("block", "half", *["block"] * 3, "half", *["block"] * 3, "half", *["block"] * 3),
    (64, 4),
)
_DECODER: tuple[_Layer, ...] = (
    (4, 64),
    *("none", *["block"] * 3, "none", "half", *["block"] * 3, "none", "half"),
    *(*["block"] * 3, "none", "half", "block"),
    (64, 3),
)


def controlnet() -> Shapes:
    """A ControlNet for Stable Diffusion 1.5."""
    shared = ("time_embed.", "input_blocks.", "middle_block.")
    found = {name: shape for name, shape in _unet() if name.startswith(shared)}
    widths = (3, 16, 16, 32, 32, 96, 96, 256, 320)
    for index, (into, out) in enumerate(pairwise(widths)):
        found |= dict(_both(f"input_hint_block.{2 * index}", out, into, 3, 3))
    for index, width in enumerate((*[320] * 4, *[640] * 3, *[1280] * 5)):
        found |= dict(_both(f"zero_convs.{index}.0", width, width, 1, 1))
    found |= dict(_both("middle_block_out.0", 1280, 1280, 1, 1))
    return {f"control_model.{name}": shape for name, shape in found.items()}


def esrgan() -> Shapes:
    """An upscaler by four, with one block instead of 23."""
    grown = [64 + 32 * number for number in range(5)]
    block = [
        (f"body.0.rdb{part}.conv{number}", 32 if number < 5 else 64, grown[number - 1], 3, 3)
        for part in (1, 2, 3)
        for number in (1, 2, 3, 4, 5)
    ]
    plain = ("conv_body", "conv_up1", "conv_up2", "conv_hr")
    layers = [
        ("conv_first", 64, 3, 3, 3),
        *block,
        *((name, 64, 64, 3, 3) for name in plain),
        ("conv_last", 3, 64, 3, 3),
    ]
    return {name: shape for first, *sides in layers for name, shape in _both(first, *sides)}


def taesd() -> Shapes:
    """Encoder and decoder of the tiny VAE, with the layer names of diffusers."""
    return {
        name: shape
        for half, layers in (("encoder", _ENCODER), ("decoder", _DECODER))
        for index, layer in enumerate(layers)
        for name, shape in _layer(f"{half}.layers.{index}", layer)
    }


def _layer(name: str, layer: _Layer) -> Iterator[tuple[str, tuple[int, ...]]]:
    if layer == "block":
        for number in (0, 2, 4):
            yield from _both(f"{name}.conv.{number}", 64, 64, 3, 3)
    elif layer == "half":
        yield f"{name}.weight", (64, 64, 3, 3)
    elif isinstance(layer, tuple):
        yield from _both(name, layer[1], layer[0], 3, 3)


def _both(name: str, *shape: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]

"""Splice texts into a 3 MB PNG, compared with a re-save by Pillow; medians of one run.

    python benchmarks/png_text.py

Exits with 1 where splicing is less than 40 times as fast.
"""

from __future__ import annotations

import io
import random
import sys
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from imagen.outputs.metadata import png

if TYPE_CHECKING:
    from collections.abc import Callable

SIDE = 1024
ROUNDS = 15
TARGET = 40
TEXTS = {
    "imagen": '{"imagen":1,"request":{"prompt":"a red fox in the snow","seed":42}}',
    "parameters": "a red fox in the snow\nSteps: 4, Sampler: euler, Seed: 42, Size: 1024x1024",
}


def image() -> bytes:
    """Noise, which does not compress: about 3 MB."""
    pixels = Image.frombytes("RGB", (SIDE, SIDE), random.Random(1).randbytes(SIDE * SIDE * 3))
    data = io.BytesIO()
    pixels.save(data, "PNG", compress_level=4)
    return data.getvalue()


def resaved(data: bytes) -> bytes:
    """The same image decoded and encoded anew, at the level ComfyUI uses."""
    texts = PngInfo()
    for keyword, text in TEXTS.items():
        texts.add_text(keyword, text)
    out = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        image.save(out, "PNG", pnginfo=texts, compress_level=4)
    return out.getvalue()


def spliced(data: bytes) -> bytes:
    """The same file with the texts between its chunks."""
    return png.write_texts(data, TEXTS)[0]


def seconds(work: Callable[[bytes], bytes], data: bytes) -> float:
    start = perf_counter()
    work(data)
    return perf_counter() - start


def pixel_chunks(data: bytes) -> bytes:
    """Every IDAT chunk of a file, from length to checksum."""
    found, at = [], len(png.SIGNATURE)
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IDAT":
            found.append(data[at:end])
        at = end
    return b"".join(found)


def check(data: bytes) -> None:
    """The splice keeps every pixel chunk, and Pillow reads the texts back."""
    result = spliced(data)
    assert pixel_chunks(result) == pixel_chunks(data), "the pixels' chunks were changed"
    with Image.open(io.BytesIO(result)) as image:
        assert {key: image.info[key] for key in TEXTS} == TEXTS, "Pillow reads other texts"


def main() -> int:
    data = image()
    check(data)
    # In turn, so that a busy moment of the machine affects both.
    rounds = [(seconds(spliced, data), seconds(resaved, data)) for _ in range(ROUNDS)]
    splice, resave = (median(column) for column in zip(*rounds, strict=True))
    ratio = resave / splice
    sys.stdout.write(
        f"A text entry into a PNG of {len(data) / 1e6:.1f} MB, median of {ROUNDS} rounds\n"
        f"  spliced          {splice * 1e3:9.2f} ms\n"
        f"  Pillow re-save   {resave * 1e3:9.2f} ms\n"
        f"  ratio            {ratio:9.0f} ×   (target: at least {TARGET} ×)\n"
    )
    return 0 if ratio >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())

"""The contact sheet of nine 1024² PNGs in 512-pixel cells, beside ImageMagick's montage.

    python benchmarks/contact_sheet.py

Both are whole processes, on the same files, and write 8-bit RGB at compression level 1. Exits with
1 where ours takes more than 0.75 of montage's time, or where its memory grows with the number of
images by more than a cell each.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from measure import command, in_turn, report
from PIL import Image

SIDE = 1024
RUNS = 9
LIMIT = 0.75
CELL_MB = 534 * 600 * 4 / 1e6
"""A cell with its caption and the gaps; Pillow holds RGB in four bytes a pixel."""
OURS = """
import sys
from pathlib import Path
from imagen.comparison.sheet.draw import draw_sheet
from imagen.comparison.sheet.layout import SheetCell
out, columns, *names = sys.argv[1:]
cells = [SheetCell(title=Path(n).stem, details="seed 42 · 3.2 s", image=Path(n)) for n in names]
draw_sheet(cells, Path(out), title="A red fox in the snow", columns=int(columns))
"""


def paint(number: int, path: Path) -> Path:
    """Soft gradients under a grain: PNG packs this about as well as it does a photograph."""
    slope = Image.linear_gradient("L").resize((SIDE, SIDE))
    round_one = Image.radial_gradient("L").resize((SIDE, SIDE))
    smooth = Image.merge("RGB", (slope, slope.rotate(40 * number), round_one))
    grain = Image.merge("RGB", [Image.effect_noise((SIDE, SIDE), 18) for _ in range(3)])
    Image.blend(smooth, grain, 0.25).save(path)
    return path


def ours(out: Path, images: list[Path], columns: int = 3) -> list[str]:
    return [sys.executable, "-c", OURS, str(out), str(columns), *map(str, images)]


def montage(out: Path, images: list[Path]) -> list[str]:
    """Without captions, which ours has; quality 15 is level 1 with a filter for each line."""
    layout = ["-tile", "3x3", "-geometry", "512x512+12+12"]
    encoding = ["-depth", "8", "-quality", "15", f"PNG24:{out}"]
    return ["montage", *layout, *map(str, images), *encoding]


def peak_megabytes(words: list[str]) -> float:
    """The most memory that one process held."""
    process = subprocess.Popen(words)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
    unit = 1 if sys.platform == "darwin" else 1024
    return used.ru_maxrss * unit / 1e6


def memory_grows_by_cells(out: Path, images: list[Path]) -> bool:
    nine = peak_megabytes(ours(out, images))
    many = peak_megabytes(ours(out, images * 4, columns=6))
    each = (many - nine) / (len(images) * 3)
    sys.stdout.write(
        f"Peak memory: {nine:.0f} MB for 9 images, {many:.0f} MB for 36: {each:.2f} MB an image "
        f"(a cell is {CELL_MB:.2f} MB, an image {SIDE * SIDE * 4 / 1e6:.2f} MB)\n"
    )
    return each <= 1.25 * CELL_MB


def main() -> None:
    with TemporaryDirectory() as place:
        folder = Path(place)
        images = [paint(n, folder / f"{n}.png") for n in range(9)]
        sheet = folder / "ours.png"
        frugal = memory_grows_by_cells(sheet, images)
        if shutil.which("montage") is None:
            sys.exit("There is no montage here to compare with: install ImageMagick.")
        theirs = montage(folder / "theirs.png", images)
        sys.stdout.write(f"montage's peak memory: {peak_megabytes(theirs):.0f} MB\n")
        claim = in_turn(
            "contact sheet of nine 1024² PNGs, whole processes",
            command(*ours(sheet, images)),
            command(*theirs),
            at_most=LIMIT,
            runs=RUNS,
        )
    if not frugal:
        sys.stdout.write("Memory grows by more than a cell a image: MISSED\n")
        sys.exit(1)
    report([claim])


if __name__ == "__main__":
    main()

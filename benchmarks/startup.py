"""Start-up time of `imagen --help`, `imagen version` and an image of the mock backend.

    python benchmarks/startup.py

The image is compared with the import of the packages that it needs. SQLAlchemy is not among them:
the next command that opens the library records the job.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from measure import command, in_turn, report

_IMAGEN = (sys.executable, "-m", "imagen")
_PACKAGES = "pydantic, httpx, PIL.Image, yaml"
_MOCK = ("generate", "x", "--backend", "mock", "--size", "512x512", "--quiet")


def main() -> None:
    """Measure and report."""
    click = command(sys.executable, "-c", "import click")
    packages = command(sys.executable, "-c", f"import {_PACKAGES}")
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryDirectory() as without_library:
        Path(without_library, "imagen.yaml").write_text("library: {enabled: false}")
        help_ = command(*_IMAGEN, "--help", cwd=place)
        version = command(*_IMAGEN, "version", cwd=place)
        image = command(*_IMAGEN, *_MOCK, cwd=place)
        unrecorded = command(*_IMAGEN, *_MOCK, cwd=without_library)
        what = "imagen generate --backend mock"
        report(
            [
                in_turn("imagen --help / import click", help_, click, at_most=1.5, runs=25),
                in_turn("imagen version / import click", version, click, at_most=1.5, runs=25),
                in_turn(f"{what} / its packages", image, packages, at_most=2.0, runs=15),
                in_turn(
                    f"{what}, library off / its packages",
                    unrecorded,
                    packages,
                    at_most=2.0,
                    runs=15,
                ),
            ]
        )


if __name__ == "__main__":
    main()

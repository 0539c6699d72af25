"""How soon a command begins: `imagen --help`, `version`, and a image of the mock's.

    python benchmarks/startup.py

The image is measured by what it cannot do without: the import of the libraries that it needs, of
which SQLAlchemy is one unless the library is switched off, in a file that PyYAML reads.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from measure import command, in_turn, report

_IMAGEN = (sys.executable, "-m", "imagen")
_LIBRARIES = "pydantic, httpx, PIL.Image"
_SQLALCHEMY = "sqlalchemy.dialects.sqlite"
_MOCK = ("generate", "x", "--backend", "mock", "--size", "512x512")


def main() -> None:
    """Measure and report."""
    click = command(sys.executable, "-c", "import click")
    libraries = command(sys.executable, "-c", f"import {_LIBRARIES}, yaml")
    with_sqlalchemy = command(sys.executable, "-c", f"import {_LIBRARIES}, {_SQLALCHEMY}")
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryDirectory() as forgetful:
        Path(forgetful, "imagen.yaml").write_text("library: {enabled: false}")
        help_ = command(*_IMAGEN, "--help", cwd=place)
        version = command(*_IMAGEN, "version", cwd=place)
        image = command(*_IMAGEN, *_MOCK, "--quiet", cwd=place)
        unkept = command(*_IMAGEN, *_MOCK, "--quiet", cwd=forgetful)
        report(
            [
                in_turn("imagen --help / import click", help_, click, at_most=1.5, runs=25),
                in_turn("imagen version / import click", version, click, at_most=1.5, runs=25),
                in_turn(
                    "imagen generate --backend mock / its libraries",
                    image,
                    with_sqlalchemy,
                    at_most=2.0,
                    runs=15,
                ),
                in_turn(
                    "the same with the library switched off / its libraries",
                    unkept,
                    libraries,
                    at_most=2.0,
                    runs=15,
                ),
            ]
        )


if __name__ == "__main__":
    main()

"""How soon a command begins: `imagen --help`, `version`, and a picture of the mock's.

python benchmarks/startup.py
"""

from __future__ import annotations

import sys
import tempfile

from measure import command, in_turn, report

_IMAGEN = (sys.executable, "-m", "imagen")
_MOCK = ("generate", "x", "--backend", "mock", "--size", "512x512")


def main() -> None:
    """Measure and report."""
    click = command(sys.executable, "-c", "import click")
    libraries = command(sys.executable, "-c", "import pydantic, httpx, PIL.Image")
    with tempfile.TemporaryDirectory() as place:
        help_ = command(*_IMAGEN, "--help", cwd=place)
        version = command(*_IMAGEN, "version", cwd=place)
        picture = command(*_IMAGEN, *_MOCK, "--quiet", cwd=place)
        report(
            [
                in_turn("imagen --help / import click", help_, click, at_most=1.5, runs=25),
                in_turn("imagen version / import click", version, click, at_most=1.5, runs=25),
                in_turn(
                    "imagen generate --backend mock / its libraries",
                    picture,
                    libraries,
                    at_most=2.0,
                    runs=15,
                ),
            ]
        )


if __name__ == "__main__":
    main()

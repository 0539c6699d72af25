"""imagen.example.yaml: every key with its default."""

from __future__ import annotations

from pathlib import Path

_NAME = "imagen.example.yaml"


def example() -> str:
    """The text of the example, which is a configuration that works."""
    package = Path(__file__).parent.parent
    installed = package / _NAME
    return (installed if installed.is_file() else package.parent / _NAME).read_text("utf-8")
